"""The body of a request, streamed from the payload."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind
from conveyor.hashing import new_hasher

BLOCK = 256 * 1024
"""Bytes read and sent at a time."""


class Meter(Protocol):
    """Who is told about bytes that go out, and asked before the last of them does."""

    def sent(self, count: int) -> None:
        """``count`` more bytes are on their way."""

    def last(self) -> None:
        """The bytes that complete the body are about to be sent."""


class Counting:
    """A meter for the attempt's own thread, for a body that publishes nothing."""

    def __init__(self, context: AttemptContext) -> None:
        self._context = context

    def sent(self, count: int) -> None:
        """Report progress; raises when the attempt must stop."""
        self._context.progress(count)

    def last(self) -> None:
        """Nothing: the body is a part."""


class Publishing(Counting):
    """A meter for a body whose last byte makes the file visible: the fence is checked before that byte."""

    def last(self) -> None:
        """Check the fence."""
        self._context.before_commit()


class BodyStopped(Exception):
    """A helper thread's upload was told to stop; never leaves the connector."""


class Pooled:
    """A meter for helper threads: they count, the attempt's thread reports, and stops them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._stopped = False

    def sent(self, count: int) -> None:
        """Count; raises when the attempt's thread said stop."""
        if self._stopped:
            raise BodyStopped
        with self._lock:
            self._count += count

    def last(self) -> None:
        """Nothing: a part is not visible."""

    def stop(self) -> None:
        """Make the bodies that are being sent fail."""
        self._stopped = True

    def drain(self) -> int:
        """Bytes counted since the last call."""
        with self._lock:
            count, self._count = self._count, 0
            return count


class Body:
    """A file-like view of ``size`` bytes from ``offset``, as requests, urllib3 and SDKs take it.

    Args:
        stream: The payload, seekable; used by nobody else meanwhile.
        offset, size: Which bytes of it.
        meter: Told of the bytes that are sent.
        sending: False when something reads the body first (to sign it): nothing is metered until
            :meth:`begin`.
    """

    def __init__(
        self, stream: BinaryIO, offset: int, size: int, meter: Meter, *, sending: bool = True
    ) -> None:
        self._stream = stream
        self._offset = offset
        self._size = size
        self._meter = meter
        self._sending = sending
        self.seek(0)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        while block := self.read(BLOCK):
            yield block

    @property
    def finished(self) -> bool:
        """Every byte was handed to the connection."""
        return self._sending and self._position == self._size

    def begin(self) -> None:
        """A request is about to be sent, perhaps again: start over, and meter what is read."""
        self._sending = True
        self.seek(0)

    def seekable(self) -> bool:
        """It can be rewound."""
        return True

    def tell(self) -> int:
        """The position within the view."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move within the view."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: getattr(self, "_position", 0), os.SEEK_END: self._size}[whence]
        self._position = min(max(0, start + offset), self._size)
        self._stream.seek(self._offset + self._position)
        return self._position

    def read(self, count: int = -1) -> bytes:
        """At most ``count`` bytes, at most a block.

        Raises:
            DeliveryError: SOURCE, when the payload ends early or cannot be read.
        """
        left = self._size - self._position
        wanted = min(left, BLOCK if count < 0 else min(count, BLOCK))
        if wanted <= 0:
            return b""
        data = read_some(self._stream, wanted)
        if self._sending:
            if len(data) == left:
                self._meter.last()
            self._meter.sent(len(data))
        self._position += len(data)
        return data


def read_some(stream: BinaryIO, wanted: int) -> bytes:
    """At least one byte of the payload, at most ``wanted``.

    Raises:
        DeliveryError: SOURCE, when there is none or it cannot be read.
    """
    try:
        data = stream.read(wanted)
    except DeliveryError:
        raise
    except Exception as error:
        raise DeliveryError(ErrorKind.SOURCE, f"the payload cannot be read: {type(error).__name__}") from None
    if not data:
        raise DeliveryError(ErrorKind.SOURCE, "the payload ends early")
    return data


def digest_of(stream: BinaryIO, offset: int, size: int, algorithm: str) -> bytes:
    """The digest of ``size`` bytes from ``offset``: what a service is asked to compare, no security.

    Args:
        stream: The payload, seekable.
        offset, size: Which bytes of it.
        algorithm: A name of :func:`conveyor.kit.digests.new_hasher`.

    Raises:
        DeliveryError: SOURCE, when the payload ends before.
    """
    digest = new_hasher(algorithm)
    stream.seek(offset)
    left = size
    while left:
        data = read_some(stream, min(left, BLOCK))
        digest.update(data)
        left -= len(data)
    return digest.digest()
