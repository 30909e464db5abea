"""An engine whose ledger is on a server that goes away in the middle of its work."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from servers.postgres import Postgres

from conveyor.clock import SECOND, SystemClock
from conveyor.contract import AttemptContext, Parcel, Receipt, Target
from conveyor.delivery.engine import Engine
from conveyor.delivery.parts import WorkerSettings
from conveyor.ledger import open_ledger
from conveyor.ledger.records import AttemptOutcome, Status
from conveyor.testing.ports import wait_until
from conveyor.testing.scripted import forget_scripts, script
from conveyor.testing.simulation import Simulation

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def _fresh_scripts() -> None:
    forget_scripts()


@pytest.fixture
def address(postgres_server: Postgres) -> Iterator[str]:
    with postgres_server.ledger() as url:
        yield url


@pytest.fixture
def sim(address: str, tmp_path: Path) -> Iterator[Simulation]:
    simulation = Simulation(tmp_path, ledger=address)
    yield simulation
    simulation.close()


@pytest.fixture
def engine(sim: Simulation, address: str) -> Iterator[Engine]:
    """A real one, in threads and in real time, on the simulation's ledger and destinations."""
    clock = SystemClock()
    sim.clock.set_wall(clock.now() / SECOND)
    with open_ledger(address, clock=clock, keyring=sim.keyring) as ledger:
        shop = replace(sim.parts.shop, ledger=ledger)
        running = Engine(shop, WorkerSettings(threads=2, lease=30.0), ledger.clock)
        running.start()
        yield running
        running.stop()


class Gate:
    """An attempt that stays at its destination until the test lets it go on."""

    def __init__(self) -> None:
        self.reached, self.go = threading.Event(), threading.Event()

    def __call__(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        context.progress(parcel.size)
        context.before_commit()
        self.reached.set()
        assert self.go.wait(60)
        return Receipt(target.path, size=parcel.size, verified="size", path=target.path)


def status(sim: Simulation, delivery: str) -> Any:
    return sim.delivery(delivery).status


def test_what_was_achieved_while_the_server_was_away_is_written_when_it_is_back(
    sim: Simulation, engine: Engine, postgres_server: Postgres
) -> None:
    gate = Gate()
    script("here").then(gate)
    delivery = sim.submit()["here"]
    assert gate.reached.wait(60)
    postgres_server.stop()
    gate.go.set()
    wait_until(lambda: engine.parts.completions.ledger_away.is_set(), 60, "the report to wait")
    assert not engine.parts.may_claim()
    postgres_server.start()
    wait_until(lambda: engine.parts.completions.idle(), 60, "the report to be written")
    assert status(sim, delivery) is Status.DELIVERED
    assert script("here").deliveries() == 1
    after = sim.submit()["here"]
    wait_until(lambda: status(sim, after) is Status.DELIVERED, 60, "work to go on")


def test_a_crash_of_the_server_loses_nothing(
    sim: Simulation, engine: Engine, postgres_server: Postgres
) -> None:
    deliveries = [sim.submit()["here"] for _ in range(30)]
    wait_until(lambda: script("here").deliveries() >= 3, 60, "the first attempts")
    postgres_server.stop(signal.SIGQUIT)
    postgres_server.start()
    wait_until(lambda: all(status(sim, d) is Status.DELIVERED for d in deliveries), 60, "all of them")
    attempts = [attempt.outcome for d in deliveries for attempt in sim.attempts(d)]
    assert AttemptOutcome.RUNNING not in attempts


def test_an_outcome_of_somebody_who_was_taken_for_dead_is_discarded_when_the_server_is_back(
    sim: Simulation, postgres_server: Postgres
) -> None:
    slow = sim.process(lease=10.0)
    delivery = sim.submit()["here"]
    (claim,) = slow.dispatcher.claim(1)
    slow.inbox.add(claim)
    slow.work(delivery)  # achieved, its report waits in memory
    postgres_server.stop()
    postgres_server.start()
    other = sim.process()

    def taken_over() -> bool:
        sim.clock.advance(5)
        other.heartbeat.beat()
        sim.step(other)
        return len(sim.attempts(delivery)) > 1

    wait_until(taken_over, 60, "the lease to run out")
    before = sim.delivery(delivery)
    slow.completions.flush()
    assert sim.delivery(delivery) == before
    assert next(a.outcome for a in sim.attempts(delivery)) is AttemptOutcome.LOST


def test_a_claim_whose_answer_was_lost_is_given_back(sim: Simulation) -> None:
    """The server committed it, the connection broke: nobody here knows that it is ours."""
    delivery = sim.submit()["here"]
    assert len(sim.parts.dispatcher.claim(1)) == 1
    sim.parts.heartbeat.beat()
    assert status(sim, delivery) is Status.DELIVERING  # it may only be on its way to its thread
    sim.parts.heartbeat.beat()
    assert status(sim, delivery) is Status.PENDING
    sim.step()
    assert status(sim, delivery) is Status.DELIVERED
    assert [a.outcome for a in sim.attempts(delivery)] == [
        AttemptOutcome.GIVEN_BACK,
        AttemptOutcome.DELIVERED,
    ]


def test_claims_that_wait_run_or_are_being_reported_are_no_strays(sim: Simulation) -> None:
    sim.submit()
    (claim,) = sim.parts.dispatcher.claim(1)
    sim.parts.inbox.add(claim)
    for _ in range(3):
        sim.parts.heartbeat.beat()
    sim.parts.work(claim.delivery_id)
    for _ in range(3):
        sim.parts.heartbeat.beat()
    sim.parts.completions.flush()
    assert [a.outcome for a in sim.attempts(claim.delivery_id)] == [AttemptOutcome.DELIVERED]
