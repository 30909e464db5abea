"""Taking turns inside this process, by key, while staying open to cancellation."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from weakref import WeakValueDictionary

_LOOK = 0.25
"""Seconds between two looks at cancellation."""


class Turns:
    """At most ``most`` threads at a time for one key; a key in nobody's hands takes no memory."""

    def __init__(self, most: int = 1) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._turns: WeakValueDictionary[str, threading.BoundedSemaphore] = WeakValueDictionary()

    @contextlib.contextmanager
    def take(self, key: str, pulse: Callable[[], None]) -> Iterator[None]:
        """Wait for a turn; ``pulse`` is called while waiting and may raise."""
        with self._lock:
            turn = self._turns.get(key) or threading.BoundedSemaphore(self._most)
            self._turns[key] = turn
        while not turn.acquire(timeout=_LOOK):
            pulse()
        try:
            yield
        finally:
            turn.release()
