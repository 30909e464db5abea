"""The parts of one process's engine, put together; they run without threads too, step by step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, cast

from conveyor import log
from conveyor.clock import Clock
from conveyor.contract import Log
from conveyor.delivery.attempt import Attempt, Bench
from conveyor.delivery.cleaner import Cleaner
from conveyor.delivery.completions import Completions
from conveyor.delivery.dispatcher import Dispatcher
from conveyor.delivery.environment import Opener
from conveyor.delivery.feeder import Feeder
from conveyor.delivery.heartbeat import Heartbeat
from conveyor.delivery.identity import this_worker
from conveyor.delivery.inbox import Inbox
from conveyor.delivery.keeper import Keeper, Retention
from conveyor.delivery.known import KnownDestinations
from conveyor.delivery.lookout import Lookout
from conveyor.delivery.loops import Loop
from conveyor.delivery.observers import Observers
from conveyor.delivery.placing import Placer
from conveyor.delivery.pool import ConnectorPool
from conveyor.delivery.returns import defect, given_back
from conveyor.delivery.strays import Strays
from conveyor.delivery.transforming import Transformer
from conveyor.delivery.watchdog import Watchdog
from conveyor.ledger.records import AttemptOutcome, AttemptReport, Claimed
from conveyor.log import EngineLog
from conveyor.oauth.connections import Connections, linked
from conveyor.oauth.upkeep import Upkeep

if TYPE_CHECKING:
    from conveyor.config import Destination, DestinationSource
    from conveyor.config.broker import BrokerUrl
    from conveyor.keyring import Keyring
    from conveyor.ledger.facade import Ledger
    from conveyor.payloads import PayloadStore
    from conveyor.registry import Registry


@dataclass(frozen=True, slots=True)
class Workshop:
    """What an engine works with; an installation opens it from the config."""

    ledger: Ledger
    source: DestinationSource
    payloads: PayloadStore
    registry: Registry
    keyring: Keyring
    time_zone: tzinfo = UTC
    retention: Retention = field(default_factory=Retention)


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Sizes and times of one process. ``lease`` and ``grace`` in seconds.

    Attributes:
        only: Serve these destinations alone; such a process looks into the ledger itself.
        broker: What wakes it up; None for the ledger itself.
        rings: Whether it rings the broker too, when it is its turn.
    """

    threads: int = 16
    lease: float = 60.0
    grace: float = 30.0
    only: Callable[[Destination], bool] | None = None
    broker: BrokerUrl | None = None
    rings: bool = True


