"""The one source of time. Everything that waits or stamps takes a clock, so that tests own it."""

from __future__ import annotations

import time
from typing import Protocol

SECOND = 1_000_000
"""Microseconds in a second: the ledger's unit of time."""


class Clock(Protocol):
    """Wall clock and monotonic clock."""

    def now(self) -> int:
        """Microseconds since the epoch, UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back, those that the machine slept included."""


_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine sleeps, where the system has such a clock (clock_gettime(2))."""


def steady() -> float:
    """Seconds since the machine started, those that it slept included."""
    return time.clock_gettime(_STEADY)


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Microseconds since the epoch, UTC."""
        return time.time_ns() // 1_000

    def monotonic(self) -> float:
        """Seconds that never go back, those that the machine slept included."""
        return steady()


def micros(seconds: float) -> int:
    """Seconds as the ledger's microseconds."""
    return round(seconds * SECOND)
