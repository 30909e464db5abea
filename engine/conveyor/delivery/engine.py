"""One process's engine: puts the parts together, starts and stops them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from conveyor import log
from conveyor.clock import Clock, SystemClock
from conveyor.contract import Log
from conveyor.delivery.attempt import Attempt, Bench, endpoint_of
from conveyor.delivery.cleaner import Cleaner
from conveyor.delivery.completions import Completions
from conveyor.delivery.context import Stop
from conveyor.delivery.dispatcher import Dispatcher
from conveyor.delivery.environment import Opener
from conveyor.delivery.heartbeat import Heartbeat
from conveyor.delivery.identity import this_worker
from conveyor.delivery.inbox import Inbox
from conveyor.delivery.keeper import Keeper, Retention
from conveyor.delivery.placing import Placer
from conveyor.delivery.pool import ConnectorPool
from conveyor.delivery.watchdog import Watchdog
from conveyor.errors import LedgerError
from conveyor.ledger.records import AttemptOutcome, AttemptReport, Claimed

if TYPE_CHECKING:
    from dramatiq.worker import Worker

    from conveyor.config import Destination, DestinationSource
    from conveyor.keyring import Keyring
    from conveyor.ledger import Ledger
    from conveyor.payloads import PayloadStore
    from conveyor.registry import Registry


@dataclass(frozen=True, slots=True)
class Workshop:
    """What an engine works with; made from the config by :func:`conveyor.api.open_workshop`."""

    ledger: Ledger
    source: DestinationSource
    payloads: PayloadStore
    registry: Registry
    keyring: Keyring
    time_zone: str = "UTC"
    retention: Retention = field(default_factory=Retention)


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Sizes and times of one process. ``lease`` and ``grace`` in seconds."""

    threads: int = 16
    lease: float = 60.0
    grace: float = 30.0
    only: Callable[[Destination], bool] | None = None