class Parts:
    """Everything that one process needs to deliver.

    Args:
        shop: Ledger, destinations, payloads, registry.
        settings: Threads, lease, grace.
        clock: Time.
    """

    WRITTEN_OFF_SHARE = 4
    """A process is to be replaced once one thread in this many was written off."""

    SPARE_SHARE = 4
    """Threads that may be added for each one, while attempts wait for destinations that do not move."""

    FIRST_PAUSE, LAST_PAUSE = 2.0, 60.0
    """Seconds without new claims after an attempt had to be given back: this process is unwell. Doubling."""

    def __init__(self, shop: Workshop, settings: WorkerSettings, clock: Clock) -> None:
        self.shop = shop
        self.settings = settings
        self.clock = clock
        self.me = this_worker(clock, settings.threads, visiting=settings.only is not None)
        self.log = cast(EngineLog, log.get(worker=self.me.id))
        self.draining = threading.Event()
        self.worn_out = threading.Event()
        """Set when so many threads were written off that the process should be replaced."""
        self._known = KnownDestinations()
        self._plain_log = log.get()
        self.reinforce: Callable[[int], None] = lambda threads: None
        """Sees to it that there are so many threads; set by whoever runs the parts in threads."""
        self._pause = self.FIRST_PAUSE
        self._pause_until = float("-inf")
        self.transformer = Transformer(
            shop.registry.announced.transforms,
            shop.registry.plugins,
            shop.payloads,
            shop.ledger.transformed,
        )
        self._placer = Placer(shop.time_zone, self.transformer.renamed)
        self._working()
        self._keeping()
        self._bench = Bench(
            self.pool,
            shop.payloads,
            shop.ledger.states,
            shop.ledger.cleanups,
            shop.keyring,
            self.heartbeat,
            clock,
            self._linked,
            self.connections.secrets,
            self.observers.decision,
            self.transformer,
        )

    def _working(self) -> None:
        shop, clock, settings = self.shop, self.clock, self.settings
        self.heartbeat = Heartbeat(
            shop.ledger,
            self.me,
            lease=settings.lease,
            clock=clock,
            log=self.log,
            held=self._held,
        )
        self._strays = Strays(self._in_hand)
        self.inbox = Inbox(settings.threads, self.SPARE_SHARE * settings.threads)
        self.dispatcher = Dispatcher(
            shop.ledger,
            self.me.id,
            shop.source,
            place=self._placer.attempt,
            clock=clock,
            log=self.log,
            only=settings.only,
        )
        self.observers = Observers(shop.registry.plugins, shop.ledger, clock=clock, log=self.log)
        self.completions = Completions(
            shop.ledger, clock=clock, log=self.log, written=self._written, crowded=self.inbox.crowded
        )
        self.watchdog = Watchdog(
            grace=settings.grace,
            lease=self.heartbeat,
            clock=clock,
            log=self.log,
            write_off=self._write_off,
            stalled=self._stalled,
        )
        self.connections = Connections(shop.ledger, shop.registry, clock, self.log)
        opener = Opener(shop.ledger, shop.registry, clock, self.connections)
        self.pool = ConnectorPool(opener, clock=clock, log=self.log)

    def _keeping(self) -> None:
        shop, clock, settings = self.shop, self.clock, self.settings
        self.lookout = Lookout(
            shop.ledger, shop.source, self.observers, self.me.id, clock=clock, log=self.log
        )
        self.feeder = Feeder(
            shop.ledger, shop.source, clock=clock, log=self.log, changed=self.dispatcher.ring
        )
        self.keeper = Keeper(
            shop.ledger,
            shop.payloads,
            lease=settings.lease,
            retention=shop.retention,
            clock=clock,
            log=self.log,
            changed=self.dispatcher.ring,
            close_idle=self.pool.close_idle,
            final=self.observers.final,
            feed=self.feeder.step,
        )
        self.upkeep = Upkeep(
            shop.ledger,
            shop.source,
            self.connections,
            clock=clock,
            log=self.log,
            changed=self.dispatcher.ring,
        )
        self.logins = Loop("logins", self.upkeep.round, self.log)
        self.cleaner = Cleaner(
            shop.ledger,
            shop.source,
            self.pool,
            shop.keyring,
            clock=clock,
            log=lambda **bound: cast(EngineLog, log.get(worker=self.me.id, **bound)),
        )

    def _linked(self, destination: Destination) -> tuple[tuple[str, str], ...]:
        """The other destinations of the same account, with their revisions."""
        connection = destination.connection
        if connection is None:
            return ()
        others = linked(self.shop.source.list(), connection)
        return tuple((each.id, each.revision) for each in others if each.id != destination.id)

    def resize(self, threads: int) -> None:
        """Work with so many threads; before the process is registered."""
        self.settings = replace(self.settings, threads=threads)
        self.inbox.resize(threads, self.SPARE_SHARE * threads)
        self.heartbeat.resize(threads)

    def may_claim(self) -> bool:
        """Whether this process is fit for new work."""
        return (
            not self.draining.is_set()
            and not self.completions.ledger_away.is_set()
            and self.heartbeat.confirmed()
            and self.clock.monotonic() >= self._pause_until
        )

    def work(self, delivery_id: str) -> None:
        """Work on one claim that waits, where no threads do; nothing when it does not wait any more."""
        claim = self.inbox.take(delivery_id)
        if claim is not None:
            self._work_on(claim)

    def serve(self, _delivery_id: str) -> None:
        """Work on all that waits, in a thread of dramatiq's; the message only wakes it.

        To hand each claim to another thread through a queue costs as much as a short attempt.
        """
        self.inbox.enter()
        while (claim := self.inbox.next()) is not None:
            self._work_on(claim)

    def _work_on(self, claim: Claimed) -> None:
        began = self.clock.monotonic()
        if self._carry_out(claim):
            if self.inbox.done(self.clock.monotonic() - began):
                self.dispatcher.wake()
        else:
            self.inbox.regain_thread()

    def _carry_out(self, claim: Claimed) -> bool:
        """Attempt and report; False when the attempt had been written off meanwhile."""
        attempt: Attempt | None = None
        report: AttemptReport | None
        try:
            attempt = None if self.draining.is_set() else self._attempt(claim)
            if attempt is None:
                self.give_back([claim])
                return True
            self.watchdog.enter(attempt)
            report = attempt.run()
        except Exception as error:
            # Whatever happens, a claim never stays behind unreported.
            self.log.exception("defect", delivery=claim.delivery_id)
            report = defect(claim, error, self.clock.now())
        if attempt is not None and not self.watchdog.leave(attempt):
            return False
        if report is not None:
            self.completions.put(report)
            self._note(report)
        return True

    def give_back(self, claims: Iterable[Claimed]) -> None:
        """Return claims that no attempt was begun for."""
        now = self.clock.now()
        for claim in claims:
            self.dispatcher.probe_of(claim)
            self.completions.put(given_back(claim, "not begun", now))

    def _held(self, held: frozenset[tuple[str, int]]) -> None:
        """What the ledger says is ours: stop attempts at the rest, give back what nobody here knows of."""
        self.watchdog.keep_only(held, self.shop.ledger.states.owns)
        strays = self._strays.among(held)
        if strays:
            self.log.warning("claims that nobody here knows of: given back", count=len(strays))
            self.shop.ledger.claims.give_back(strays, self.clock.now(), look_first=True)

    def _in_hand(self) -> frozenset[tuple[str, int]]:
        claims = [*self.inbox.waiting(), *(attempt.claim for attempt in self.watchdog.running())]
        reported = [(report.delivery_id, report.fence) for report in self.completions.waiting()]
        return frozenset([*reported, *((claim.delivery_id, claim.fence) for claim in claims)])

    def _note(self, report: AttemptReport) -> None:
        """Claim nothing for a while after an attempt that this process was too unwell for."""
        if report.outcome is not AttemptOutcome.GIVEN_BACK:
            self._pause = self.FIRST_PAUSE
        elif not self.draining.is_set():
            now = self.clock.monotonic()
            if now >= self._pause_until:
                self._pause_until = now + self._pause
                self._pause = min(2 * self._pause, self.LAST_PAUSE)

    def _attempt(self, claim: Claimed) -> Attempt | None:
        """None when its destination has just been removed or spoilt."""
        destination = self.shop.source.get(claim.destination)
        if destination is None or destination.problem is not None:
            return None
        bound = self._plain_log.bind(
            delivery=claim.delivery_id, destination=claim.destination, attempt=claim.attempt
        )
        return Attempt(
            claim,
            destination,
            known=self._known(destination),
            placer=self._placer,
            bench=self._bench,
            log=cast(Log, bound),
            block=self.dispatcher.probe_of(claim),
        )

    def _stalled(self, attempts: int, destinations: frozenset[str]) -> None:
        self.dispatcher.stalled(destinations)
        self.reinforce(self.inbox.stalled(attempts))

    def _write_off(self, attempt: Attempt, report: AttemptReport | None) -> None:
        if report is not None:
            self.completions.put(report)
        if self.inbox.lose_thread() * self.WRITTEN_OFF_SHARE >= self.settings.threads:
            self.log.warning("a quarter of the threads was written off: this process is to be replaced")
            self.worn_out.set()

    def _written(self, reports: Sequence[AttemptReport]) -> None:
        self.dispatcher.settled(reports)
        self.observers.ended(reports)
        for report in reports:
            self._say(report)

    def _say(self, report: AttemptReport) -> None:
        bound = self.log
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
