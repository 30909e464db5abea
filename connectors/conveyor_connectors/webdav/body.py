"""The body of one PUT, streamed from the payload."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind

BLOCK = 64 * 1024
"""Bytes read and sent at a time; a send that takes longer than the connect timeout ends the attempt."""


class Body:
    """A file-like view of ``size`` bytes from ``offset``, as ``requests`` takes it: with a known length.

    A length, because some servers store nothing when a body comes chunked. Digest authentication may rewind
    it and send it again.
    """

    def __init__(self, stream: BinaryIO, offset: int, size: int, context: AttemptContext) -> None:
        self._stream = stream
        self._offset = offset
        self._size = size
        self._context = context
        self._position = 0
        stream.seek(offset)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        while block := self.read(BLOCK):
            yield block

    @property
    def finished(self) -> bool:
        """Every byte was handed to the connection."""
        return self._position == self._size

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
        self._context.progress(len(data))
        return data

    def _take(self, wanted: int) -> bytes:
        try:
            data = self._stream.read(wanted)
        except DeliveryError:
            raise
        except Exception as error:
            text = f"the payload cannot be read: {type(error).__name__}"
            raise DeliveryError(ErrorKind.SOURCE, text) from None
        if not data:
            raise DeliveryError(ErrorKind.SOURCE, "the payload ends early")
        return data
