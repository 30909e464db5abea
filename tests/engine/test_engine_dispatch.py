"""Which work is taken when: fairly, within caps, never of a held destination, without a busy loop."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from conveyor.clock import SECOND
from conveyor.contract import DeliveryError, ErrorKind
from conveyor.delivery.dispatcher import SCAN_REST, Dispatcher
from conveyor.delivery.parts import Parts
from conveyor.errors import Problem
from conveyor.ids import new as new_id
from conveyor.ledger.records import (
    Block,
    BlockReason,
    Claimed,
    DueDestination,
    JobRecord,
    NewDelivery,
    Status,
    Submission,
)
from conveyor.testing.scripted import Script, script
from conveyor.testing.simulation import Simulation, destination


def capped(name: str, concurrency: int, **more: Any) -> Any:
    return destination(name, limits=type(destination().limits)(concurrency=concurrency), **more)


def submit_many(sim: Simulation, name: str, count: int) -> list[str]:
    """Many deliveries of one payload, in one transaction."""
    import io

    payload = sim.payloads.put(io.BytesIO(b"photo"), digests=frozenset({"sha256", "md5"}))
    now = sim.clock.now()
    items, idents = [], []
    for number in range(count):
        job = JobRecord(
            id=new_id("job", sim.clock),
            created_at=now,
            filename=f"{number}.jpg",
            media_type="image/jpeg",
            payload=type(payload)(
                new_id("pay", sim.clock), payload.location, False, payload.size, payload.digests
            ),
        )
        idents.append(new_id("dlv", sim.clock))
        items.append(Submission(job, (NewDelivery(idents[-1], name, "scripted", now + 10**12, now),)))
    sim.ledger.submissions.submit(items)
    sim.parts.dispatcher.ring()
    return idents


def finish(sim: Simulation, parts: Parts, claims: list[Claimed]) -> None:
    for claim in claims:
        parts.inbox.add(claim)
        parts.work(claim.delivery_id)
    parts.completions.flush()


class Calls:
    """Counts what the dispatcher asks of the ledger."""

    def __init__(self, sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: Counter[str] = Counter()
        for name in ("due", "claim"):
            monkeypatch.setattr(
                sim.ledger.claims, name, self._counted(name, getattr(sim.ledger.claims, name))
            )

    def _counted(self, name: str, real: Any) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            self.made[name] += 1
            return real(*args, **more)

        return call


def poll(sim: Simulation, dispatcher: Dispatcher, seconds: float, room: int = 4) -> list[Claimed]:
    """What the consumer thread does: ask every 10 ms."""
    claims: list[Claimed] = []
    for _ in range(round(seconds * 100)):
        claims += dispatcher.claim(room)
        sim.clock.advance(0.01)
        if round(sim.clock.monotonic() * 100) % 1000 == 0:
            sim.parts.heartbeat.beat()
    return claims


# --- fairness --------------------------------------------------------------------------------------


def test_five_thousand_waiting_for_one_never_starve_another(tmp_path: Path) -> None:
    sim = Simulation(tmp_path, capped("big", 100), capped("small", 100), capped("tiny", 100))
    submit_many(sim, "big", 5000)
    order: list[str] = []
    for round_ in range(10):
        if round_ == 3:
            submit_many(sim, "small", 6)
            submit_many(sim, "tiny", 1)
        claims = sim.parts.dispatcher.claim(6)
        order += [claim.destination for claim in claims]
        finish(sim, sim.parts, claims)
        sim.clock.advance(0.01)
    assert set(order[:18]) == {"big"}
    # From the next round on each has its share, until it has no more.
    assert Counter(order[18:23]) == {"big": 2, "small": 2, "tiny": 1}
    assert Counter(order[18:]) == {"big": len(order) - 25, "small": 6, "tiny": 1}
    assert "small" not in order[-12:]
    sim.close()


def test_with_room_for_one_destinations_take_turns(tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    sim = Simulation(tmp_path, *(capped(name, 100) for name in names))
    for name in names:
        submit_many(sim, name, 20)
    order = []
    for _ in range(12):
        claims = sim.parts.dispatcher.claim(1)
        order += [claim.destination for claim in claims]
        finish(sim, sim.parts, claims)
        sim.clock.advance(0.01)
    assert order == order[:3] * 4
    assert sorted(order[:3]) == names
    sim.close()


def test_the_clock_set_back_keeps_the_turns(tmp_path: Path) -> None:
    sim = Simulation(tmp_path, capped("a", 100), capped("b", 100))
    for name in ("a", "b"):
        submit_many(sim, name, 10)
    for _ in range(4):
        finish(sim, sim.parts, sim.parts.dispatcher.claim(1))
        sim.clock.advance(0.01)
    sim.clock.set_wall(sim.clock.time() + 60)
    sim.clock.set_wall(sim.clock.time() - 3660)
    sim.source.put(capped("c", 100))
    now = sim.clock.now()
    with sim.ledger.database.write() as connection:
        import sqlalchemy as sa

        # What waits since before the jump is due all the same.
        connection.execute(
            sa.text("UPDATE deliveries SET next_attempt_at = :now WHERE status = 'pending'"), {"now": now}
        )
    submit_many(sim, "c", 10)
    order = []
    for _ in range(9):
        claims = sim.parts.dispatcher.claim(1)
        order += [claim.destination for claim in claims]
        finish(sim, sim.parts, claims)
        sim.clock.advance(0.01)
    assert Counter(order) == {"a": 3, "b": 3, "c": 3}
    sim.close()


# --- caps ------------------------------------------------------------------------------------------


def test_caps_hold_over_two_processes(tmp_path: Path) -> None:
    sim = Simulation(tmp_path, capped("here", 3))
    submit_many(sim, "here", 10)
    one, two = sim.process(threads=4), sim.process(threads=4)
    first = one.dispatcher.claim(2)
    second = two.dispatcher.claim(4)
    assert (len(first), len(second)) == (2, 1)
    assert one.dispatcher.claim(4) == two.dispatcher.claim(4) == []
    finish(sim, two, second)
    sim.clock.advance(1)
    assert len(one.dispatcher.claim(4)) == 1
    assert two.dispatcher.claim(4) == []
    sim.close()


def test_a_destination_at_its_cap_is_looked_at_again_after_a_completion(tmp_path: Path) -> None:
    sim = Simulation(tmp_path, capped("here", 1))
    submit_many(sim, "here", 3)
    for _ in range(3):
        claims = sim.parts.dispatcher.claim(4)
        assert len(claims) == 1
        assert sim.parts.dispatcher.claim(4) == []
        finish(sim, sim.parts, claims)
    assert sim.parts.dispatcher.claim(4) == []
    sim.close()


def test_a_place_that_a_completion_frees_waits_for_no_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = Simulation(tmp_path, capped("here", 1))
    submit_many(sim, "here", 4)
    dispatcher, due = sim.parts.dispatcher, sim.ledger.claims.due

    def slow(now: int) -> Any:
        sim.clock.advance(0.1)
        return due(now)

    monkeypatch.setattr(sim.ledger.claims, "due", slow)
    claims = dispatcher.claim(4)
    calls = Calls(sim, monkeypatch)
    for _ in range(3):
        assert dispatcher.claim(4) == []
        finish(sim, sim.parts, claims)
        claims = dispatcher.claim(4)
        assert len(claims) == 1
    assert calls.made["due"] == 0
    sim.close()


def test_a_completion_is_heard_while_a_claim_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = Simulation(tmp_path, capped("here", 1))
    submit_many(sim, "here", 2)
    dispatcher, real = sim.parts.dispatcher, sim.ledger.claims.claim
    first = dispatcher.claim(1)

    def overtaken(*args: Any, **more: Any) -> Any:
        found = real(*args, **more)
        finish(sim, sim.parts, first)
        return found

    monkeypatch.setattr(sim.ledger.claims, "claim", overtaken)
    dispatcher.wait(0.0)
    assert dispatcher.claim(1) == []
    assert dispatcher._bell.is_set()
    monkeypatch.setattr(sim.ledger.claims, "claim", real)
    assert len(dispatcher.claim(1)) == 1
    sim.close()


# --- held destinations -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"is_active": False},
        {"problem": Problem("misspelt", destination="here")},
        {"remove": True},
        {"pause": True},
    ],
)
def test_a_held_destination_is_not_served_until_the_hold_ends(
    sim: Simulation, here: Script, changes: dict[str, Any]
) -> None:
    if changes.get("pause"):
        sim.ledger.health.pause(["here"], "for a while", sim.clock.now())
    elif not changes.get("remove"):
        sim.source.put(destination(**changes))
    ident = sim.submit()["here"]
    if changes.get("remove"):
        sim.source.remove("here")
    assert sim.run(7200, every=60) == []
    assert sim.delivery(ident).status is Status.PENDING
    assert sim.parts.dispatcher.next_wake is None
    sim.source.put(destination())
    sim.ledger.health.resume(["here"], sim.clock.now())
    sim.parts.dispatcher.ring()
    assert sim.run(2) == [0]


def test_what_is_claimed_of_a_destination_removed_meanwhile_is_given_back(
    sim: Simulation, here: Script
) -> None:
    ident = sim.submit()["here"]
    claims = sim.parts.dispatcher.claim(1)
    known = sim.source.get("here")
    assert known is not None
    sim.source.remove("here")
    finish(sim, sim.parts, claims)
    delivery = sim.delivery(ident)
    assert (delivery.status, delivery.failures) == (Status.PENDING, 0)
    assert here.calls == []
    # It is no sign of an unwell process.
    assert sim.parts.may_claim()
    sim.source.put(known)
    sim.parts.dispatcher.ring()
    assert sim.run(2) == [0]


def test_one_probe_at_a_time_over_two_processes(tmp_path: Path) -> None:
    sim = Simulation(tmp_path, capped("here", 8))
    script("here").then(DeliveryError(ErrorKind.QUOTA, "full"))
    submit_many(sim, "here", 5)
    one, two = sim.process(), sim.process()
    finish(sim, one, one.dispatcher.claim(1))
    sim.clock.advance(29)
    assert one.dispatcher.claim(4) == two.dispatcher.claim(4) == []
    sim.clock.advance(1)
    (probe,) = one.dispatcher.claim(4)
    assert probe.probe
    assert two.dispatcher.claim(4) == one.dispatcher.claim(4) == []
    finish(sim, one, [probe])
    sim.clock.advance(1)
    assert len(two.dispatcher.claim(4)) == 4
    sim.close()


def test_a_probe_that_does_not_reach_the_destination_does_not_release_it(
    sim: Simulation, here: Script
) -> None:
    here.then(DeliveryError(ErrorKind.AUTH_REVOKED, "who are you"))
    limits = type(destination().limits)(max_size=100)
    sim.source.put(destination(limits=limits))
    sim.submit()
    sim.step()
    too_large = sim.submit(b"x" * 101)["here"]
    sim.ledger.orders.cancel(_first(sim, not_=too_large), now=sim.clock.now())
    assert sim.run(31) == [30]
    assert sim.delivery(too_large).last_error_kind is ErrorKind.TOO_LARGE
    block = sim.ledger.health.get(["here"])["here"].block
    assert block is not None
    assert block.reason is BlockReason.NEEDS_LOGIN


def _first(sim: Simulation, *, not_: str) -> Any:
    from conveyor.ledger.records import Filter

    others = [d.id for d in sim.ledger.deliveries.find(Filter(), limit=10) if d.id != not_]
    return Filter(ids=tuple(others))


def test_an_edit_releases_once_and_a_machine_that_differs_makes_no_storm(tmp_path: Path) -> None:
    """Two processes whose configs differ for good must not end each other's blocks in turn."""
    sim = Simulation(tmp_path, destination(revision="1"))
    acts = script("here")
    acts.then(*[DeliveryError(ErrorKind.AUTH_REVOKED, "no") for _ in range(50)])
    sim.submit()
    one, two = sim.process(), sim.process()
    made = 0
    for _ in range(20):
        for parts, revision in ((one, "1"), (two, "2")):
            sim.source.put(destination(revision=revision))
            parts.dispatcher.ring()
            finish(sim, parts, claims := parts.dispatcher.claim(4))
            made += len(claims)
            sim.clock.advance(0.1)
    assert made <= 3
    # Back to an earlier revision is an edit like any other.
    sim.source.put(destination(revision="3"))
    one.dispatcher.ring()
    assert len(one.dispatcher.claim(4)) == 1
    sim.close()


