"""``conveyor test`` for a folder: sign in, write, verify and delete a small file."""

from __future__ import annotations

from conveyor.contract import AttemptContext, CheckReport, CheckStep, DeliveryError, Parcel
from conveyor.kit.checking import canary, written
from conveyor_connectors.box.errors import Taken
from conveyor_connectors.box.service import Service, Stored


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
        steps.append(_delete(service, made))
    return CheckReport(tuple(steps))


def _create_only(service: Service, folder: str, parcel: Parcel, context: AttemptContext) -> CheckStep:
    try:
        again = service.upload(parcel, folder, parcel.filename, context)
    except Taken:
        return CheckStep("create only", True, "a name that is taken is refused")
    service.delete(again.id)
    return CheckStep("create only", False, "Box took the same name twice")


def _delete(service: Service, made: Stored) -> CheckStep:
    try:
        service.delete(made.id)
    except DeliveryError as error:
        return CheckStep("delete", False, f"{made.name} stays: {error.message}")
    return CheckStep("delete", True, made.name)
