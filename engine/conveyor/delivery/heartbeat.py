"""One beat renews a process's lease on all its claims; without it the process stops publishing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from conveyor.clock import Clock, micros
from conveyor.contract import Log
from conveyor.errors import LedgerError
from conveyor.ledger.facade import Ledger
from conveyor.ledger.records import WorkerRecord

CONFIDENT = 2 / 3
"""Share of the lease after which, unconfirmed, the process stops its attempts."""


class Heartbeat:
    """Keeps a worker's lease.

    Args:
        ledger: Where the lease stands.
        me: This process; ``lease_until`` is set here.
        lease: Seconds.
        clock: Time.
        log: Says when beats fail.
        held: Called after each confirmed beat with the claims that are still ours.
        unsure: Called when the lease can no longer be relied on.
    """

    def __init__(
        self,
        ledger: Ledger,
        me: WorkerRecord,
        *,
        lease: float,
        clock: Clock,
        log: Log,
        held: Callable[[frozenset[tuple[str, int]]], None],
        unsure: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._me = me
        self._lease = lease
        self._clock = clock
        self._log = log
        self._held = held
        self._unsure = unsure
        self._confirmed_at = float("-inf")
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Register the worker and start beating.

        Raises:
            LedgerError: The ledger cannot be written.
        """
        self.register()
        self._thread.start()

    def stop(self) -> None:
        """Stop beating and take the worker off the ledger."""
        self._end.set()
        if self._thread.ident is not None:
            self._thread.join()
        try:
            self._ledger.workers.retire(self._me.id)
        except LedgerError as error:
            # Its lease will run out instead.
            self._log.warning("worker not signed off", error=error.message)

    def confirmed(self) -> bool:
        """Whether the lease can be relied on: its last confirmation is recent enough."""
        return self._clock.monotonic() - self._confirmed_at < self._lease * CONFIDENT

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
        except LedgerError as error:
            self._log.warning("heartbeat failed", error=error.message)
            if not self.confirmed():
                self._unsure()
            return
        self._confirmed_at = asked_at
        self._held(held)

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

    def _run(self) -> None:
        while not self._end.wait(self._lease / 4 if self.confirmed() else min(1.0, self._lease / 8)):
            self.beat()
