"""The database server's clock, so that machines whose own clocks disagree agree on what is due and on leases.

Asked when a ledger is opened, then every ``EVERY`` seconds in the background; in between it runs on with the
machine's monotonic clock. Whoever sets a machine's wall clock moves nothing.

An answer is taken for one of the moment in which it arrives, though it was given before: so this clock is
never ahead of the server's, nothing begins before it is due, and no lease counts as over before it is. How
long a question was on its way, or had to wait for a connection, makes it late and nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from conveyor.clock import SECOND, steady
from conveyor.errors import LedgerError

EVERY = 30.0
"""Seconds between questions."""

PROMPT = 1.0
"""An answer that took more seconds says little about the time: the one before stands."""

TRIES = 3
"""Questions at the beginning, until one is answered promptly."""


class ServerClock:
    """The server's time, without asking it each time.

    Args:
        ask: The server's time now, microseconds since the epoch. Raises LedgerError.
        elapsed: Seconds that never go back; for tests.

    Raises:
        LedgerError: The server cannot be asked.
    """

    def __init__(self, ask: Callable[[], int], *, elapsed: Callable[[], float] = steady) -> None:
        self._ask = ask
        self._elapsed = elapsed
        self._asking = threading.Lock()
        self._asked_at = float("-inf")
        self._offset = 0.0
        self._known = False
        self.sync()

    def now(self) -> int:
        """Microseconds since the epoch, UTC, as the server counts them."""
        elapsed = self._elapsed()
        if elapsed - self._asked_at >= EVERY and self._asking.acquire(blocking=False):
            self._asked_at = elapsed
            threading.Thread(target=self._refresh, name="server clock", daemon=True).start()
        return round((elapsed + self._offset) * SECOND)

    def monotonic(self) -> float:
        """Seconds that never go back, those that the machine slept included."""
        return steady()

    def sync(self) -> None:
        """Ask the server now. Raises LedgerError."""
        late: list[float] = []
        for _ in range(1 if self._known else TRIES):
            before = self._elapsed()
            told = self._ask() / SECOND
            self._asked_at = after = self._elapsed()
            if after - before <= PROMPT:
                self._offset, self._known = told - after, True
                return
            late.append(told - after)
        if not self._known:
            self._offset, self._known = max(late), True  # none is ahead: the latest is the nearest

    def _refresh(self) -> None:
        try:
            self.sync()
        except LedgerError:
            return  # the clock runs on by itself; whoever needs the ledger says that it is away
        finally:
            self._asking.release()
