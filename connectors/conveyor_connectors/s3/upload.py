"""Storing one parcel under one key: in one request or in parts, and then making sure of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind, Json, Log, Parcel, State
from conveyor_connectors.s3.multipart import MultipartSender
from conveyor_connectors.s3.objects import Bucket, Stored
from conveyor_connectors.s3.options import S3Options


class Uploader:
    """Stores parcels.

    Args:
        bucket: Where to.
        options: The destination's options.
    """

    def __init__(self, bucket: Bucket, options: S3Options) -> None:
        self._bucket = bucket
        self._options = options
        self._sender = MultipartSender(bucket, options)
        self._opaque = False
        """The endpoint's ETags are no MD5: proved by reading an object back."""

    def whole(self, parcel: Parcel) -> bool:
        """Whether the parcel goes in one request."""
        return parcel.size <= self._options.multipart_threshold or parcel.size == 0

    def store(self, parcel: Parcel, key: str, context: AttemptContext, *, create: bool) -> Stored:
        """Store the parcel under ``key``.

        Args:
            parcel: What to store.
            key: Where.
            context: The attempt.
            create: Only where nothing stands.

        Raises:
            Taken: ``create``, and something stands there.
            NoPreconditions: the endpoint refuses the precondition.
            DeliveryError: INTEGRITY, when other bytes arrived; they are removed.
        """
        if self.whole(parcel):
            stored = self._bucket.put(parcel, key, context, create=create)
            return self._read_back(stored, parcel, key, context) if stored.doubtful else stored
        stored = self._sender.send(parcel, key, context, create=create)
        return self._measure(stored, parcel, key, context) if stored.verified == "accepted" else stored

    def _read_back(self, stored: Stored, parcel: Parcel, key: str, context: AttemptContext) -> Stored:
        """Settle whether an unexpected ETag means other bytes or another way to make ETags.

        About twenty compatible stores make their own ETags, so that a difference alone proves nothing. One
        object read back shows which it is; a store that makes its own is not asked again.
        """
        if self._opaque:
            return stored
        try:
            found = self._bucket.sha256(key, stored.version, context)
        except DeliveryError as error:
            if error.kind is ErrorKind.CONFIG:  # may not read: the digest header has to suffice
                return stored
            raise
        if found == parcel.digests["sha256"]:
            self._opaque = True
            return Stored(stored.etag, stored.version, "sha256", f"sha256:{found}")
        self._bucket.delete(key, context, stored.version)
        raise DeliveryError(
            ErrorKind.INTEGRITY, "the store holds other bytes than were sent; they were removed"
        )

    def _measure(self, stored: Stored, parcel: Parcel, key: str, context: AttemptContext) -> Stored:
        """Compare the size, where the endpoint's ETag says nothing about an object made of parts."""
        try:
            head = self._bucket.head(key, context)
        except DeliveryError as error:
            if error.kind is ErrorKind.CONFIG:
                return stored
            raise
        if head is None or head.size != parcel.size:
            size = "nothing" if head is None else f"{head.size} bytes"
            raise DeliveryError(ErrorKind.INTEGRITY, f"the store holds {size} instead of {parcel.size} bytes")
        return Stored(stored.etag, stored.version, "size", None, stored.parts)


class Quiet:
    """An attempt's context that reports nothing: for a request beside the delivery itself."""

    def __init__(self, context: AttemptContext) -> None:
        self._context = context

    @property
    def attempt(self) -> int:
        """The attempt's number."""
        return self._context.attempt

    @property
    def fence(self) -> int:
        """The attempt's fence."""
        return self._context.fence

    @property
    def state(self) -> State:
        """The delivery's state."""
        return self._context.state

    @property
    def log(self) -> Log:
        """The delivery's logger."""
        return self._context.log

    def save(self, **state: Json) -> None:
        """Save to the delivery's state."""
        self._context.save(**state)

    def abandon_later(self, **state: Json) -> None:
        """Abandon once more, later."""
        self._context.abandon_later(**state)

    def before_commit(self) -> None:
        """Check the fence."""
        self._context.before_commit()

    def progress(self, count: int) -> None:
        """Count nothing."""
        self._context.progress(0)

    def check(self) -> None:
        """Raise when the attempt must stop."""
        self._context.check()

    def remaining(self) -> float:
        """Seconds until the deadline."""
        return self._context.remaining()

    def uploaded(self) -> None:
        """Nothing."""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time nothing."""
        yield
