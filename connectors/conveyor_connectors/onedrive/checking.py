"""``conveyor test`` for a folder: sign in, write, verify and delete a small file."""

from __future__ import annotations

from conveyor.contract import AttemptContext, CheckReport, CheckStep, ConflictPolicy, DeliveryError, Target
from conveyor.kit.checking import canary, deleted, written
from conveyor_connectors.onedrive.drive import Drive
from conveyor_connectors.onedrive.placing import Placer


def check(drive: Drive, placer: Placer, now: float, context: AttemptContext) -> CheckReport:
    """Try what a delivery needs.

    Raises:
        DeliveryError: what ``deliver`` would raise.
    """
    steps = [CheckStep("drive", True, drive.describe())]
    parcel = canary(now, ("quickxor",))
    target = Target(parcel.filename, ConflictPolicy.FAIL)
    receipt = placer.place(parcel, target, context)
    steps.append(written(receipt.path or parcel.filename, receipt.verified))
    try:
        steps.append(_create_only(placer, target, context, now))
    finally:
        steps.append(deleted(parcel.filename, lambda: drive.delete(str(receipt.extra["item_id"]))))
    return CheckReport(tuple(steps))


def _create_only(placer: Placer, target: Target, context: AttemptContext, now: float) -> CheckStep:
    other = canary(now + 1, ("quickxor",))
    context.save(session=None, path=None)
    try:
        placer.place(other, target, context)
    except DeliveryError as error:
        if error.code is None:  # our own CONFLICT
            return CheckStep("create only", True, "a name that is taken is refused")
        raise
    return CheckStep("create only", False, "OneDrive took the same name twice")
