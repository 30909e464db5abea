"""``conveyor test`` for a WebDAV folder: log in, write, verify, rename and delete a small file."""

from __future__ import annotations

import contextlib
import hashlib
import io
import uuid
from typing import BinaryIO, cast

from conveyor.contract import AttemptContext, CheckReport, CheckStep, DeliveryError, ErrorKind, Parcel
from conveyor_connectors.webdav import names
from conveyor_connectors.webdav.dav import Dav
from conveyor_connectors.webdav.errors import of_answer
from conveyor_connectors.webdav.upload import Uploader

CANARY = b"Conveyor wrote this to test the destination; it may be deleted.\n"


def check(dav: Dav, uploader: Uploader, now: float, context: AttemptContext) -> CheckReport:
    """Try what a delivery needs.

    Raises:
        DeliveryError: what ``deliver`` would raise.
    """
    parcel = canary(now)
    first, second = (names.temporary(name, parcel.delivery_id, 0) for name in ("canary", "second"))
    dav.require_base(context)
    steps = [CheckStep("folder", True, "it exists and the login is accepted")]
    try:
        verified, _ = uploader.fill(parcel, first, context)
        steps.append(CheckStep("write", True, f"{first} ({len(CANARY)} bytes), verified: {verified}"))
        steps.append(_read_step(dav, first, context))
        steps.append(_rename_step(dav, uploader, parcel, first, second, context))
    except BaseException:
        for path in (first, second):
            with contextlib.suppress(DeliveryError):
                dav.remove(dav.file_at(path), context)
        raise
    steps.append(_delete_step(dav, (first, second), context))
    return CheckReport(tuple(steps))


def canary(now: float) -> Parcel:
    """A small parcel of our own."""
    return Parcel(
        delivery_id=f"check-{uuid.uuid4().hex[:12]}",
        job_id="check",
        filename="canary.txt",
        size=len(CANARY),
        media_type="text/plain",
        digests={
            "sha256": hashlib.sha256(CANARY).hexdigest(),
            "sha1": hashlib.sha1(CANARY, usedforsecurity=False).hexdigest(),
            "md5": hashlib.md5(CANARY, usedforsecurity=False).hexdigest(),
        },
        submitted_at=now,
        open=lambda: cast(BinaryIO, io.BytesIO(CANARY)),
    )


def _read_step(dav: Dav, path: str, context: AttemptContext) -> CheckStep:
    found = dav.sha256(path, context)
    if found is None:
        return CheckStep("read back", False, "not permitted: a lost answer cannot be settled")
    if found != hashlib.sha256(CANARY).hexdigest():
        raise DeliveryError(ErrorKind.INTEGRITY, "the server returns other bytes than were written")
    return CheckStep("read back", True, "the bytes are the same")


def _rename_step(
    dav: Dav, uploader: Uploader, parcel: Parcel, first: str, second: str, context: AttemptContext
) -> CheckStep:
    answer = dav.move(dav.file_at(first), dav.file_at(second), context, overwrite=False)
    if not answer.done:
        raise of_answer(answer, f"rename to {second}")
    uploader.fill(parcel, first, context)
    answer = dav.move(dav.file_at(first), dav.file_at(second), context, overwrite=False)
    if answer.done:
        return CheckStep(
            "create only",
            False,
            "the server ignores Overwrite: F: deliveries of one name can replace each other",
        )
    if answer.status != 412:
        raise of_answer(answer, f"rename to {second}")
    return CheckStep("create only", True, "the server refuses a name that is taken")


def _delete_step(dav: Dav, paths: tuple[str, ...], context: AttemptContext) -> CheckStep:
    try:
        for path in paths:
            dav.remove(dav.file_at(path), context)
    except DeliveryError as error:
        return CheckStep("delete", False, f"the canary stays: {error.message}")
    return CheckStep("delete", True, "the canary is gone")
