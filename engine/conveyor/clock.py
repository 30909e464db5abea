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
        """Seconds that never go back."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Microseconds since the epoch, UTC."""
        return time.time_ns() // 1_000

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


def micros(seconds: float) -> int:
    """Seconds as the ledger's microseconds."""
    return round(seconds * SECOND)
