"""What is submitted, opened: a name, a type, a size where it is known, and a stream."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self


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


def nothing() -> None:
    """For sources that cannot change, or that the caller closes."""
