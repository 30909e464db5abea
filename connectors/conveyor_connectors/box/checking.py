"""``conveyor test`` for a folder: sign in, write, verify and delete a small file."""

from __future__ import annotations

from conveyor.contract import AttemptContext, CheckReport, CheckStep, Parcel
from conveyor.kit.checking import canary, deleted, written
from conveyor_connectors.box.errors import Taken
from conveyor_connectors.box.service import Service


def check(service: Service, folder: str, now: float, context: AttemptContext) -> CheckReport:
    """Try what a delivery needs.

    Raises:
        DeliveryError: what ``deliver`` would raise.
    """
    steps = [CheckStep("folder", True, f"{service.folder_name(folder)} (id {folder})")]
    parcel = canary(now, ("sha1",))
    made = service.upload(parcel, folder, parcel.filename, context)
    steps.append(written(made.name, "sha1"))
    try:
        steps.append(_create_only(service, folder, parcel, context))
    finally:
        steps.append(deleted(made.name, lambda: service.delete(made.id)))
    return CheckReport(tuple(steps))


def _create_only(service: Service, folder: str, parcel: Parcel, context: AttemptContext) -> CheckStep:
    try:
        again = service.upload(parcel, folder, parcel.filename, context)
    except Taken:
        return CheckStep("create only", True, "a name that is taken is refused")
    service.delete(again.id)
    return CheckStep("create only", False, "Box took the same name twice")
