"""One simulated process: the engine's real parts, each of its threads a fiber."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from dramatiq.errors import ConnectionClosed

from conveyor.delivery.broker import QUEUE as TABLE
from conveyor.delivery.broker import TableBroker
from conveyor.delivery.parts import Parts, WorkerSettings, Workshop
from conveyor.delivery.ringer import LEASE_NAME, Ringer
from conveyor.delivery.rung_broker import Doorbell, RungBroker
from conveyor.errors import LedgerError
from conveyor.ledger.facade import Ledger
from simulation.database import SteppedDatabase
from simulation.fibers import Condition, Event, Lock
from simulation.wakeups import LEAST, QUEUE

if TYPE_CHECKING:
    from dramatiq.broker import Broker

    from simulation.world import World

THREADS = 2
LEASE = 20.0
GRACE = 5.0

RECONNECT = 3.0
"""Seconds after which dramatiq connects again."""


class Machine:
    """A process with its own way to the ledger.

    Args:
        world: Where it lives.
        number: Which one since the beginning of the walk.
    """

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.hub = world.hub
        self.dead = False
        self.frozen = False
        self.known_dead = False
        self.worker_id = f"wrk_{number:04d}"
        self.database = SteppedDatabase(world.shared, self, remote=world.bag is not None)
        self.ledger = Ledger(self.database, clock=world.clock, keyring=world.keyring)
        shop = Workshop(self.ledger, world.source, world.payloads, world.registry, world.keyring)
        self.parts = Parts(shop, WorkerSettings(threads=THREADS, lease=LEASE, grace=GRACE), world.clock)
        self._ring: Ringer | None = None
        self._handed: deque[str] = deque()
        self._adapt()
        self._start()

    def _adapt(self) -> None:
        """Give it a known name, and locks that let other fibers run."""
        parts, hub = self.parts, self.hub
        parts.me = replace(parts.me, id=self.worker_id)
        parts.heartbeat._me = parts.me
        parts.dispatcher._worker_id = self.worker_id
        parts.dispatcher._lock = Lock(hub)  # type: ignore[assignment]
        parts.dispatcher._bell = Event(hub, LEAST)  # type: ignore[assignment]
        parts.completions._wake = Condition(hub)  # type: ignore[assignment]
        parts.keeper._dead = lambda worker: self.world.is_dead(worker.id)
        for grouped in (self.ledger.states._save, self.ledger.states._held):
            grouped._turn = Lock(hub)  # type: ignore[assignment]

    def _start(self) -> None:
        parts = self.parts
        self._spawn("completions", parts.completions._run)
        for name, part in (
            ("keeper", parts.keeper),
            ("cleaner", parts.cleaner),
            ("watchdog", parts.watchdog),
        ):
            self._loop(name, part._round)
        self._spawn("heartbeat", self._live)
        for number in range(THREADS):
            self._spawn(f"thread {number}", self._work)
        if self.world.bag is not None:
            self._ring = Ringer(
                self.ledger,
                self.world.source,
                self.world.bag,
                "simulated",
                clock=self.world.clock,
                log=parts.log,
                size=lambda bag: len(bag.messages),
            )
            self._ring._me = f"h|b|n|1|{self.worker_id}|"
            self._ring._chooser._lock = Lock(self.hub)  # type: ignore[assignment]
            self._ring._chooser._bell = Event(self.hub, LEAST)  # type: ignore[assignment]
            self._loop("ringer", self._ring._round)

    def _live(self) -> None:
        """Register, as often as the ledger makes it necessary; then consume, and beat."""
        while True:
            try:
                self.parts.heartbeat.register()
                break
            except LedgerError:
                self.hub.sleep(1.0)
        for broker, queue in self._queues():
            self._spawn(queue, partial(self._consume, broker, queue))
        self._rounds(self.parts.heartbeat._round)

    def _queues(self) -> Iterable[tuple[Broker, str]]:
        parts, bag = self.parts, self.world.bag
        if bag is None:
            yield self._table(lambda: True), TABLE
            return
        bell = Doorbell("simulated", log=parts.log, monotonic=self.world.clock.monotonic)

        def listen() -> float:
            with suppress(LedgerError):
                bell.led(self.ledger.leases.holder(LEASE_NAME, self.world.clock.now()) is not None)
            return 2.0

        self._loop("doorbell", listen)
        table = self._table(lambda: bell.silent)
        rung = RungBroker(bag, table, bell, parts.may_claim)
        yield rung, QUEUE
        yield rung, TABLE

    def _table(self, also: Callable[[], bool]) -> TableBroker:
        parts = self.parts
        return TableBroker(
            parts.dispatcher,
            parts.inbox,
            give_back=parts.give_back,
            may_claim=lambda: parts.may_claim() and also(),
            log=parts.log,
        )

    def _consume(self, broker: Broker, queue: str) -> None:
        """As dramatiq's consumer threads do: begin anew when the connection has broken."""
        while True:
            consumer = broker.consume(queue)
            try:
                while True:
                    message = next(consumer)
                    if message is None:
                        self.hub.pause()
                    else:
                        self._handed.append(message.args[0])
            except ConnectionClosed:
                consumer.close()
                self.hub.sleep(RECONNECT)

    def _work(self) -> None:
        while True:
            self.hub.block(lambda: bool(self._handed))
            if self._handed:
                self.parts.serve(self._handed.popleft())
            self.hub.pause()

    # --- fibers -----------------------------------------------------------------------------------

    def _spawn(self, name: str, body: Callable[[], None]) -> None:
        self.hub.spawn(self, name, body)

    def _loop(self, name: str, step: Callable[[], float]) -> None:
        self._spawn(name, lambda: self._rounds(step))

    def _rounds(self, step: Callable[[], float]) -> None:
        """As :class:`conveyor.delivery.loops.Loop` does, in simulated time."""
        while True:
            try:
                wait = step()
            except Exception as error:
                self.world.defect(error)
                wait = 1.0
            self.hub.sleep(max(wait, LEAST))

    def __repr__(self) -> str:
        return self.worker_id

    # --- what happens to it -----------------------------------------------------------------------

    def kill(self, *, seen: bool) -> None:
        """SIGKILL: whatever it was about to do it does not do. ``seen``: others of this host know it."""
        self.dead, self.known_dead = True, seen
        self.hub.bury(self)
