"""A real engine with real threads: shutdown, attempts that hang, a ledger that goes away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conveyor.clock import SystemClock
from conveyor.contract import AttemptContext, DeliveryError, ErrorKind, Parcel, Receipt, Target
from conveyor.delivery.engine import Engine
from conveyor.delivery.parts import WorkerSettings, Workshop
from conveyor.errors import LedgerUnavailable
from conveyor.ledger.records import AttemptOutcome, Claimed, Filter, Status
from conveyor.testing.clock import FakeClock
from conveyor.testing.scripted import Script, script
from conveyor.testing.simulation import Simulation, destination

PATIENCE = 20.0


def until(condition: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"
        time.sleep(0.005)


class Gate:
    """An act that holds its attempt until it is opened or, if it listens, told to stop."""

    def __init__(self, *, listens: bool) -> None:
        self.listens = listens
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        self.entered.release()
        end = time.monotonic() + PATIENCE
        while not self.open.wait(0.005) and time.monotonic() < end:
            if self.listens:
                context.check()
        context.before_commit()
        return Receipt(target.path, size=parcel.size)

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self.entered.acquire(timeout=PATIENCE)


class Running:
    """An engine over a simulation's ledger, on the system's clock."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        sim.clock.set_wall(time.time())
        sim.ledger.workers.retire(sim.parts.me.id)
        self.engines: list[Engine] = []

    def engine(self, *, threads: int = 2, grace: float = PATIENCE, lease: float = 60.0) -> Engine:
        sim = self.sim
        shop = Workshop(sim.ledger, sim.source, sim.payloads, sim.registry, sim.keyring)
        engine = Engine(shop, WorkerSettings(threads=threads, lease=lease, grace=grace), SystemClock())
        self.engines.append(engine)
        engine.start()
        return engine

    def statuses(self) -> set[Status]:
        return {d.status for d in self.sim.ledger.deliveries.find(Filter(), limit=1000)}

    def outcomes(self) -> list[AttemptOutcome]:
        found = self.sim.ledger.deliveries.find(Filter(), limit=1000)
        return [attempt.outcome for d in found for attempt in self.sim.attempts(d.id)]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    limits = type(destination().limits)(concurrency=100)
    sim = Simulation(tmp_path, destination(limits=limits))
    running = Running(sim)
    yield running
    for engine in running.engines:
        if engine.parts.heartbeat._loop._thread.is_alive():
            engine.stop()
    sim.close()


@pytest.fixture
def acts() -> Script:
    return script("here")


def test_an_idle_engine_stops_at_once_and_leaves_no_worker_behind(running: Running) -> None:
    engine = running.engine(grace=PATIENCE)
    until(lambda: running.sim.ledger.workers.all(), "registered")
    begun = time.monotonic()
    assert engine.stop()
    assert time.monotonic() - begun < 3
    assert running.sim.ledger.workers.all() == []
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"heartbeat", "keeper", "cleaner", "watchdog", "completions"}


def test_running_attempts_finish_within_the_grace(running: Running, acts: Script) -> None:
    gate = Gate(listens=True)
    acts.then(gate, gate)
    for _ in range(2):
        running.sim.submit()
    engine = running.engine()
    gate.wait_for(2)
    ended: list[bool] = []
    stopper = threading.Thread(target=lambda: ended.append(engine.stop()))
    stopper.start()
    until(lambda: engine.parts.draining.is_set(), "draining")
    gate.open.set()
    stopper.join(PATIENCE)
    assert ended == [True]
    assert running.statuses() == {Status.DELIVERED}


def test_what_the_grace_does_not_suffice_for_is_given_back_uncharged(running: Running, acts: Script) -> None:
    gate = Gate(listens=True)
    acts.then(gate)
    ident = running.sim.submit()["here"]
    engine = running.engine(grace=0.2)
    gate.wait_for(1)
    assert engine.stop()
    delivery = running.sim.delivery(ident)
    assert (delivery.status, delivery.failures, delivery.lost_in_a_row) == (Status.PENDING, 0, 0)
    assert running.outcomes() == [AttemptOutcome.GIVEN_BACK]


