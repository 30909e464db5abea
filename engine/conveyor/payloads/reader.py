"""A payload being read: seekable, and never silently other bytes than those that were submitted."""

from __future__ import annotations

import io
import os
from pathlib import Path

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.payloads.problems import payload_error

BUFFER = 128 * 1024
"""Bytes read at once where a reader asks for few."""


def source_error(message: str, *, in_place: bool) -> DeliveryError:
    """The payload is not what was submitted; final for its deliveries."""
    hint = "submit the file again" if in_place else "the file in the payload store was removed or damaged"
    return DeliveryError(ErrorKind.SOURCE, message, hint=hint)


class PayloadFile(io.RawIOBase):
    """Reads exactly ``size`` bytes and refuses to end well when the file has another size or was written to.

    The check is made with the read that reaches the last byte, so no reader gets that byte of a file that
    changed meanwhile.

    Args:
        fd: Open for reading; owned from here on.
        size: What was submitted, in bytes.
        path: For messages.
        root: The payload store, for messages.
        in_place: The file belongs to the submitter.
        mtime_ns: When the file was last written as far as is known; None: not compared.
    """

    def __init__(
        self, fd: int, *, size: int, path: str, root: Path, in_place: bool, mtime_ns: int | None
    ) -> None:
        self._fd = fd
        self._size = size
        self._path = path
        self._root = root
        self._in_place = in_place
        self._mtime_ns = mtime_ns
        self._position = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def fileno(self) -> int:
        """The file descriptor."""
        self._check_open()
        return self._fd

    def tell(self) -> int:
        """The position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move; the end is the submitted size."""
        self._check_open()
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("negative position")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # typeshed's private type
        """Fill the buffer.

        Raises:
            DeliveryError: SOURCE, when the file is shorter than submitted or was written to.
            PayloadError: The store cannot be read just now.
        """
        self._check_open()
        view = memoryview(buffer).cast("B")[: max(0, self._size - self._position)]
        if not view:
            return 0
        try:
            count = os.preadv(self._fd, [view], self._position)
        except OSError as error:
            raise payload_error(error, self._root, f"read {os.path.basename(self._path)}") from None
        if count == 0:
            raise source_error(
                f"the payload {self._path} ends after {self._position} of {self._size} bytes",
                in_place=self._in_place,
            )
        self._position += count
        if self._position == self._size:
            self._check_unchanged()
        return count

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            os.close(self._fd)
        super().close()

    def _check_unchanged(self) -> None:
        now = os.fstat(self._fd)
        if now.st_size != self._size or (self._mtime_ns is not None and now.st_mtime_ns != self._mtime_ns):
            raise source_error(f"the payload {self._path} changed while it was read", in_place=self._in_place)

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on a closed payload")
