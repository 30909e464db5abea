"""The body of one request, streamed from the payload."""

from __future__ import annotations

import hashlib
import threading
from typing import BinaryIO, Protocol

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind

BLOCK = 256 * 1024
"""Bytes read and sent at a time."""


class Meter(Protocol):
    """Who is told about bytes that go out, and asked before the last of them does."""

    def sent(self, count: int) -> None:
        """``count`` more bytes are on their way."""

    def last(self) -> None:
        """The bytes that complete the body are about to be sent."""


class Publishing:
    """A meter for the attempt's own thread: the body's last byte makes the blob visible.

    Args:
        context: The attempt; its fence is checked before that byte.
    """

    def __init__(self, context: AttemptContext) -> None:
        self._context = context

    def sent(self, count: int) -> None:
        """Report progress; raises when the attempt must stop."""
        self._context.progress(count)

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
        """Nothing: a block is not visible."""

    def stop(self) -> None:
        """Make the bodies that are being sent fail."""
        self._stopped = True

    def drain(self) -> int:
        """Bytes counted since the last call."""
        with self._lock:
            count, self._count = self._count, 0
            return count


class Body:
    """A file-like view of ``size`` bytes from ``offset``, as requests and urllib3 take it."""

    def __init__(self, stream: BinaryIO, offset: int, size: int, meter: Meter) -> None:
        self._stream = stream
        self._offset = offset
        self._size = size
        self._meter = meter
        self._position = 0
        self._taken = False

    def __len__(self) -> int:
        return self._size

    @property
    def finished(self) -> bool:
        """Every byte was taken by the connection: it asked for more after the last one."""
        return self._taken or not self._size

    def begin(self) -> None:
        """Start over: a request is about to be sent, perhaps again with another token."""
        self._position = 0
        self._taken = False
        self._stream.seek(self._offset)

    def read(self, count: int = -1) -> bytes:
        """At most ``count`` bytes, at most a block.

        Raises:
            DeliveryError: SOURCE, when the payload ends early or cannot be read.
        """
        left = self._size - self._position
        wanted = min(left, BLOCK if count < 0 else min(count, BLOCK))
        if wanted <= 0:
            self._taken = left == 0
            return b""
        data = read_some(self._stream, wanted)
        if len(data) == left:
            self._meter.last()
        self._position += len(data)
        self._meter.sent(len(data))
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


def md5_of(stream: BinaryIO, offset: int, size: int) -> bytes:
    """The MD5 of ``size`` bytes from ``offset``: what the service is asked to compare, no security.

    Raises:
        DeliveryError: SOURCE, when the payload ends before.
    """
    digest = hashlib.md5(usedforsecurity=False)
    stream.seek(offset)
    left = size
    while left:
        data = read_some(stream, min(left, BLOCK))
        digest.update(data)
        left -= len(data)
    return digest.digest()
