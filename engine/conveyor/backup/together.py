"""The same for many payloads, a few at a time: a disk that fsyncs, and a bucket far away, like company."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

TOGETHER: Final = 4


class Stopped(Exception):
    """Somebody else has failed, or Ctrl-C was pressed: the rest does not matter any more."""


class Together:
    """Makes calls at the same time; leaving the block ends what is still under way.

    Args:
        progress: Told how much more is done, from any thread.
    """

    def __init__(self, progress: Callable[[int], object]) -> None:
        self._progress = progress
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(TOGETHER, thread_name_prefix="backup")

    def __enter__(self) -> Together:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown(cancel_futures=True)

    def each(self, call: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """The results, in order. Raises what a call raises."""
        return self._pool.map(call, items)

    def progress(self, count: int) -> None:
        """To be called with each chunk. Raises Stopped when the work is over."""
        self.hold(count)
        self._progress(count)

    def hold(self, _: int = 0) -> None:
        """As :meth:`progress`, of what does not count as more done."""
        if self._stop.is_set():
            raise Stopped
