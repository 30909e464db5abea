"""A source that is watched while it is read: what does not hold still is refused."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

from conveyor.errors import SubmissionError


class Watched(io.RawIOBase):
    """Reads a source to its end and refuses to end well when it was not what it said it was.

    Args:
        readinto: Fills a buffer; 0 at the end.
        size: Bytes that the source announced; None when it did not.
        recheck: Called at the end; raises when the source changed.
        label: For messages.
    """

    def __init__(
        self, readinto: Callable[[Any], int | None], size: int | None, recheck: Callable[[], None], label: str
    ) -> None:
        self._readinto = readinto
        self._size = size
        self._recheck = recheck
        self._label = label
        self._count = 0

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        """Fill the buffer.

        Raises:
            SubmissionError: The source is longer or shorter than announced, or changed meanwhile.
        """
        count = self._readinto(buffer)
        if count is None:
            return None
        self._count += count
        if self._size is not None and self._count > self._size:
            raise changed(self._label, f"it grew beyond {self._size} bytes")
        if count == 0 and len(buffer):
            if self._size is not None and self._count < self._size:
                raise changed(self._label, f"it ended after {self._count} of {self._size} bytes")
            self._recheck()
        return count


def changed(label: str, how: str) -> SubmissionError:
    """The source did not hold still."""
    return SubmissionError(
        f"{label} changed while it was read: {how}", cure="submit it again once it is complete"
    )


def fingerprint(status: os.stat_result) -> str:
    """``size:mtime_ns:inode``: what tells cheaply that a file is still the same."""
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"
