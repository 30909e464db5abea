"""One beat renews a process's lease on all its claims; without it the process stops publishing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from conveyor.clock import Clock, micros
from conveyor.delivery.loops import Loop
from conveyor.errors import LedgerError
from conveyor.ledger.facade import Ledger
from conveyor.ledger.records import WorkerRecord
from conveyor.log import EngineLog

CONFIDENT = 2 / 3
"""Share of the lease after which, unconfirmed, the process stops its attempts."""


HANGS = 120.0
"""Seconds that a beat may hang in the ledger's driver at least, before this process counts as hung."""


class Heartbeat:
    """Keeps a worker's lease.

    Args:
        ledger: Where the lease stands.
        me: This process; ``lease_until`` is set here.
        lease: Seconds.
        clock: Time.
        log: Says when beats fail.
        held: Called after each confirmed beat with the claims that are still ours. May raise LedgerError.
    """

    def __init__(
        self,
        ledger: Ledger,
        me: WorkerRecord,
        *,
        lease: float,
        clock: Clock,
        log: EngineLog,
        held: Callable[[frozenset[tuple[str, int]]], None],
    ) -> None:
        self._ledger = ledger
        self._me = me
        self._lease = lease
        self._clock = clock
        self._log = log
        self._held = held
        self._confirmed_at = float("-inf")
        self._loop = Loop("heartbeat", self._round, log)

    def start(self) -> None:
        """Register the worker and start beating.

        Raises:
            LedgerError: The ledger cannot be written.
        """
        self.register()
        self._loop.start()

    def resize(self, threads: int) -> None:
        """Register with so many threads."""
        self._me = replace(self._me, threads=threads)

    def drain(self) -> None:
        """Tell others that this process takes no more work."""
        try:
            self._ledger.workers.drain(self._me.id)
        except LedgerError as error:
            self._log.warning("worker not marked as leaving", error=error.message)

    def stop(self, timeout: float) -> None:
        """Stop beating, within ``timeout`` seconds, and take the worker off the ledger."""
        self._loop.stop(timeout)
        try:
            self._ledger.workers.retire(self._me.id)
        except LedgerError as error:
            # Its lease will run out instead.
            self._log.warning("worker not signed off", error=error.message)

    def confirmed(self) -> bool:
        """Whether the lease can be relied on: its last confirmation is recent enough."""
        return self._clock.monotonic() - self._confirmed_at < self._lease * CONFIDENT

    def turns(self) -> bool:
        """Whether the beats still come, heard or not; a thread that hangs for so long does not come back."""
        return time.monotonic() - self._loop.turned_at < max(HANGS, 2 * self._lease)

    def beat(self) -> None:
        """Renew once."""
        asked_at = self._clock.monotonic()
        try:
            held = self._ledger.workers.beat(self._me.id, self._lease_until())
            if held is None:
                # Reaped: our claims belong to others now. Start anew, owning nothing.
                self._log.warning("this worker had been taken for dead; its claims were given to others")
                self.register()
                held = frozenset()
            self._confirmed_at = asked_at
            self._held(held)
        except LedgerError as error:
            self._log.warning("heartbeat failed", error=error.message)

    def register(self) -> None:
        """Enter this process in the ledger.

        Raises:
            LedgerError: The ledger cannot be written.
        """
        asked_at = self._clock.monotonic()
        now = self._clock.now()
        self._ledger.workers.register(replace(self._me, started_at=now, lease_until=self._lease_until()))
        self._confirmed_at = asked_at

    def _lease_until(self) -> int:
        return self._clock.now() + micros(self._lease)

    def _round(self) -> float:
        self.beat()
        return self._lease / 4 if self.confirmed() else min(1.0, self._lease / 8)
