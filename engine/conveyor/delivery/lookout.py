"""Notices that destinations are held or served again, for one process of all at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conveyor.clock import SECOND, Clock, micros
from conveyor.delivery.loops import Loop
from conveyor.delivery.observers import ALERT, CHANGED, Observers
from conveyor.errors import LedgerError
from conveyor.holds import Reason, hold_of
from conveyor.hooks import DestinationChanged
from conveyor.status.reasons import cure_of, is_held

if TYPE_CHECKING:
    from conveyor.config import DestinationSource
    from conveyor.ledger.facade import Ledger
    from conveyor.ledger.records import Health
    from conveyor.log import EngineLog

LEASE_NAME = "lookout"
LEASE = 15.0
RENEW = 5.0
LOOK = 1.0
"""Seconds that the lease lasts, between its renewals within a look, and between looks."""


class Lookout:
    """Compares how destinations stand with what was told of them last, which the ledger remembers.

    What was told is written afterwards: a process that dies in between has the next one tell it again.

    Args:
        ledger: The truth.
        source: The destinations.
        observers: Whom to tell.
        me: The worker's id.
        clock: Time.
        log: For the ledger's absence.
    """

    def __init__(
        self,
        ledger: Ledger,
        source: DestinationSource,
        observers: Observers,
        me: str,
        *,
        clock: Clock,
        log: EngineLog,
    ) -> None:
        self._ledger = ledger
        self._source = source
        self._observers = observers
        self._me = me
        self._clock = clock
        self._log = log
        self._loop = Loop(LEASE_NAME, self._round, log)

    def start(self) -> None:
        """Start looking, if a plugin wants to know."""
        if self._observers.wants(CHANGED, ALERT):
            self._loop.start()

    def stop(self, timeout: float) -> None:
        """End, and let another process look."""
        if self._loop.stop(timeout) and self._observers.wants(CHANGED, ALERT):
            try:
                self._ledger.leases.release(LEASE_NAME, self._me)
            except LedgerError as error:
                self._log.warning("the lookout's lease runs out by itself", error=error.message)

    def step(self) -> int:
        """Tell what has changed; returns how many destinations did."""
        if not self._leads():
            return 0
        renew_at = self._clock.monotonic() + RENEW
        told = self._ledger.health.told()
        health = self._ledger.health.get(None)
        changed = 0
        for destination in self._source.list():
            known = health.get(destination.id)
            reason = hold_of(destination, known)
            before = told.get(destination.id)
            if before == (None if reason is None else reason.value):
                continue
            # Where many have changed and plugins are slow: else the next process tells the same beside it.
            if self._clock.monotonic() >= renew_at:
                if not self._leads():
                    break
                renew_at = self._clock.monotonic() + RENEW
            self._tell(destination.id, before, reason, known)
            self._ledger.health.note_told(destination.id, None if reason is None else reason.value)
            changed += 1
        return changed

    def _leads(self) -> bool:
        now = self._clock.now()
        return self._ledger.leases.take(LEASE_NAME, self._me, now + micros(LEASE), now)

    def _tell(self, name: str, before: str | None, reason: Reason | None, health: Health | None) -> None:
        block = None if health is None else health.block
        message = block.message if block is not None and reason == block.reason.value else None
        if health is not None and reason is Reason.PAUSED:
            message = health.pause_note
        now = None if reason is None else reason.value
        at = self._clock.now() / SECOND
        self._observers.tell(CHANGED, event=DestinationChanged(name, before, now, message, at))
        if is_held(reason):
            cure = cure_of(reason, name, self._source.get(name))
            self._observers.alert("destination_held", name, now, message or f"{name} is held: {now}", cure)
        elif before is not None and is_held(Reason(before)):
            self._observers.alert("destination_served", name, now, f"{name} is no longer {before}", None)

    def _round(self) -> float:
        try:
            self.step()
        except LedgerError as error:
            self._log.warning("the lookout waits for the ledger", error=error.message)
        return LOOK
