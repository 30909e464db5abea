"""An outage is one incident of its destination: held, uncharged, probed, and at last given up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conveyor.breaker import NOTHING, BreakerPolicy
from conveyor.clock import SECOND
from conveyor.contract import DeliveryError, ErrorKind
from conveyor.ledger.records import BlockReason, Health, Status
from conveyor.status.overview import DestinationStatus, overview
from conveyor.testing.scripted import Script, script
from conveyor.testing.simulation import Simulation, destination

QUICK = BreakerPolicy(window=60.0, volume=10)


def down(kind: ErrorKind = ErrorKind.TRANSIENT, code: str = "503") -> DeliveryError:
    return DeliveryError(kind, f"HTTP {code}", code=code)


class Outage:
    """A destination that fails until it is told otherwise."""

    def __init__(self, sim: Simulation, name: str = "here", error: DeliveryError | None = None) -> None:
        self.sim, self.name = sim, name
        self.error: DeliveryError | None = error or down()
        self.tries = 0
        script(name).acts = self  # type: ignore[assignment]  # a queue that is never empty

    def __bool__(self) -> bool:
        return True

    def popleft(self) -> DeliveryError | None:
        self.tries += 1
        return self.error

    @property
    def health(self) -> Health:
        return self.sim.ledger.health.get([self.name])[self.name]

    @property
    def status(self) -> DestinationStatus:
        now, ledger = self.sim.clock.now(), self.sim.ledger
        shown = overview(self.sim.source, ledger.health.get(None), ledger.deliveries.summary(now), now)
        return next(each for each in shown if each.id == self.name)


@pytest.fixture
def sim(tmp_path: Path) -> Any:
    simulation = Simulation(tmp_path, destination(breaker=QUICK), destination("there"))
    yield simulation
    simulation.close()


def submit(sim: Simulation, count: int) -> list[str]:
    return [sim.submit()["here"] for _ in range(count)]


@pytest.mark.parametrize(
    "error",
    [down(), down(ErrorKind.TRANSIENT, "404"),
     down(ErrorKind.REJECTED, "404"), down(ErrorKind.UNKNOWN_OUTCOME, "lost")],
    ids=lambda error: f"{error.kind}-{error.code}",
)  # fmt: skip
def test_an_outage_costs_a_handful_of_tries_and_no_delivery(sim: Simulation, error: DeliveryError) -> None:
    outage = Outage(sim, error=error)
    ids = submit(sim, 60)
    sim.run(3600)
    spent = outage.tries
    # Ten that open it, what was under way, and a probe every five minutes at last.
    assert spent < 10 + 4 + 30
    records = [sim.delivery(ident) for ident in ids]
    lost = [record for record in records if record.status is Status.FAILED]
    # Only what was declared final before the breaker knew of it.
    assert len(lost) == (9 if error.kind is ErrorKind.REJECTED else 0)
    assert sum(record.failures for record in records) <= 13
    assert outage.status.reason == "breaker"
    assert outage.status.state == "held"
    assert "10 of the last 10 attempts failed" in (outage.status.detail or "")

    outage.error = None
    sim.run(301)
    assert outage.health.block is None
    delivered = [ident for ident in ids if sim.delivery(ident).status is Status.DELIVERED]
    assert len(delivered) == 60 - len(lost)
    assert outage.tries == spent + len(delivered)


def test_it_is_probed_with_one_delivery_at_a_time_and_each_time_another(sim: Simulation) -> None:
    """One bad file must not keep the destination closed for the others."""
    outage = Outage(sim)
    submit(sim, 60)
    sim.step()
    block = outage.health.block
    assert block is not None
    assert (block.reason, block.until) == (BlockReason.BREAKER, sim.clock.now() + 10 * SECOND)
    begun = len(script("here").calls)
    times = sim.run(1200)
    assert times == [10, 40, 100, 220, 520, 820, 1120]
    probed = [ident for _, ident, _ in script("here").calls[begun:]]
    assert len(set(probed)) == len(probed)
    for ident in probed:
        assert sim.delivery(ident).failures <= 1
        (*_, last) = sim.attempts(ident)
        assert (last.charged, last.follows) == (False, "hold")


def test_a_few_failures_among_successes_open_nothing(sim: Simulation, here: Script) -> None:
    for _ in range(30):
        here.then(None, down())
    submit(sim, 60)
    assert len(sim.run(4)) == 60
    assert sim.ledger.health.get(["here"])["here"].block is None


def test_what_was_long_ago_counts_no_more(sim: Simulation, here: Script) -> None:
    """A few failures now and then never add up."""
    for _ in range(12):
        here.then(down(), None)
        submit(sim, 1)
        sim.run(40)
    recent = sim.ledger.health.get(["here"])["here"].recent
    assert recent.failed + recent.earlier_failed <= 2
    assert sim.ledger.health.get(["here"])["here"].block is None


def test_an_outage_after_much_success_is_noticed_within_the_window(sim: Simulation) -> None:
    submit(sim, 150)
    sim.step()
    outage = Outage(sim)
    for _ in range(18):
        submit(sim, 2)
        sim.run(2)
    assert outage.health.block is not None
    assert outage.tries < 110  # the half of a window, and what opens it
    assert all(record.status is Status.PENDING for record in map(sim.delivery, submit(sim, 1)))


def test_it_can_be_turned_off(tmp_path: Path) -> None:
    sim = Simulation(tmp_path, destination(breaker=BreakerPolicy(share=None, deactivate_after=None)))
    Outage(sim)
    ids = submit(sim, 25)
    assert len(sim.run(4400, every=5)) == 150
    assert {sim.delivery(ident).status for ident in ids} == {Status.FAILED}
    sim.close()


def test_the_neighbour_goes_on(sim: Simulation) -> None:
    Outage(sim)
    submit(sim, 50)
    others = [sim.submit(to=("there",))["there"] for _ in range(5)]
    sim.run(3)
    assert {sim.delivery(ident).status for ident in others} == {Status.DELIVERED}


def test_an_edit_or_a_resume_closes_it_and_what_was_counted_is_forgotten(sim: Simulation) -> None:
    outage = Outage(sim)
    submit(sim, 40)
    sim.step()
    for ends in (
        lambda: sim.source.put(destination(breaker=QUICK, revision="2")),
        lambda: sim.ledger.health.resume(["here"], sim.clock.now()),
    ):
        assert outage.health.block is not None
        before = outage.tries
        ends()
        sim.parts.dispatcher.ring()
        sim.clock.advance(0.1)
        sim.serve(sim.parts)
        assert outage.tries >= before + 10  # it opens anew, by what fails now
        assert outage.health.recent == NOTHING


@pytest.mark.parametrize("reason", [BlockReason.BREAKER, BlockReason.QUOTA])
def test_a_probe_under_way_that_fails_after_a_resume_does_not_bring_the_block_back(
    sim: Simulation, reason: BlockReason
) -> None:
    """Where the destination hangs, a probe nearly always does while somebody puts it right."""
    outage = Outage(sim, error=down() if reason is BlockReason.BREAKER else down(ErrorKind.QUOTA, "507"))
    submit(sim, 20)
    sim.step()
    block = outage.health.block
    assert block is not None
    assert block.reason is reason
    outage.error = down()
    sim.clock.advance(30)
    sim.parts.heartbeat.beat()
    (probe,) = sim.parts.dispatcher.claim(4)
    assert probe.probe
    sim.ledger.health.resume(["here"], sim.clock.now())
    sim.parts.inbox.add(probe)
    sim.parts.work(probe.delivery_id)
    sim.parts.completions.flush()
    assert outage.health.block is None, "the rest is served"
    assert sim.delivery(probe.delivery_id).status is Status.PENDING


def test_without_success_for_days_it_is_deactivated_and_the_countdown_is_seen(sim: Simulation) -> None:
    outage = Outage(sim)
    policy = BreakerPolicy(window=60.0, volume=10, deactivate_after=2 * 7200.0, deactivate_volume=20)
    sim.source.put(destination(breaker=policy, expire_after=30 * 86400.0))
    ids = submit(sim, 20)
    sim.step()
    sim.run(7200, every=10)
    countdown = outage.status.deactivation
    assert countdown is not None
    assert countdown.failed_attempts > 30
    assert countdown.attempts_left == 0
    assert countdown.seconds_left == pytest.approx(7200, abs=20)
    sim.run(7200 + 400, every=10)
    block = outage.health.block
    assert block is not None
    assert (block.reason, block.until) == (BlockReason.DEACTIVATED, None)
    assert "nothing has arrived for 0.2 days" in block.message
    assert outage.status.deactivation is None
    assert outage.status.cure == "conveyor resume here when it is back"
    spent = outage.tries
    sim.run(3600, every=60)
    assert outage.tries == spent
    assert {sim.delivery(ident).status for ident in ids} == {Status.PENDING}

    outage.error = None
    sim.ledger.health.resume(["here"], sim.clock.now())
    sim.parts.dispatcher.ring()
    sim.run(5)
    assert {sim.delivery(ident).status for ident in ids} == {Status.DELIVERED}
    assert outage.status.deactivation is None


def test_without_volume_nothing_is_deactivated(sim: Simulation) -> None:
    policy = BreakerPolicy(deactivate_after=3600.0, deactivate_volume=100)
    outage = Outage(sim)
    sim.source.put(destination(breaker=policy))
    submit(sim, 1)
    sim.run(4400, every=5)
    assert outage.tries == 6
    assert outage.health.block is None
    countdown = outage.status.deactivation
    assert countdown is not None
    assert (countdown.attempts_left, countdown.seconds_left) == (94, 0)
