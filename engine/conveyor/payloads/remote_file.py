"""A payload in a bucket being read: seekable, and never silently other bytes than were submitted."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from conveyor.errors import PayloadError
from conveyor.payloads.bucket import bucket_error, said
from conveyor.payloads.reader import source_error

if TYPE_CHECKING:
    from obstore.store import ObjectStore

    from conveyor.ledger.records import PayloadRecord

CHUNK = 1 << 20
TRIES = 3
"""Streams that break are taken up again where they broke, so many times in a row."""


class RemoteFile(io.RawIOBase):
    """Reads an object through streams of ranges; a seek begins another stream.

    Whoever reads from the beginning to the end gets the last byte only if all of them have the digest that
    was submitted; encrypted bytes are judged where they are decrypted. Every range is asked for under the
    object's version (``If-Match``).

    Args:
        bucket: Where.
        record: What, with its size in the store.
        name: The store's, for messages.
    """

    def __init__(self, bucket: ObjectStore, record: PayloadRecord, name: str) -> None:
        self._bucket = bucket
        self._record = record
        self._name = name
        self._position = 0
        self._stream: Iterator[Any] | None = None
        self._left = memoryview(b"")
        self._hash: Any = hashlib.sha256()
        self._hashed = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move; the end is the submitted size."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._record.size}[whence]
        if base + offset < 0:
            raise ValueError("negative position")
        if base + offset != self._position:
            self._position = base + offset
            self._drop()
            if self._position == 0:
                self._hash, self._hashed = hashlib.sha256(), 0
        return self._position

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # typeshed's private type
        """Fill the buffer.

        Raises:
            DeliveryError: SOURCE, when the object is gone or another one than submitted.
            PayloadError: The store cannot be read just now.
        """
        if self.closed:
            raise ValueError("I/O operation on a closed payload")
        view = memoryview(buffer).cast("B")[: max(0, self._record.size - self._position)]
        if not view:
            return 0
        if not self._left:
            self._left = self._next()
        count = min(len(view), len(self._left))
        view[:count] = self._left[:count]
        self._verify(view[:count])
        self._left = self._left[count:]
        self._position += count
        return count

    def close(self) -> None:
        """End the stream."""
        self._drop()
        super().close()

    def _verify(self, data: memoryview) -> None:
        if self._record.sealed_key is not None or self._hashed != self._position:
            return  # read in parts, in whatever order: size and version have to do
        self._hash.update(data)
        self._hashed += len(data)
        if self._hashed == self._record.size and self._hash.hexdigest() != self._record.digests["sha256"]:
            raise source_error(
                f"the payload {self._record.id} in the store is not what was submitted", in_place=False
            )

    def _next(self) -> memoryview:
        from obstore.exceptions import BaseError

        for attempt in range(1, TRIES + 1):
            try:
                if self._stream is None:
                    self._stream = iter(self._open())
                for piece in self._stream:
                    if len(piece):
                        return memoryview(piece)
                # Shorter than was promised: as a broken stream, worth another look.
                problem: Exception = EOFError(f"ended after {self._position} of {self._record.size} bytes")
            except (BaseError, OSError) as error:
                refused(error, self._record)
                problem = error
            self._drop()
            if attempt == TRIES:
                break
        raise bucket_error(problem, self._name, f"read {self._record.location}")

    def _open(self) -> Any:
        import obstore

        options: Any = {"range": (self._position, self._record.size)}
        if self._record.fingerprint:
            options["if_match"] = self._record.fingerprint
        answer = obstore.get(self._bucket, self._record.location, options=options)
        return answer.stream(min_chunk_size=CHUNK)

    def _drop(self) -> None:
        self._stream, self._left = None, memoryview(b"")


_OUT_OF_RANGE = "status code: 416"
"""In obstore's words. The number alone is also in addresses, and in the times that it tells."""


def refused(error: Exception, record: PayloadRecord, check: Callable[[], None] = lambda: None) -> None:
    """Raise what follows when the object itself is the problem; return when the store is.

    Args:
        error: What obstore raised.
        record: The payload that was asked for.
        check: Raises PayloadError when the store as a whole cannot be reached.

    Raises:
        DeliveryError: SOURCE: gone, or changed.
    """
    from obstore.exceptions import NotFoundError, PreconditionError

    if isinstance(error, (NotFoundError, FileNotFoundError)):
        check()  # a bucket that is away is no lost payload
        raise source_error(f"the payload {record.id} is gone from the store", in_place=False) from None
    if isinstance(error, PreconditionError):
        raise source_error(f"the payload {record.id} was overwritten in the store", in_place=False) from None
    if isinstance(error, PayloadError):
        raise error
    if _OUT_OF_RANGE in said(error):
        raise source_error(f"the payload {record.id} is shorter than submitted", in_place=False) from None
