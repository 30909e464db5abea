"""``conveyor test`` for a bucket: log in, write, verify and delete a small object."""

from __future__ import annotations

from conveyor.contract import AttemptContext, CheckReport, CheckStep, DeliveryError, ErrorKind, Parcel
from conveyor.kit.checking import canary, deleted, read_back, written
from conveyor_connectors.s3.objects import Bucket, NoPreconditions, Taken
from conveyor_connectors.s3.options import S3Options
from conveyor_connectors.s3.preconditions import Preconditions


def check(
    bucket: Bucket, options: S3Options, preconditions: Preconditions, now: float, context: AttemptContext
) -> CheckReport:
    """Try what a delivery needs.

    Raises:
        DeliveryError: what ``deliver`` would raise.
    """
    parcel = canary(now)
    key = f"{options.check_prefix}{parcel.filename}"
    steps = [_bucket_step(bucket, context)]
    stored = bucket.put(parcel, key, context, create=False)
    steps.append(written(key, stored.verified))
    try:
        steps.append(_read_step(bucket, key, stored.version, context))
        steps.append(_precondition_step(bucket, parcel, key, preconditions, context))
    finally:
        steps.append(deleted(key, lambda: bucket.delete(key, context)))
    return CheckReport(tuple(steps))


def _bucket_step(bucket: Bucket, context: AttemptContext) -> CheckStep:
    """HEAD on the bucket needs s3:ListBucket, which a delivery does not: a refusal is no failure."""
    try:
        bucket.exists(context)
    except DeliveryError as error:
        if error.code != "403":
            if error.code == "404":
                raise DeliveryError(
                    ErrorKind.CONFIG,
                    "the bucket does not exist",
                    hint="Create it or correct its name.",
                    code=404,
                ) from None
            raise
        return CheckStep("bucket", False, "not permitted to look (s3:ListBucket); deliveries do not need it")
    return CheckStep("bucket", True, "it exists and the credentials are accepted")


def _read_step(bucket: Bucket, key: str, version: str | None, context: AttemptContext) -> CheckStep:
    try:
        found = bucket.sha256(key, version, context)
    except DeliveryError as error:
        if error.kind is not ErrorKind.CONFIG:
            raise
        return CheckStep("read back", False, "not permitted (s3:GetObject): a lost answer cannot be settled")
    return read_back(found)


def _precondition_step(
    bucket: Bucket, parcel: Parcel, key: str, preconditions: Preconditions, context: AttemptContext
) -> CheckStep:
    try:
        bucket.put(parcel, key, context, create=True)
    except Taken:
        preconditions.learn(True)
        return CheckStep("create only", True, "the store honours If-None-Match")
    except NoPreconditions:
        preconditions.learn(False)
        return CheckStep("create only", True, "the store has no If-None-Match: Conveyor looks first")
    preconditions.learn(False)
    return CheckStep("create only", True, "the store ignores If-None-Match: Conveyor looks first")
