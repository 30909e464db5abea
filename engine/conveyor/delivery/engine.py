"""One process's engine: the parts, running in threads under dramatiq."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from conveyor.clock import Clock, SystemClock
from conveyor.delivery.context import Stop
from conveyor.delivery.loops import Loop
from conveyor.delivery.parts import Parts, WorkerSettings, Workshop
from conveyor.errors import LedgerError
from conveyor.ledger.records import Filter, Status
from conveyor.log import EngineLog

if TYPE_CHECKING:
    from dramatiq.broker import Broker
    from dramatiq.worker import Worker

    from conveyor.config.broker import BrokerUrl
    from conveyor.delivery.ringer import Ringer
    from conveyor.delivery.rung_broker import Doorbell

POLITE = 5.0
"""Seconds that attempts have to notice a shutdown, after the grace; they look at each chunk."""


LISTEN_EVERY = 2.0
"""Seconds between looks at whether a dispatcher rings."""


class Engine:
    """Delivers what is due until it is stopped.

    Args:
        shop: Ledger, destinations, payloads, registry.
        settings: Threads, lease, grace.
        clock: Time.
    """

    def __init__(self, shop: Workshop, settings: WorkerSettings, clock: Clock | None = None) -> None:
        from dramatiq.actor import Actor

        from conveyor.delivery.broker import ACTOR

        self.parts = parts = Parts(shop, settings, clock or SystemClock())
        self.worn_out = parts.worn_out
        self._grace = settings.grace
        self._ringer: Ringer | None = None
        self._listening: Loop | None = None
        queue, self.broker = self._brokers()
        Actor(parts.serve, broker=self.broker, actor_name=ACTOR, queue_name=queue, priority=0, options={})
        self._worker: Worker | None = None
        parts.reinforce = self._reinforce

    def start(self) -> None:
        """Start delivering.

        Raises:
            LedgerError: The ledger cannot be used.
        """
        from dramatiq.worker import Worker

        self.begin()
        threads = self.parts.settings.threads
        self.adopt(Worker(self.broker, worker_threads=threads, worker_timeout=100)).start()

    def begin(self) -> None:
        """Start all but the threads that deliver, which belong to a worker of dramatiq's.

        Raises:
            LedgerError: The ledger cannot be used.
        """
        parts = self.parts
        parts.heartbeat.start()
        for part in (parts.completions, parts.watchdog, parts.keeper, parts.cleaner, parts.observers):
            part.start()
        if parts.settings.only is None:
            parts.lookout.start()
        if parts.settings.only is None:
            parts.logins.start()
        if self._listening is not None:
            self._listening.start()
        if self._ringer is not None:
            self._ringer.start()

    def resize(self, threads: int) -> None:
        """There will be so many threads, whatever the settings say; before :meth:`begin`."""
        self.parts.resize(threads)

    def adopt(self, worker: Worker) -> Worker:
        """Take the worker whose threads deliver."""
        self._worker = worker
        return worker

    def _brokers(self) -> tuple[str, Broker]:
        """The queue to consume from, and the broker that has it."""
        from conveyor.delivery.broker import QUEUE, TableBroker

        parts, settings = self.parts, self.parts.settings
        woken = settings.broker is not None and settings.only is None
        bell = self._doorbell(settings.broker) if settings.broker is not None and woken else None
        table = TableBroker(
            parts.dispatcher,
            parts.inbox,
            give_back=parts.give_back,
            may_claim=lambda: parts.may_claim() and (bell is None or bell.silent),
            log=parts.log,
        )
        if settings.broker is None or bell is None:
            return QUEUE, table
        from conveyor.delivery import doorbells
        from conveyor.delivery.rung_broker import RungBroker

        rung = RungBroker(doorbells.open_doorbell(settings.broker), table, bell, parts.may_claim)
        if settings.rings:
            self._ringer = make_ringer(parts.shop, settings.broker, parts.clock)
        return doorbells.QUEUE, rung

    def _doorbell(self, where: BrokerUrl) -> Doorbell:
        from conveyor.delivery.ringer import LEASE_NAME
        from conveyor.delivery.rung_broker import Doorbell

        parts = self.parts
        bell = Doorbell(where.name, log=parts.log)

        def listen() -> float:
            # The ledger's absence says nothing of the dispatcher; whoever claims notices it.
            with suppress(LedgerError):
                bell.led(parts.shop.ledger.leases.holder(LEASE_NAME, parts.clock.now()) is not None)
            return LISTEN_EVERY

        self._listening = Loop("doorbell", listen, parts.log)
        return bell

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
        calm = self.wind_down()
        if self._worker is not None:
            self._worker.stop(timeout=10_000 if calm else 1_000)
        self.end()
        return calm

    def wind_down(self) -> bool:
        """The first half of :meth:`stop`: afterwards no attempt runs; False when a thread did not end."""
        parts = self.parts
        if self._ringer is not None:
            self._ringer.stop(POLITE)
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
        return not parts.inbox.lost_threads

    def end(self) -> None:
        """The second half of :meth:`stop`: write what is to be written, and leave."""
        parts = self.parts
        if self._listening is not None:
            self._listening.stop(POLITE)
        parts.keeper.stop(POLITE)
        parts.logins.stop(POLITE)
        parts.cleaner.stop(POLITE)
        parts.watchdog.stop(POLITE)
        parts.completions.stop(2 * POLITE)
        parts.lookout.stop(POLITE)
        parts.observers.stop(POLITE)
        parts.heartbeat.stop(POLITE)
        parts.pool.close()
        self.broker.close()

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
        if parts.shop.ledger.bulk.hungry():
            return False
        # Twice, since what is claimed by another process between two looks shows in neither.
        leased = self._leased() or parts.dispatcher.due_within(horizon) or self._leased()
        return not leased and not parts.inbox.running

    def _leased(self) -> bool:
        running = Filter(statuses=frozenset({Status.DELIVERING}))
        return bool(self.parts.shop.ledger.deliveries.counts(running))

    def live(self) -> bool:
        """Whether its background threads turn; a process where they do not should be replaced."""
        return self.parts.heartbeat.turns()

    def ready(self) -> bool:
        """Whether it takes work: registered, in contact with the ledger, not leaving."""
        parts = self.parts
        return (
            parts.heartbeat.confirmed()
            and not parts.draining.is_set()
            and not parts.completions.ledger_away.is_set()
        )

    @property
    def running(self) -> int:
        """Attempts under way."""
        return len(self.parts.watchdog.running())

    def _await_attempts(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self.parts.watchdog.running() and time.monotonic() < end:
            time.sleep(0.02)


def make_ringer(shop: Workshop, where: BrokerUrl, clock: Clock) -> Ringer:
    """A dispatcher for a broker.

    Raises:
        ConveyorError: The broker's client library is not installed.
    """
    from conveyor import log
    from conveyor.delivery.doorbells import open_doorbell
    from conveyor.delivery.ringer import Ringer

    logger = cast(EngineLog, log.get())
    return Ringer(shop.ledger, shop.source, open_doorbell(where), where.name, clock=clock, log=logger)
