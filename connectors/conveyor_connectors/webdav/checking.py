"""``conveyor test`` for a WebDAV folder: log in, write, verify, rename and delete a small file."""

from __future__ import annotations

import contextlib

from conveyor.contract import AttemptContext, CheckReport, CheckStep, DeliveryError, Parcel
from conveyor.kit.checking import canary, read_back, written
from conveyor_connectors.webdav import names
from conveyor_connectors.webdav.dav import Dav
from conveyor_connectors.webdav.errors import of_answer
from conveyor_connectors.webdav.spec import SPEC
from conveyor_connectors.webdav.upload import Uploader


def check(dav: Dav, uploader: Uploader, now: float, context: AttemptContext) -> CheckReport:
    """Try what a delivery needs.

    Raises:
        DeliveryError: what ``deliver`` would raise.
    """
    parcel = canary(now, SPEC.capabilities.digests)
    first, second = (names.temporary(name, parcel.delivery_id, 0) for name in ("canary", "second"))
    dav.require_base(context)
    steps = [CheckStep("folder", True, "it exists and the login is accepted")]
    try:
        verified, _ = uploader.fill(parcel, first, context)
        steps.append(written(first, verified))
        steps.append(_read_step(dav, first, context))
        steps.append(_rename_step(dav, uploader, parcel, first, second, context))
    except BaseException:
        for path in (first, second):
            with contextlib.suppress(DeliveryError):
                dav.remove(dav.file_at(path), context)
        raise
    steps.append(_delete_step(dav, (first, second), context))
    return CheckReport(tuple(steps))


def _read_step(dav: Dav, path: str, context: AttemptContext) -> CheckStep:
    found = dav.sha256(path, context)
    if found is None:
        return CheckStep("read back", False, "not permitted: a lost answer cannot be settled")
    return read_back(found)


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