class Engine:
    """Delivers what is due until it is stopped.

    Args:
        shop: Ledger, destinations, payloads, registry.
        settings: Threads, lease, grace.
        clock: Time.
    """

    WRITTEN_OFF_SHARE = 4
    """A process is to be replaced once one thread in this many was written off."""

    PAUSE = 2.0
    """Seconds without new claims after an attempt had to be given back: this process is unwell."""

    def __init__(self, shop: Workshop, settings: WorkerSettings, clock: Clock | None = None) -> None:
        self.shop = shop
        self.settings = settings
        self._clock = clock or SystemClock()
        self._log = cast(Log, log.get())
        self._draining = threading.Event()
        self.worn_out = threading.Event()
        """Set when so many threads were written off that the process should be replaced."""
        self._worker: Worker | None = None
        self._build()

    # --- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start delivering.

        Raises:
            LedgerError: The ledger cannot be used.
        """
        from dramatiq.worker import Worker

        self._heartbeat.start()
        self._completions.start()
        self._watchdog.start()
        self._keeper.start()
        self._cleaner.start()
        self._worker = Worker(self._broker, worker_threads=self.settings.threads, worker_timeout=100)
        self._worker.start()

    def drain(self) -> None:
        """Claim nothing new from now on."""
        self._draining.set()
        self._dispatcher.wake()

    def stop(self) -> bool:
        """Drain, give what runs ``grace`` seconds, give the rest back; False when a thread did not end."""
        self.drain()
        self._give_back(self._inbox.untaken())
        grace_ends = time.monotonic() + self.settings.grace
        while self._watchdog.running() and time.monotonic() < grace_ends:
            time.sleep(0.02)
        self._watchdog.stop_all(Stop.SHUTDOWN)
        # Connectors look at each chunk; what hangs in a socket beyond this is left to the lease.
        polite_ends = time.monotonic() + min(5.0, self.settings.grace)
        while self._watchdog.running() and time.monotonic() < polite_ends:
            time.sleep(0.02)
        left = self._watchdog.running()
        for attempt in left:
            if self._watchdog.leave(attempt):
                self._completions.put(attempt.given_back(Stop.SHUTDOWN))
        if self._worker is not None:
            self._worker.stop(timeout=1_000 if left else 60_000)
        self._keeper.stop()
        self._cleaner.stop(timeout=5.0)
        self._watchdog.stop()
        self._completions.stop(timeout=10.0)
        self._heartbeat.stop()
        self._pool.close()
        self._broker.close()
        return not left

    def ring(self) -> None:
        """Something was submitted or changed in this process: look at once."""
        self._dispatcher.ring()

    def idle(self, horizon: float = 0.0) -> bool:
        """Nothing runs, and nothing that may be served is due within ``horizon`` seconds."""
        return (
            not self._inbox.running
            and not self._watchdog.running()
            and self._completions.idle()
            and not self._dispatcher.due_within(horizon)
            and not self._inbox.running
        )

    @property
    def running(self) -> int:
        """Attempts under way."""
        return len(self._watchdog.running())

    @property
    def worker_id(self) -> str:
        """This process in the ledger."""
        return self._me.id

    # --- building --------------------------------------------------------------------------------

    def _build(self) -> None:
        from dramatiq.actor import Actor

        from conveyor.delivery.broker import ACTOR, QUEUE, TableBroker

        shop, clock = self.shop, self._clock
        self._me = this_worker(clock, self.settings.threads)
        self._log = cast(Log, log.get(worker=self._me.id))
        self._placer = Placer(shop.time_zone)
        self._endpoints: dict[str, tuple[str, str]] = {}
        self._pause_until = float("-inf")
        self._inbox = Inbox(self.settings.threads)
        self._dispatcher = Dispatcher(
            shop.ledger,
            self._me.id,
            shop.source,
            place=self._placer.attempt,
            clock=clock,
            log=self._log,
            only=self.settings.only,
        )
        self._completions = Completions(shop.ledger, clock=clock, log=self._log, written=self._written)
        self._watchdog = Watchdog(
            grace=self.settings.grace, clock=clock, log=self._log, write_off=self._write_off
        )
        self._heartbeat = Heartbeat(
            shop.ledger,
            self._me,
            lease=self.settings.lease,
            clock=clock,
            log=self._log,
            held=lambda held: self._watchdog.keep_only(held, shop.ledger.states.owns),
            unsure=lambda: self._watchdog.stop_all(Stop.LEASE),
        )
        self._pool = ConnectorPool(Opener(shop.ledger, shop.registry, clock), clock=clock)
        self._bench = Bench(
            self._pool,
            shop.payloads,
            shop.ledger.states,
            shop.ledger.cleanups,
            shop.keyring,
            self._heartbeat,
            clock,
        )
        self._keeper = Keeper(
            shop.ledger,
            shop.payloads,
            lease=self.settings.lease,
            retention=shop.retention,
            clock=clock,
            log=self._log,
            changed=self._dispatcher.ring,
            close_idle=self._pool.close_idle,
        )
        self._cleaner = Cleaner(
            shop.ledger,
            shop.source,
            self._pool,
            shop.keyring,
            clock=clock,
            log=lambda **bound: cast(Log, log.get(worker=self._me.id, **bound)),
        )
        self._broker = TableBroker(
            self._dispatcher,
            self._inbox,
            give_back=self._give_back,
            may_claim=self._may_claim,
            log=self._log,
        )
        Actor(self.deliver, broker=self._broker, actor_name=ACTOR, queue_name=QUEUE, priority=0, options={})

    def _may_claim(self) -> bool:
        return (
            not self._draining.is_set()
            and not self._completions.ledger_away.is_set()
            and self._heartbeat.confirmed()
            and time.monotonic() >= self._pause_until
        )

    # --- working ---------------------------------------------------------------------------------

    def deliver(self, delivery_id: str) -> None:
        """The dramatiq actor: work on the claim behind a wake-up; a stale wake-up is nothing."""
        claim = self._inbox.take(delivery_id)
        if claim is None:
            return
        began = time.monotonic()
        attempt = self._attempt(claim)
        if attempt is None:
            self._give_back([claim])
            self._inbox.done(time.monotonic() - began)
            return
        self._watchdog.enter(attempt)
        report = attempt.run()
        if self._watchdog.leave(attempt):
            if report is not None:
                self._completions.put(report)
                if report.outcome is AttemptOutcome.GIVEN_BACK:
                    self._pause_until = time.monotonic() + self.PAUSE
            self._inbox.done(time.monotonic() - began)
            self._dispatcher.wake()
        else:
            self._inbox.regain_thread()

    def _attempt(self, claim: Claimed) -> Attempt | None:
        destination = self.shop.source.get(claim.destination)
        if destination is None or destination.problem is not None:
            return None
        bound = cast(
            Log, log.get(delivery=claim.delivery_id, destination=claim.destination, attempt=claim.attempt)
        )
        return Attempt(
            claim,
            destination,
            endpoint=self._endpoint(destination),
            place=lambda job, delivery_id, cycle: self._placer(destination, job, delivery_id, cycle),
            bench=self._bench,
            log=bound,
            block=self._dispatcher.probe_of(claim),
        )

    def _endpoint(self, destination: Destination) -> str:
        known = self._endpoints.get(destination.id)
        if known is None or known[0] != destination.revision:
            known = self._endpoints[destination.id] = (destination.revision, endpoint_of(destination))
        return known[1]

    def _give_back(self, claims: Iterable[Claimed]) -> None:
        items = [(claim.delivery_id, claim.fence) for claim in claims]
        if not items:
            return
        try:
            self.shop.ledger.claims.give_back(items, self._clock.now())
        except LedgerError as error:
            # Nothing was begun; the lease frees them.
            self._log.warning("claims not given back", count=len(items), error=error.message)

    def _write_off(self, attempt: Attempt, report: AttemptReport) -> None:
        self._completions.put(report)
        if self._inbox.lose_thread() * self.WRITTEN_OFF_SHARE >= self.settings.threads:
            self._log.warning("a quarter of the threads was written off: this process is to be replaced")
            self.worn_out.set()

    def _written(self, reports: Sequence[AttemptReport]) -> None:
        self._dispatcher.ring()
        for report in reports:
            self._say(report)

    def _say(self, report: AttemptReport) -> None:
        bound = self._log
        if report.kind is None:
            bound.debug(
                str(report.outcome),
                delivery=report.delivery_id,
                destination=report.destination,
                attempt=report.attempt,
                bytes=report.bytes_sent,
            )
            return
        bound.warning(
            f"attempt {report.outcome}",
            delivery=report.delivery_id,
            destination=report.destination,
            attempt=report.attempt,
            kind=str(report.kind),
            error=report.message,
            follows=report.follows,
        )
