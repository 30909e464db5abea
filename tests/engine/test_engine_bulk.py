"""Replays in bulk beside ordinary work, in a whole engine on a clock of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.ledger import bulk
from conveyor.ledger.bulk import ReplayState
from conveyor.ledger.records import Filter, Status
from conveyor.status.waiting import idle
from conveyor.testing.scripted import script
from conveyor.testing.simulation import Simulation, destination

FAILED = Filter(statuses=frozenset({Status.FAILED}))


@pytest.fixture
def sim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Simulation:
    monkeypatch.setattr(bulk, "BATCH", 10)
    monkeypatch.setattr(bulk, "WAITING", 20)
    return Simulation(tmp_path)


def broken(sim: Simulation, count: int) -> list[str]:
    """Deliveries that failed."""
    script("here").then(*[DeliveryError(ErrorKind.NAME, "too long") for _ in range(count)])
    ids = [sim.submit()["here"] for _ in range(count)]
    sim.serve(sim.parts)
    assert {sim.delivery(ident).status for ident in ids} == {Status.FAILED}
    sim.clock.advance(1)
    return ids


def test_all_are_delivered_in_the_end(sim: Simulation) -> None:
    ids = broken(sim, 75)
    ident = sim.ledger.bulk.begin(FAILED, sim.clock.now())
    # With nobody to feed it, it is work all the same.
    assert not idle(sim.ledger, sim.source, sim.clock, 0)
    sim.run(300)
    assert {sim.delivery(each).status for each in ids} == {Status.DELIVERED}
    (record,) = sim.ledger.bulk.all(ident)
    assert record.state is ReplayState.DONE
    assert idle(sim.ledger, sim.source, sim.clock, 0)
    assert [len(sim.attempts(each)) for each in ids] == [2] * 75
    sim.close()


def test_new_deliveries_do_not_wait_for_it(sim: Simulation) -> None:
    """However many are replayed: what is submitted meanwhile is in the very next round."""
    sim.source.put(destination("here", limits=type(destination().limits)(concurrency=1)))
    broken(sim, 60)
    sim.ledger.bulk.begin(FAILED, sim.clock.now())
    sim.parts.keeper.step()
    for _ in range(10):
        (other,) = sim.parts.dispatcher.claim(1)
        new = sim.submit()["here"]
        sim.parts.inbox.add(other)
        sim.parts.work(other.delivery_id)
        sim.parts.completions.flush()
        sim.clock.advance(0.01)
        (claim,) = sim.parts.dispatcher.claim(1)
        assert claim.delivery_id == new
        sim.parts.inbox.add(claim)
        sim.parts.work(new)
        sim.parts.completions.flush()
        sim.clock.advance(0.01)
    sim.close()


def test_at_a_paused_destination_no_more_than_a_few_wait_and_idle_is_idle(sim: Simulation) -> None:
    broken(sim, 50)
    sim.ledger.health.pause(["here"], None, sim.clock.now())
    sim.ledger.bulk.begin(FAILED, sim.clock.now())
    sim.run(150)
    assert sim.ledger.bulk.all()[0].parts[0].statuses["pending"] == 20
    assert idle(sim.ledger, sim.source, sim.clock, 0)
    sim.ledger.health.resume(["here"], sim.clock.now())
    sim.parts.dispatcher.ring()
    sim.run(150)
    assert sim.ledger.bulk.all()[0].state is ReplayState.DONE
    sim.close()
