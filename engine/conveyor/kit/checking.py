"""What ``check()`` writes, reads back and deletes: a small parcel of our own."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Iterable
from typing import BinaryIO, cast

from conveyor.contract import CheckStep, DeliveryError, ErrorKind, Parcel
from conveyor.hashing import new_hasher

CANARY = b"Conveyor wrote this to test the destination; it may be deleted.\n"


def canary(now: float, digests: Iterable[str] = ()) -> Parcel:
    """The parcel, under a name that nobody else has.

    Args:
        now: Seconds since the epoch.
        digests: The ``Capabilities.digests`` of the connector.

    Raises:
        ConveyorError: there is no such digest.
    """
    name = f"canary-{uuid.uuid4().hex[:12]}.txt"
    return Parcel(
        delivery_id=f"check-{name[7:19]}",
        job_id="check",
        filename=name,
        size=len(CANARY),
        media_type="text/plain",
        digests={name: _digest(name) for name in ("sha256", "md5", *digests)},
        submitted_at=now,
        open=lambda: cast(BinaryIO, io.BytesIO(CANARY)),
    )


def _digest(name: str) -> str:
    hasher = new_hasher(name)
    hasher.update(CANARY)
    return hasher.hexdigest()


def written(path: str, verified: str) -> CheckStep:
    """The step of having written it there."""
    return CheckStep("write", True, f"{path} ({len(CANARY)} bytes), verified: {verified}")


def read_back(sha256: str) -> CheckStep:
    """The step of having read it.

    Args:
        sha256: Hex digest of what was read.

    Raises:
        DeliveryError: INTEGRITY, when that is something else.
    """
    if sha256 != _digest("sha256"):
        raise DeliveryError(ErrorKind.INTEGRITY, "the service returns other bytes than were written")
    return CheckStep("read back", True, "the bytes are the same")


def deleted(name: str, delete: Callable[[], object]) -> CheckStep:
    """The step of deleting what was written: a failure is told, and undoes no step before it.

    Args:
        name: Of what is deleted, for people.
        delete: Does it.
    """
    try:
        delete()
    except DeliveryError as error:
        return CheckStep("delete", False, f"{name} stays: {error.message}")
    return CheckStep("delete", True, name)
