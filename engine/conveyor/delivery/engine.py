"""One process's engine: the parts, running in threads under dramatiq."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from conveyor.clock import Clock, SystemClock
from conveyor.delivery.context import Stop
from conveyor.delivery.parts import Parts, WorkerSettings, Workshop
from conveyor.ledger.records import Filter, Status

if TYPE_CHECKING:
    from dramatiq.worker import Worker

POLITE = 5.0
"""Seconds that attempts have to notice a shutdown, after the grace; they look at each chunk."""


class Engine:
    """Delivers what is due until it is stopped.

    Args:
        shop: Ledger, destinations, payloads, registry.
        settings: Threads, lease, grace.
        clock: Time.
    """

    def __init__(self, shop: Workshop, settings: WorkerSettings, clock: Clock | None = None) -> None:
        from dramatiq.actor import Actor

        from conveyor.delivery.broker import ACTOR, QUEUE, TableBroker

        self.parts = parts = Parts(shop, settings, clock or SystemClock())
        self.worn_out = parts.worn_out
        self._grace = settings.grace
        self._broker = TableBroker(
            parts.dispatcher,
            parts.inbox,
            give_back=parts.give_back,
            may_claim=parts.may_claim,
            log=parts.log,
        )
        Actor(parts.work, broker=self._broker, actor_name=ACTOR, queue_name=QUEUE, priority=0, options={})
        self._worker: Worker | None = None
        parts.reinforce = self._reinforce

    def start(self) -> None:
        """Start delivering.

        Raises:
            LedgerError: The ledger cannot be used.
        """
        from dramatiq.worker import Worker

        parts = self.parts
        parts.heartbeat.start()
        for part in (parts.completions, parts.watchdog, parts.keeper, parts.cleaner):
            part.start()
        if parts.settings.only is None:
            parts.logins.start()
        self._worker = Worker(self._broker, worker_threads=parts.settings.threads, worker_timeout=100)
        self._worker.start()

    def _reinforce(self, threads: int) -> None:
        """Add worker threads until there are so many; they stay, idle threads cost next to nothing."""
        worker = self._worker
        if worker is None or self.parts.draining.is_set():
            return
        for _ in range(threads - len(worker.workers)):
            worker._add_worker()
            self.parts.dispatcher.wake()

    def drain(self) -> None:
        """Claim nothing new from now on."""
        self.parts.draining.set()
        self.parts.dispatcher.wake()
        self.parts.heartbeat.drain()

    def stop(self) -> bool:
        """Drain, give what runs ``grace`` seconds, give the rest back; False when a thread did not end."""
        parts = self.parts
        self.drain()
        parts.give_back(parts.inbox.untaken())
        self._await_attempts(self._grace)
        parts.watchdog.stop_all(Stop.SHUTDOWN)
        self._await_attempts(min(POLITE, self._grace))
        for attempt in parts.watchdog.running():
            # It hangs in a call of its SDK. Its thread ends with the process; its claim is free at once.
            if parts.watchdog.leave(attempt):
                parts.inbox.lose_thread()
                report = attempt.written_off()
                if report is not None:
                    parts.completions.put(report)
        hanging = parts.inbox.lost_threads
        if self._worker is not None:
            self._worker.stop(timeout=1_000 if hanging else 10_000)
        parts.keeper.stop(POLITE)
        parts.logins.stop(POLITE)
        parts.cleaner.stop(POLITE)
        parts.watchdog.stop(POLITE)
        parts.completions.stop(2 * POLITE)
        parts.heartbeat.stop(POLITE)
        parts.pool.close()
        self._broker.close()
        return not hanging

    def ring(self) -> None:
        """Something was submitted or changed in this process: look at once."""
        self.parts.dispatcher.ring()

    def idle(self, horizon: float = 0.0) -> bool:
        """Nothing runs, here or elsewhere, and nothing that may be served is due within ``horizon`` seconds.

        A delivery of a process that died counts as running until it is reaped.
        """
        parts = self.parts
        if parts.inbox.running or parts.watchdog.running() or not parts.completions.idle():
            return False
        leased = parts.shop.ledger.deliveries.counts(Filter(statuses=frozenset({Status.DELIVERING})))
        return not leased and not parts.dispatcher.due_within(horizon) and not parts.inbox.running

    @property
    def running(self) -> int:
        """Attempts under way."""
        return len(self.parts.watchdog.running())

    def _await_attempts(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self.parts.watchdog.running() and time.monotonic() < end:
            time.sleep(0.02)
