"""``conveyor test`` for a folder: sign in, write, verify and delete a small file."""

from __future__ import annotations

from conveyor.contract import AttemptContext, CheckReport, CheckStep, ConflictPolicy, Target
from conveyor.kit.checking import canary, deleted, written
from conveyor_connectors.google_drive.placing import Placer
from conveyor_connectors.google_drive.service import Service


def check(service: Service, placer: Placer, now: float, context: AttemptContext) -> CheckReport:
    """Try what a delivery needs.

    Raises:
        DeliveryError: what ``deliver`` would raise.
    """
    parcel = canary(now)
    receipt = placer.place(parcel, Target(parcel.filename, ConflictPolicy.RENAME), context)
    number = str(receipt.extra["file_id"])
    steps = [written(receipt.path or parcel.filename, receipt.verified)]
    try:
        there = service.by_id(number)
        same = there is not None and there.holds(parcel)
        steps.append(CheckStep("look", same, "its MD5 is right" if same else "it is not what was written"))
    finally:
        steps.append(deleted(parcel.filename, lambda: service.delete(number)))
    return CheckReport(tuple(steps))
