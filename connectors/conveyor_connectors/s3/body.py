"""The body of one request, streamed from the payload."""

from __future__ import annotations

import os
import threading
from typing import BinaryIO, Protocol

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind

BLOCK = 256 * 1024
"""Bytes read and sent at a time."""


class Meter(Protocol):
    """Who is told about bytes that went out, and asked before the last of them does."""

    def sent(self, count: int) -> None:
        """``count`` more bytes are on their way."""

    def last(self) -> None:
        """The block that completes the body is about to be sent."""


class Direct:
    """A meter for the attempt's own thread.

    Args:
        context: The attempt.
        publishes: The body's last byte makes the object visible, so the fence is checked before it.
    """

    def __init__(self, context: AttemptContext, *, publishes: bool) -> None:
        self._context = context
        self._publishes = publishes

    def sent(self, count: int) -> None:
        """Report progress; raises when the attempt must stop."""
        self._context.progress(count)

    def last(self) -> None:
        """Check the fence."""
        if self._publishes:
            self._context.before_commit()


class Pooled:
    """A meter for helper threads: they count, the attempt's thread reports, and stops them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._stopped = False

    def sent(self, count: int) -> None:
        """Count; raises when the attempt's thread said stop."""
        if self._stopped:
            raise PartStopped
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


class PartStopped(Exception):
    """A helper thread's upload was told to stop; never leaves the connector."""


class Body:
    """A file-like view of ``size`` bytes from ``offset``, as botocore takes it.

    botocore may read a body twice: for a signature, then for the wire. Only after :meth:`begin` do bytes
    count.
    """

    def __init__(self, stream: BinaryIO, offset: int, size: int, meter: Meter) -> None:
        self._stream = stream
        self._offset = offset
        self._size = size
        self._meter = meter
        self._position = 0
        self._sending = False
        stream.seek(offset)

    def __len__(self) -> int:
        return self._size

    @property
    def finished(self) -> bool:
        """Every byte was handed to the connection."""
        return self._sending and self._position == self._size

    def begin(self) -> None:
        """From here on what is read is sent."""
        self._sending = True
        self.seek(0)

    def tell(self) -> int:
        """The position within the view."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move within the view."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
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
        data = self._take(wanted)
        self._position += len(data)
        if self._sending:
            if self._position == self._size:
                try:
                    self._meter.last()
                except BaseException:
                    self._position -= len(data)
                    raise
            self._meter.sent(len(data))
        return data

    def _take(self, wanted: int) -> bytes:
        try:
            data = self._stream.read(wanted)
        except DeliveryError:
            raise
        except Exception as error:
            raise DeliveryError(
                ErrorKind.SOURCE, f"the payload cannot be read: {type(error).__name__}"
            ) from None
        if not data:
            raise DeliveryError(ErrorKind.SOURCE, "the payload ends early")
        return data
