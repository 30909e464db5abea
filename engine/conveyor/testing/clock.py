"""A clock that stands still until a test moves it."""

from __future__ import annotations

import threading

from conveyor.clock import SECOND, micros


class FakeClock:
    """Implements :class:`conveyor.clock.Clock`; safe from many threads.

    Args:
        start: Wall time at the beginning, seconds since the epoch.
    """

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._lock = threading.Lock()
        self._now = micros(start)
        self._monotonic = 1_000_000_000

    def now(self) -> int:
        """Microseconds since the epoch, UTC."""
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        """Seconds that never go back."""
        with self._lock:
            return self._monotonic / SECOND

    def time(self) -> float:
        """Wall time as seconds since the epoch, what ``ConnectorEnv.clock`` gives."""
        return self.now() / SECOND

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass on both clocks."""
        if seconds < 0:
            raise ValueError("time only passes forward; set_wall() sets the wall clock back")
        with self._lock:
            self._now += micros(seconds)
            self._monotonic += micros(seconds)

    def set_wall(self, seconds: float) -> None:
        """Set the wall clock alone, also back, as an administrator or NTP does."""
        with self._lock:
            self._now = micros(seconds)
