"""Faults planted in the engine: the simulation reports each, or it would prove nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from e2e.plants import twice
from hypothesis import Phase

from conveyor.delivery import effects
from conveyor.delivery.attempt import Attempt
from conveyor.delivery.cleaner import Cleaner
from conveyor.delivery.context import EngineContext
from conveyor.ledger import claims, outcomes, states
from conveyor.ledger.records import AttemptReport, Claimed
from simulation.checks import Broken
from simulation.exploring import explore
from simulation.world import Ground, World


@contextmanager
def reported(*which: str) -> Iterator[None]:
    """One of the walks in the block finds it, by one of these invariants."""
    with pytest.raises(Broken) as found:
        yield
    assert str(found.value).partition(":")[0] in which


def walks(ground: Ground) -> None:
    explore(ground, walks=300, rules=40, phases=[Phase.generate], report_multiple_bugs=False)


def built(ground: Ground, seed: int) -> closing[World]:
    return closing(World(ground, rung=seed % 2 == 0, seed=seed))


def seeded(walk: Callable[[Ground, int], None], seeds: int) -> Callable[[Ground], None]:
    """The walk for each seed, one after the other."""

    def walked(ground: Ground) -> None:
        for seed in range(seeds):
            walk(ground, seed)

    return walked


def sleeping_walk(ground: Ground, seed: int) -> None:
    """Two processes, each of which sleeps past its lease in the middle of an attempt."""
    with built(ground, seed) as world:
        for _ in range(2):
            world.start()
            world.submit(("bucket", "hook"))
        world.run(20 + seed % 40, seed)
        for machine in list(world.machines):
            world.sleep_past_the_lease(machine, seed)
        world.checks.now()


def troubled_walk(ground: Ground, seed: int) -> None:
    """Requests are cut, deliveries are cancelled in the middle, and all comes to an end."""
    with built(ground, seed) as world:
        world.start()
        world.submit(("bucket",))
        world.submit(("bucket",))
        world.store.trials.add("cut", after=False, count=3)
        world.run(40 + seed % 60, seed)
        world.cancel("dlv_0001_bucket")
        world.settle(seed)
        world.checks.at_the_end()


def hurried_walk(ground: Ground, seed: int) -> None:
    """Work arrives while a failed attempt waits for its next one."""
    with built(ground, seed) as world:
        world.start()
        world.submit(("bucket",))
        world.store.trials.add("cut", after=False, count=1)
        world.run(20 + seed % 60, seed)
        world.submit(("bucket",))
        world.settle(seed)
        world.checks.at_the_end()


sleeping_walks, troubled_walks = seeded(sleeping_walk, 300), seeded(troubled_walk, 100)
hurried_walks = seeded(hurried_walk, 100)


def test_the_walks_of_this_module_break_nothing_by_themselves(ground: Ground) -> None:
    for seed in range(5):
        troubled_walk(ground, seed)
        sleeping_walk(ground, seed)
        hurried_walk(ground, seed)


def test_a_ledger_that_checks_no_fence(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    write = outcomes.Outcomes.write

    def unfenced(self: outcomes.Outcomes, reports: Sequence[AttemptReport], now: int) -> list[AttemptReport]:
        with self._database.read() as connection:
            found = outcomes._HELD.rows(connection, {"ids": [report.delivery_id for report in reports]})
        fences = {row[0]: row[1] for row in found}
        return write(self, [replace(r, fence=fences.get(r.delivery_id, r.fence)) for r in reports], now)

    monkeypatch.setattr(outcomes.Outcomes, "write", unfenced)
    with reported("fence", "twice", "running", "gap"):
        sleeping_walks(ground)


def test_saved_state_that_checks_no_fence(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlalchemy as sa

    from conveyor.ledger.prepared import Prepared
    from conveyor.ledger.schema import deliveries

    anybody = (
        sa.update(deliveries)
        .where(deliveries.c.id == sa.bindparam("b_id"), sa.bindparam("b_fence", type_=sa.BigInteger) >= 0)
        .values(state=sa.bindparam("b_state"))
    )
    monkeypatch.setattr(states, "_SAVE", Prepared(anybody))
    with reported("fence", "move"):
        sleeping_walks(ground)


def test_nothing_is_abandoned(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(self: Cleaner, cleanup: Any, destination: Any) -> None:
        self._ledger.cleanups.done(cleanup.id, self._clock.now())

    monkeypatch.setattr(Cleaner, "_abandon", forget)
    with reported("left"):
        troubled_walks(ground)


def test_an_outcome_is_written_twice(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "_write", twice(outcomes._write))
    with reported("twice"):
        walks(ground)


@pytest.mark.parametrize(
    "walked", [hurried_walks, pytest.param(walks, marks=pytest.mark.long)], ids=["hurried", "any"]
)
def test_deliveries_fall_due_early(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, walked: Callable[[Ground], None]
) -> None:
    claim = claims.Claims.claim

    def hasty(self: claims.Claims, worker_id: str, wanted: Any, now: int, **more: Any) -> list[Claimed]:
        return claim(self, worker_id, wanted, now + 2_000_000, **more)

    monkeypatch.setattr(claims.Claims, "claim", hasty)
    with reported("early"):
        walked(ground)


def test_no_failure_is_charged(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    def free(known: outcomes.Health, report: AttemptReport) -> AttemptReport:
        return replace(report, charged=False, failures=report.failures - report.charged)

    monkeypatch.setattr(outcomes, "charged_to", free)
    with reported("charged"):
        walks(ground)


@pytest.mark.long
def test_throttling_is_charged(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        effects, "_throttled", lambda claim, error, rules, *, now, look, random, **_: effects._charged(
            claim, error, rules, now=now, earliest=now, look=look, random=random
        )
    )  # fmt: skip
    with reported("charged"):
        walks(ground)


@pytest.mark.long
def test_nobody_looks_whether_it_has_arrived(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EngineContext, "before_commit", EngineContext.check)
    monkeypatch.setattr(Attempt, "_find_or_deliver", _always_deliver)
    from conveyor.testing.memory import MemoryConnector

    monkeypatch.setattr(MemoryConnector, "_taken", lambda *_: None)
    with reported("duplicate"):
        walks(ground)


def _always_deliver(self: Attempt, connector: Any, parcel: Any, target: Any) -> Any:
    return connector.deliver(parcel, target, self.context)
