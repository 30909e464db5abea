"""The conflict policies: under which key a parcel is stored, and what to do about what stands there."""

from __future__ import annotations

from conveyor.contract import (
    AttemptContext,
    ConflictPolicy,
    DeliveryError,
    ErrorKind,
    Parcel,
    Receipt,
    Target,
)
from conveyor.kit.naming import saved_candidates
from conveyor_connectors.s3.objects import (
    DELIVERY,
    Bucket,
    Head,
    NoPreconditions,
    Stored,
    Taken,
    forbidden,
    md5_etag,
    stored_from,
)
from conveyor_connectors.s3.options import S3Options
from conveyor_connectors.s3.preconditions import Preconditions
from conveyor_connectors.s3.spec import NAMES
from conveyor_connectors.s3.upload import Quiet, Uploader

KEY_MAX = 1024
"""Bytes of UTF-8 (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html)."""

PROOF_MAX = 1 << 20
"""Largest parcel that is sent a second time to learn whether the endpoint honours preconditions."""


class Occupied(Exception):
    """Another writer's object stands at the key. Never leaves the connector."""

    def __init__(self, head: Head | None) -> None:
        super().__init__()
        self.head = head


class Placer:
    """Stores parcels by their conflict policy.

    Args:
        bucket: Where to.
        options: The destination's options.
        preconditions: What is known about the endpoint.
    """

    def __init__(self, bucket: Bucket, options: S3Options, preconditions: Preconditions) -> None:
        self._bucket = bucket
        self._name = options.bucket
        self._uploader = Uploader(bucket, options)
        self._preconditions = preconditions
        self._certain = options.is_amazon or options.conditional_writes == "yes"

    def place(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        """Store the parcel, or say why not.

        Raises:
            DeliveryError: as the contract says; CONFLICT under ``fail``.
        """
        check_key(target.path)
        if target.conflict is ConflictPolicy.OVERWRITE:
            stored = self._uploader.store(parcel, target.path, context, create=False)
            return self.receipt(parcel, target, target.path, stored)
        if target.conflict is ConflictPolicy.RENAME:
            return self._rename(parcel, target, context)
        try:
            stored = self._create(parcel, target.path, context)
        except Occupied as occupied:
            return self._leave(target, occupied.head)
        return self.receipt(parcel, target, target.path, stored)

    def receipt(self, parcel: Parcel, target: Target, key: str, stored: Stored) -> Receipt:
        """What the bucket holds now."""
        extra = {"etag": stored.etag.strip('"')} | ({"parts": stored.parts} if stored.parts else {})
        return Receipt(
            reference=f"s3://{self._name}/{key}",
            size=parcel.size,
            digest=stored.digest,
            verified=stored.verified,
            version=stored.version or stored.etag.strip('"') or None,
            path=key,
            renamed=key != target.path,
            extra=extra,
        )

    def look(self, key: str, context: AttemptContext) -> Head | None:
        """What stands at the key, as far as the credentials may see it.

        Without s3:ListBucket, Amazon answers 403 for a key that does not exist.
        """
        try:
            return self._bucket.head(key, context)
        except DeliveryError as error:
            if forbidden(error) and self._preconditions.known() is not False:
                return None
            raise

    def _leave(self, target: Target, head: Head | None) -> Receipt:
        if target.conflict is ConflictPolicy.FAIL:
            raise DeliveryError(ErrorKind.CONFLICT, f"{target.path} exists already")
        return Receipt(
            reference=f"s3://{self._name}/{target.path}",
            size=head.size if head else None,
            verified="skipped",
            version=(head.version or head.etag.strip('"')) if head else None,
            path=target.path,
            skipped=True,
        )

    def _rename(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        whole = self._uploader.whole(parcel)
        for key in saved_candidates(parcel, target, context, NAMES, marked=whole):
            try:
                stored = self._create(parcel, key, context)
            except Occupied:
                continue
            return self.receipt(parcel, target, key, stored)
        raise DeliveryError(ErrorKind.CONFLICT, f"every name tried for {target.path} is taken")

    def _create(self, parcel: Parcel, key: str, context: AttemptContext) -> Stored:
        """Store where nothing stands, or recognise this delivery's own object there.

        Raises:
            Occupied: something else stands there.
        """
        with self._preconditions.alone(key, context.check):
            for _ in range(3):
                stored = self._attempt_create(parcel, key, context)
                if stored is not None:
                    return stored
        raise DeliveryError(ErrorKind.TRANSIENT, f"{key} came and went while it was being created")

    def _attempt_create(self, parcel: Parcel, key: str, context: AttemptContext) -> Stored | None:
        """One try; None when the situation changed and the next one has to look again."""
        whole = self._uploader.whole(parcel)
        # A proof by PutObject says nothing about CompleteMultipartUpload: some stores know the one only.
        honoured = self._preconditions.known() if whole or self._certain else None
        if honoured is not True and (head := self.look(key, context)) is not None:
            return self._recognise(head, parcel, context)
        try:
            stored = self._uploader.store(parcel, key, context, create=honoured is not False)
        except Taken:
            if whole:
                self._preconditions.learn(True)
            head = self.look(key, context)
            if head is None and honoured is True and not self._may_look(key, context):
                raise Occupied(None) from None
            return None if head is None else self._recognise(head, parcel, context)
        except NoPreconditions:
            if not whole:
                return self._uploader.store(parcel, key, context, create=False)
            self._preconditions.learn(False)
            return None
        if honoured is None and whole and parcel.size <= PROOF_MAX:
            self._prove(parcel, key, context)
        if self._preconditions.known() is False:
            self._verify(stored, parcel, key, context)
        return stored

    def _may_look(self, key: str, context: AttemptContext) -> bool:
        try:
            self._bucket.head(key, context)
        except DeliveryError as error:
            return not forbidden(error)
        return True

    def _recognise(self, head: Head, parcel: Parcel, context: AttemptContext) -> Stored:
        if not is_own(head, parcel, context):
            raise Occupied(head)
        return stored_from(head, parcel)

    def _verify(self, stored: Stored, parcel: Parcel, key: str, context: AttemptContext) -> None:
        """Without preconditions another writer may have come between looking and storing: who won?"""
        head = self.look(key, context)
        if head is None or (
            head.etag != stored.etag and not head.written_by(parcel.delivery_id, parcel.size)
        ):
            raise Occupied(head)

    def _prove(self, parcel: Parcel, key: str, context: AttemptContext) -> None:
        """Store the same bytes once more, if nothing stands there: only a store that ignores it will."""
        try:
            self._bucket.put(parcel, key, Quiet(context), create=True)
        except Taken:
            self._preconditions.learn(True)
        except NoPreconditions:
            self._preconditions.learn(False)
        except DeliveryError as error:
            context.log.debug("preconditions could not be tried out", error=error.message)
        else:
            self._preconditions.learn(False)
            context.log.info("the store ignores If-None-Match; Conveyor looks first from now on")


def is_own(head: Head, parcel: Parcel, context: AttemptContext) -> bool:
    """Whether this delivery wrote the object.

    Some gateways drop user metadata. There, the payload's own MD5 under the delivery's own name counts
    from the second attempt on, when the first may have left it.
    """
    if DELIVERY in head.metadata:
        return head.written_by(parcel.delivery_id, parcel.size)
    same = head.size == parcel.size and md5_etag(head.etag) == parcel.digests["md5"]
    return same and context.attempt > 1


def check_key(key: str) -> None:
    """Refuse a key that S3 would refuse, or that tools cannot handle.

    Raises:
        DeliveryError: NAME.
    """
    size = len(key.encode("utf-8", "surrogatepass"))
    if size > KEY_MAX:
        raise DeliveryError(ErrorKind.NAME, f"the key has {size} bytes; S3 takes {KEY_MAX}")
    if any(part in ("", ".", "..") for part in key.split("/")):
        raise DeliveryError(ErrorKind.NAME, "the key has an empty segment, . or ..")