def test_a_hanging_attempt_is_given_back_and_publishes_nothing_later(running: Running, acts: Script) -> None:
    gate = Gate(listens=False)
    published: list[str] = []
    hanging: list[threading.Thread] = []

    def hangs(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        hanging.append(threading.current_thread())
        receipt = gate(parcel, target, context)
        published.append(target.path)
        return receipt

    acts.then(hangs)
    ident = running.sim.submit()["here"]
    engine = running.engine(grace=0.2)
    gate.wait_for(1)
    begun = time.monotonic()
    assert not engine.stop()
    assert time.monotonic() - begun < 8
    delivery = running.sim.delivery(ident)
    assert (delivery.status, delivery.failures) == (Status.PENDING, 0)
    assert running.outcomes() == [AttemptOutcome.GIVEN_BACK]
    assert running.sim.ledger.workers.all() == []
    gate.open.set()
    (thread,) = hanging
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert published == []
    assert running.outcomes() == [AttemptOutcome.GIVEN_BACK]
    # The next process asks first whether it arrived after all.
    acts.calls.clear()
    running.engine()
    until(lambda: running.statuses() == {Status.DELIVERED}, "delivered")
    assert [call[0] for call in acts.calls] == ["find", "deliver"]


def test_what_was_taken_ahead_is_given_back_and_nothing_stays_leased(running: Running, acts: Script) -> None:
    engine = running.engine(threads=2, grace=0.2)
    for _ in range(90):
        running.sim.submit()
    engine.ring()
    until(lambda: running.statuses() == {Status.DELIVERED}, "short attempts, so that claims run ahead")
    gate = Gate(listens=True)
    acts.then(*[gate] * 200)
    for _ in range(40):
        running.sim.submit()
    engine.ring()
    gate.wait_for(2)
    until(lambda: engine.parts.inbox.running > 2, "claims ahead")
    assert engine.stop()
    assert running.statuses() == {Status.DELIVERED, Status.PENDING}
    assert AttemptOutcome.RUNNING not in running.outcomes()
    failures = [d.failures for d in running.sim.ledger.deliveries.find(Filter(), limit=1000)]
    assert sum(failures) == 0
    assert engine.parts.inbox.running == 0


def test_nothing_is_begun_once_the_engine_drains(running: Running, acts: Script) -> None:
    engine = running.engine()
    engine.drain()
    running.sim.submit()
    engine.ring()
    assert [worker.draining for worker in running.sim.ledger.workers.all()] == [True]
    # As if the consumer had looked just before.
    claims: list[Claimed] = []

    def claimed() -> bool:
        claims.extend(engine.parts.dispatcher.claim(1))
        return bool(claims)

    until(claimed, "claimed")
    engine.parts.inbox.add(claims[0])
    engine.parts.work(claims[0].delivery_id)
    assert engine.stop()
    assert acts.calls == []
    assert running.outcomes() == [AttemptOutcome.GIVEN_BACK]
    assert running.statuses() == {Status.PENDING}


# --- threads that hang -----------------------------------------------------------------------------


def test_a_thread_that_ignores_its_limits_is_written_off_and_regained(running: Running, acts: Script) -> None:
    limits = type(destination().limits)
    running.sim.source.put(destination(limits=limits(base_timeout=0.1, min_rate=10**9)))
    gate = Gate(listens=False)
    acts.then(gate)
    ident = running.sim.submit()["here"]
    engine = running.engine(threads=4, grace=0.1)
    gate.wait_for(1)
    until(lambda: engine.parts.inbox.lost_threads == 1, "written off")
    until(engine.worn_out.is_set, "one of four")
    until(lambda: running.sim.delivery(ident).status is Status.PENDING, "reported")
    (attempt,) = running.sim.attempts(ident)
    assert (attempt.kind, attempt.charged) == (ErrorKind.UNKNOWN_OUTCOME, True)
    assert engine.parts.inbox.running == 0
    gate.open.set()
    until(lambda: engine.parts.inbox.lost_threads == 0, "regained")
    # Its late result is discarded.
    assert running.sim.delivery(ident).status is Status.PENDING
    assert engine.stop()


def test_a_quarter_of_the_threads_wears_a_process_out_and_less_does_not(
    running: Running, acts: Script
) -> None:
    limits = type(destination().limits)
    running.sim.source.put(destination(limits=limits(base_timeout=0.1, min_rate=10**9)))
    gate = Gate(listens=False)
    acts.then(gate)
    running.sim.submit()
    engine = running.engine(threads=5, grace=0.1)
    gate.wait_for(1)
    until(lambda: engine.parts.inbox.lost_threads == 1, "the first written off")
    assert not engine.worn_out.is_set()
    acts.acts.appendleft(gate)
    running.sim.submit()
    engine.ring()
    until(lambda: engine.worn_out.is_set(), "two of five")
    gate.open.set()


def test_a_hanging_attempt_that_is_no_longer_ours_loses_its_thread_too(
    running: Running, acts: Script
) -> None:
    gate = Gate(listens=False)
    acts.then(gate)
    ident = running.sim.submit()["here"]
    engine = running.engine(threads=4, grace=0.1)
    gate.wait_for(1)
    running.sim.ledger.orders.cancel(Filter(ids=(ident,)), now=SystemClock().now())
    engine.parts.heartbeat.beat()
    until(lambda: engine.parts.inbox.lost_threads == 1, "written off")
    assert running.sim.delivery(ident).status is Status.CANCELLED
    gate.open.set()
    until(lambda: engine.parts.inbox.lost_threads == 0, "regained")


def test_a_delivery_that_is_claimed_anew_beside_its_old_attempt_leaves_the_count_of_threads_right(
    running: Running, acts: Script
) -> None:
    old, new = Gate(listens=False), Gate(listens=True)
    acts.then(old, new)
    ident = running.sim.submit()["here"]
    engine = running.engine(threads=4)
    old.wait_for(1)
    orders, one = running.sim.ledger.orders, Filter(ids=(ident,))
    orders.cancel(one, now=SystemClock().now())
    orders.replay(one, now=SystemClock().now(), expires=lambda _: 2**62)
    engine.ring()
    new.wait_for(1)
    assert engine.running == 2, "both are watched: the old one may hang"
    engine.parts.heartbeat.beat()
    old.open.set()
    until(lambda: engine.running == 1, "the old one has ended")
    new.open.set()
    until(lambda: running.statuses() == {Status.DELIVERED}, "delivered")
    until(lambda: engine.idle(), "idle")
    assert (engine.parts.inbox.running, engine.parts.inbox.lost_threads) == (0, 0)


# --- the ledger away -------------------------------------------------------------------------------


def test_what_was_achieved_while_the_ledger_was_away_is_written_when_it_is_back(
    running: Running, acts: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = running.sim.ledger.outcomes
    real = outcomes.write
    away = threading.Event()

    def record(*args: Any) -> Any:
        if away.is_set():
            raise LedgerUnavailable("gone fishing")
        return real(*args)

    monkeypatch.setattr(outcomes, "write", record)
    gate = Gate(listens=True)
    acts.then(gate, gate)
    idents = [running.sim.submit()["here"] for _ in range(2)]
    engine = running.engine()
    gate.wait_for(2)
    away.set()
    gate.open.set()
    until(lambda: engine.parts.completions.ledger_away.is_set(), "noticed")
    until(lambda: not engine.running, "ended")
    assert not engine.parts.may_claim()
    third = running.sim.submit()["here"]
    # One of them is taken away meanwhile: its result must not be written.
    running.sim.ledger.orders.cancel(Filter(ids=(idents[1],)), now=SystemClock().now())
    assert running.sim.delivery(idents[0]).status is Status.DELIVERING
    away.clear()
    until(lambda: running.sim.delivery(third).status is Status.DELIVERED, "work goes on")
    assert running.sim.delivery(idents[0]).status is Status.DELIVERED
    assert running.sim.delivery(idents[1]).status is Status.CANCELLED
    assert engine.stop()


def test_stopping_without_a_ledger_loses_nothing(
    running: Running, acts: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> Any:
        raise LedgerUnavailable("gone fishing")

    ident = running.sim.submit()["here"]
    monkeypatch.setattr("conveyor.delivery.engine.POLITE", 0.2)
    with monkeypatch.context() as broken:
        broken.setattr(running.sim.ledger.outcomes, "write", away)
        engine = running.engine(grace=0.2)
        until(lambda: engine.parts.completions.ledger_away.is_set(), "noticed")
        engine.stop()
    # The worker is signed off, so whoever comes next frees what it held.
    running.sim.clock.set_wall(time.time())
    assert running.sim.parts.keeper.reap() == 1
    assert running.sim.delivery(ident).status is Status.PENDING
    assert running.sim.attempts(ident)[0].outcome is AttemptOutcome.LOST


def test_one_report_that_cannot_be_written_stops_no_other(
    running: Running, acts: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = running.sim.ledger.outcomes
    real = outcomes.write

    def record(group: Any, now: int) -> Any:
        if any((report.receipt or {}).get("reference") == "poison" for report in group):
            raise TypeError("cannot be stored")
        return real(group, now)

    monkeypatch.setattr(outcomes, "write", record)
    gate = Gate(listens=True)

    def poison(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        gate(parcel, target, context)
        return Receipt("poison")

    acts.then(gate, poison)
    idents = [running.sim.submit()["here"] for _ in range(2)]
    running.engine()
    gate.wait_for(2)
    gate.open.set()
    until(lambda: running.statuses() == {Status.DELIVERED}, "both written")
    receipts = [running.sim.delivery(ident).receipt for ident in idents]
    assert sorted(receipt is None for receipt in receipts) == [False, True]


@pytest.mark.parametrize("defect", [KeyError("a defect"), SystemExit(1)])
def test_background_threads_survive_a_defect(monkeypatch: pytest.MonkeyPatch, defect: BaseException) -> None:
    from typing import cast

    from conveyor import log
    from conveyor.delivery import loops

    monkeypatch.setattr(loops, "AFTER_DEFECT", 0.001)
    rounds: list[int] = []
    enough = threading.Event()

    def step() -> float:
        rounds.append(1)
        if len(rounds) < 3:
            raise defect
        enough.set()
        return 3600.0

    loop = loops.Loop("tested", step, cast(log.EngineLog, log.get()))
    loop.start()
    assert enough.wait(PATIENCE)
    assert loop.stop(PATIENCE)
    assert len(rounds) == 3


def test_attempts_are_made_by_several_threads_at_once(running: Running, acts: Script) -> None:
    gate = Gate(listens=True)
    acts.then(*[gate] * 6)
    for _ in range(6):
        running.sim.submit()
    engine = running.engine(threads=6)
    gate.wait_for(6)
    assert engine.running == 6
    gate.open.set()
    until(lambda: engine.idle(), "idle")
    assert running.statuses() == {Status.DELIVERED}


def test_idle_counts_what_is_due_within_the_horizon(running: Running, acts: Script) -> None:
    acts.then(DeliveryError(ErrorKind.TRANSIENT, "later"))
    running.sim.submit()
    engine = running.engine()
    until(lambda: Status.PENDING in running.statuses() and running.outcomes(), "attempted")
    until(lambda: engine.idle(0), "idle")
    assert not engine.idle(3600)
    assert isinstance(running.sim.clock, FakeClock)
