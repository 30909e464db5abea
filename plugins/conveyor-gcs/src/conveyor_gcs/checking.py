"""``conveyor test`` for a bucket: sign in, write, verify and delete a small object."""

from __future__ import annotations

from conveyor.contract import AttemptContext, CheckReport, CheckStep, DeliveryError, Parcel
from conveyor.kit.checking import canary, deleted, read_back, written
from conveyor_gcs.errors import Taken, forbidden
from conveyor_gcs.objects import Bucket, mismatch

FOLDER = ".conveyor-test/"
"""Where the small object goes, below the prefix."""


def check(bucket: Bucket, prefix: str, now: float, context: AttemptContext) -> CheckReport:
    """Try what a delivery needs.

    Args:
        bucket: Which.
        prefix: Of the destination.
        now: Seconds since the epoch.
        context: The attempt.

    Raises:
        DeliveryError: what ``deliver`` would raise.
    """
    parcel = canary(now)
    name = f"{prefix}{FOLDER}{parcel.filename}"
    made = bucket.put(parcel, name, context, create=True)
    steps = []
    try:
        if not made.holds(parcel):
            raise mismatch(made)
        steps.append(written(name, "size" if made.md5 is None else "md5"))
        steps.append(_read(bucket, name, context))
        steps.append(_taken(bucket, parcel, name, context))
    finally:
        steps.append(deleted(name, lambda: bucket.delete(made, context)))
    return CheckReport(tuple(steps))


def _read(bucket: Bucket, name: str, context: AttemptContext) -> CheckStep:
    try:
        found = bucket.sha256(name, context)
    except DeliveryError as error:
        if not forbidden(error):
            raise
        text = "not permitted (storage.objects.get): after a lost answer a file may be sent twice"
        return CheckStep("read back", False, text)
    return read_back(found)


def _taken(bucket: Bucket, parcel: Parcel, name: str, context: AttemptContext) -> CheckStep:
    try:
        bucket.put(parcel, name, context, create=True)
    except Taken:
        return CheckStep("refuse a taken name", True, "ifGenerationMatch=0")
    text = "the endpoint ignores ifGenerationMatch: rename, skip and fail may overwrite"
    return CheckStep("refuse a taken name", False, text)