def test_an_edit_does_not_end_a_block_that_began_after_it(sim: Simulation, here: Script) -> None:
    sim.submit()
    sim.step()
    sim.submit()
    now = sim.clock.now()
    _block(sim, under="1")
    stale = sim.ledger.health.get(["here"])["here"]
    _block(sim, under="2")
    sim.ledger.health.release("here", now, under=stale.block_revision)
    assert sim.ledger.health.get(["here"])["here"].block is not None
    sim.ledger.health.release("here", now, under="2")
    assert sim.ledger.health.get(["here"])["here"].block is None


def _block(sim: Simulation, *, under: str) -> None:
    from sqlalchemy import update

    from conveyor.ledger.schema import health

    block = Block(BlockReason.CONFIG, sim.clock.now() + 30 * SECOND, 0, "no")
    with sim.ledger.database.write() as connection:
        connection.execute(
            update(health)
            .where(health.c.destination == "here")
            .values(
                block_reason=block.reason.value,
                block_until=block.until,
                block_step=0,
                blocked_since=sim.clock.now(),
                block_revision=under,
            )
        )


# --- no busy loop ----------------------------------------------------------------------------------


def test_an_idle_dispatcher_asks_the_ledger_once_a_second(
    sim: Simulation, here: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.then(DeliveryError(ErrorKind.TRANSIENT, "later"))
    sim.submit()
    sim.step()
    sim.run(1)
    calls = Calls(sim, monkeypatch)
    assert poll(sim, sim.parts.dispatcher, 3.5) == []
    assert calls.made["claim"] == 0
    assert calls.made["due"] <= 5


def test_a_saturated_dispatcher_does_not_ask_again_before_something_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = Simulation(tmp_path, capped("here", 2))
    submit_many(sim, "here", 50)
    assert len(sim.parts.dispatcher.claim(4)) == 2
    calls = Calls(sim, monkeypatch)
    assert poll(sim, sim.parts.dispatcher, 5) == []
    # A look each second, and a claim that finds the cap reached.
    assert calls.made["due"] <= 8
    assert calls.made["claim"] <= 8
    sim.close()


def test_two_thousand_waiting_destinations_cost_nothing_between_scans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = Simulation(tmp_path, *(destination(f"d{number}") for number in range(50)))
    for number in range(50):
        sim.submit(to=(f"d{number}",))
        sim.ledger.health.pause([f"d{number}"], None, sim.clock.now())
    sim.parts.dispatcher.claim(4)
    asked: Counter[str] = Counter()
    real = sim.source.get
    monkeypatch.setattr(sim.source, "get", lambda name: (asked.update([name]), real(name))[1])
    poll(sim, sim.parts.dispatcher, 3)
    assert asked["d7"] <= 4
    sim.close()


def test_a_process_frozen_in_a_scan_looks_again_soon_after_it_wakes(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = sim.ledger.claims.due

    def freeze(now: int) -> list[DueDestination]:
        found = scan(now)
        sim.clock.advance(600)
        return found

    with monkeypatch.context() as frozen:
        frozen.setattr(sim.ledger.claims, "due", freeze)
        assert sim.parts.dispatcher.claim(4) == []
    sim.submit()
    sim.clock.advance(SCAN_REST)
    assert len(sim.parts.dispatcher.claim(4)) == 1


def test_work_that_falls_due_is_claimed_within_one_poll(sim: Simulation, here: Script) -> None:
    here.then(DeliveryError(ErrorKind.TRANSIENT, "later"))
    ident = sim.submit()["here"]
    sim.step()
    due = sim.delivery(ident).next_attempt_at
    assert due is not None
    sim.parts.dispatcher.claim(4)
    assert sim.parts.dispatcher.next_wake == due
    while sim.clock.now() < due:
        assert sim.parts.dispatcher.claim(4) == []
        sim.clock.advance(0.01)
    assert len(sim.parts.dispatcher.claim(4)) == 1
    assert sim.clock.now() - due < 0.02 * SECOND


def test_next_wake_is_the_earliest_of_due_times_and_probes(tmp_path: Path) -> None:
    sim = Simulation(tmp_path, destination("a"), destination("b"), destination("c"))
    for name, error in (
        ("a", DeliveryError(ErrorKind.TRANSIENT, "no")),
        ("b", DeliveryError(ErrorKind.THROTTLED, "slow", retry_after=3.0)),
        ("c", DeliveryError(ErrorKind.GONE, "gone")),
    ):
        script(name).then(error)
    sim.submit(to=("a", "b", "c"))
    begun = sim.clock.now()
    sim.step()
    sim.parts.dispatcher.claim(4)
    assert sim.parts.dispatcher.next_wake == begun + 3 * SECOND
    sim.clock.advance(3)
    finish(sim, sim.parts, sim.parts.dispatcher.claim(4))
    sim.parts.dispatcher.claim(4)
    assert sim.parts.dispatcher.next_wake == begun + 5 * SECOND
    sim.close()


def test_due_within_a_horizon(tmp_path: Path) -> None:
    sim = Simulation(tmp_path, destination("a"), destination("b"))
    dispatcher = sim.parts.dispatcher
    assert not dispatcher.due_within(0)
    script("a").then(DeliveryError(ErrorKind.TRANSIENT, "no"))
    sim.submit(to=("a",))
    assert dispatcher.due_within(0)
    sim.step()
    assert not dispatcher.due_within(4.9)
    assert dispatcher.due_within(5)
    # Looking ahead must not put the dispatcher to sleep for what lies within the horizon.
    sim.clock.advance(5)
    assert len(dispatcher.claim(4)) == 1
    sim.submit(to=("b",))
    sim.ledger.health.pause(["b"], None, sim.clock.now())
    assert not dispatcher.due_within(10**6)
    sim.close()


def test_what_waits_behind_stalled_attempts_is_due_all_the_same(sim: Simulation) -> None:
    """``run --until-idle`` must not leave it behind when these attempts have just ended."""
    dispatcher = sim.parts.dispatcher
    sim.submit()
    dispatcher.stalled(frozenset({"here"}))
    assert dispatcher.claim(4) == []
    assert dispatcher.due_within(0)
    assert dispatcher.claim(4) == []
    dispatcher.stalled(frozenset())
    assert len(dispatcher.claim(4)) == 1


def test_the_dispatcher_sleeps_no_longer_than_a_poll_and_wakes_by_the_bell(sim: Simulation) -> None:
    import threading
    import time

    done = threading.Event()

    def sleeps() -> None:
        for _ in range(50):
            sim.parts.dispatcher.wait(30)
        done.set()

    threading.Thread(target=sleeps, daemon=True).start()
    assert done.wait(10)
    sim.parts.dispatcher.ring()
    begun = time.monotonic()
    sim.parts.dispatcher.wait(30)
    assert time.monotonic() - begun < 5
