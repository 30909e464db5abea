"""Chunk memory from one budget per process, so that memory does not grow with threads and file sizes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

BUDGET = 64 * 1024 * 1024
"""Bytes that all attempts of a process hold in chunks together."""


class ChunkBudget:
    """Hands out memory; first come, first served.

    Args:
        budget: Bytes in all.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget = budget
        self._free = budget
        self._turn = threading.Condition()
        self._waiting: deque[object] = deque()

    @contextmanager
    def chunk(self, size: int) -> Iterator[memoryview]:
        """Borrow ``size`` bytes; blocks until they are free.

        Raises:
            ValueError: ``size`` is over the whole budget, or not positive.
        """
        if not 0 < size <= self._budget:
            raise ValueError(f"a chunk has 1 to {self._budget} bytes, not {size}")
        me = object()
        with self._turn:
            # In turn, so that many small chunks never starve a large one.
            self._waiting.append(me)
            self._turn.wait_for(lambda: self._waiting[0] is me and self._free >= size)
            self._waiting.popleft()
            self._free -= size
            self._turn.notify_all()
        try:
            yield memoryview(bytearray(size))
        finally:
            with self._turn:
                self._free += size
                self._turn.notify_all()
