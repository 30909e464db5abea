"""What is submitted, opened: a name, a type, a size where it is known, and a stream that is watched."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

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


@dataclass(slots=True)
class Source:
    """An opened source; close it, or use it as a context manager.

    Attributes:
        name: The file name it brings, None when it brings none.
        media_type: By its name or its server.
        size: Bytes, where known before reading.
        stream: Reading it to the end also checks that it did not change.
        recheck: Raises SubmissionError when it changed since it was opened.
        release: Closes what lies below.
        label: What to call it in messages; never holds a secret.
    """

    name: str | None
    media_type: str
    size: int | None
    stream: io.RawIOBase
    recheck: Callable[[], None]
    release: Callable[[], None]
    label: str

    def close(self) -> None:
        """Release the file or the connection."""
        self.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def changed(label: str, how: str) -> SubmissionError:
    """The source did not hold still."""
    return SubmissionError(
        f"{label} changed while it was read: {how}", cure="submit it again once it is complete"
    )


def nothing() -> None:
    """For sources that cannot change, or that the caller closes."""
