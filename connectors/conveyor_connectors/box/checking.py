"""``conveyor test`` for a folder: sign in, write, verify and delete a small file."""

from __future__ import annotations

import hashlib
import io
import uuid
from typing import BinaryIO, cast

from conveyor.contract import AttemptContext, CheckReport, CheckStep, DeliveryError, Parcel
from conveyor_connectors.box.errors import Taken
from conveyor_connectors.box.service import Service, Stored

CANARY = b"Conveyor wrote this to test the destination; it may be deleted.\n"


def check(service: Service, folder: str, now: float, context: AttemptContext) -> CheckReport:
    """Try what a delivery needs.

    Raises:
        DeliveryError: what ``deliver`` would raise.
    """
    steps = [CheckStep("folder", True, f"{service.folder_name(folder)} (id {folder})")]
    parcel = _canary(now)
    made = service.upload(parcel, folder, parcel.filename, context)
    steps.append(CheckStep("write", True, f"{made.name} ({made.size} bytes), verified: sha1"))
    try:
        steps.append(_create_only(service, folder, parcel, context))
    finally:
        steps.append(_delete(service, made))
    return CheckReport(tuple(steps))


def _canary(now: float) -> Parcel:
    name = f".conveyor-test-{uuid.uuid4().hex[:12]}.txt"
    return Parcel(
        delivery_id=f"check-{name[15:27]}",
        job_id="check",
        filename=name,
        size=len(CANARY),
        media_type="text/plain",
        digests={"sha1": hashlib.sha1(CANARY, usedforsecurity=False).hexdigest()},
        submitted_at=now,
        open=lambda: cast(BinaryIO, io.BytesIO(CANARY)),
    )


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
