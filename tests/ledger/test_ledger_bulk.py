"""Replays in bulk: begun at once, turned batch by batch, nothing twice and nothing forgotten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from conveyor.clock import SECOND
from conveyor.contract import ErrorKind
from conveyor.ledger import bulk
from conveyor.ledger.bulk import BATCH, WAITING, ReplayState
from conveyor.ledger.facade import Ledger
from conveyor.ledger.ranks import REPLAYED
from conveyor.ledger.records import Filter, Status

FAILED = Filter(statuses=frozenset({Status.FAILED}))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "BATCH", 3)
    monkeypatch.setattr(bulk, "WAITING", 5)


@pytest.fixture
def failed(kit: Any) -> Callable[..., list[str]]:
    """Makes failed deliveries, each submitted a millisecond after the one before."""
    kit.worker()

    def make(count: int, *destinations: str) -> list[str]:
        made = []
        for _ in range(count):
            made += kit.submit(*(destinations or ("a",)))
            kit.clock.advance(0.001)
        for name in destinations or ("a",):
            claims = kit.claim(name, limit=count, cap=1000)
            kit.record(*(kit.report(c, Status.FAILED, failures=6, kind=ErrorKind.TRANSIENT) for c in claims))
        kit.clock.advance(0.001)
        return made

    return make


def feed(kit: Any, ident: str, ledger: Ledger | None = None) -> int:
    return int((ledger or kit.ledger).bulk.feed(ident, kit.now, lambda _: kit.now + 10**12))


def deliver(kit: Any, destination: str = "a") -> list[str]:
    claims = kit.claim(destination, limit=1000, cap=1000, ranked=True)
    kit.record(*(kit.report(claim) for claim in claims))
    return [claim.delivery_id for claim in claims]


def test_begun_at_once_and_turned_in_the_order_of_submission(kit: Any, failed: Any, small: None) -> None:
    ids = failed(10)
    ident = kit.ledger.bulk.begin(FAILED, kit.now)
    assert {kit.status(each) for each in ids} == {Status.FAILED}
    # Five wait at most, three are turned at a time.
    assert [feed(kit, ident) for _ in range(3)] == [3, 2, 0]
    assert [kit.status(each) for each in ids] == [Status.PENDING] * 5 + [Status.FAILED] * 5
    assert deliver(kit) == ids[:5]
    assert [feed(kit, ident) for _ in range(3)] == [3, 2, 0]
    (record,) = kit.ledger.bulk.all()
    assert (record.state, record.parts[0].turned, record.parts[0].done) == (ReplayState.RUNNING, 10, False)
    assert record.parts[0].statuses == {"delivered": 5, "pending": 5}
    assert deliver(kit) == ids[5:]
    while kit.ledger.bulk.hungry():
        assert feed(kit, ident) == 0
    feed(kit, ident)
    (record,) = kit.ledger.bulk.all()
    assert (record.state, record.finished_at) == (ReplayState.DONE, kit.now)
    assert record.parts[0].statuses == {"delivered": 10}
    assert kit.ledger.bulk.running() == []


def test_a_new_cycle_behind_what_is_submitted_meanwhile(kit: Any, failed: Any) -> None:
    (old,) = failed(1)
    ident = kit.ledger.bulk.begin(FAILED, kit.now)
    assert feed(kit, ident) == 1
    record = kit.ledger.deliveries.get(old)
    assert (record.cycle, record.failures, record.priority) == (2, 0, REPLAYED)
    kit.clock.advance(5)
    (new,) = kit.submit("a")
    (due,) = kit.ledger.claims.due(kit.now)
    assert due.ranked
    first, second = kit.claim("a", ranked=due.ranked)
    assert [first.delivery_id, second.delivery_id] == [new, old]


def test_what_fails_again_is_not_turned_again(kit: Any, failed: Any, small: None) -> None:
    ids = failed(4)
    ident = kit.ledger.bulk.begin(FAILED, kit.now)
    for _ in range(5):
        feed(kit, ident)
        kit.clock.advance(1)
        claims = kit.claim("a", limit=10, cap=100, ranked=True)
        kit.record(*(kit.report(claim, Status.FAILED, failures=1) for claim in claims))
    assert {kit.ledger.deliveries.get(each).cycle for each in ids} == {2}
    (record,) = kit.ledger.bulk.all()
    assert (record.state, record.parts[0].statuses) == (ReplayState.DONE, {"failed": 4})


def test_what_failed_after_it_was_begun_is_not_meant(kit: Any, failed: Any) -> None:
    (early,) = failed(1)
    (running,) = kit.submit("a")
    claimed = kit.one("a")
    ident = kit.ledger.bulk.begin(FAILED, kit.now)
    kit.clock.advance(1)
    kit.record(kit.report(claimed, Status.FAILED, failures=6))
    (late,) = failed(1)
    assert feed(kit, ident) == 1
    assert [kit.status(each) for each in (early, running, late)] == [
        Status.PENDING,
        Status.FAILED,
        Status.FAILED,
    ]


def test_one_destination_that_is_held_does_not_hold_up_the_others(kit: Any, failed: Any, small: None) -> None:
    failed(10, "a", "b")
    ident = kit.ledger.bulk.begin(FAILED, kit.now)
    for _ in range(6):
        feed(kit, ident)
        deliver(kit, "b")
    a, b = kit.ledger.bulk.all()[0].parts
    assert (a.turned, a.statuses) == (
        5,
        {"pending": 5, "failed": 0} if "failed" in a.statuses else {"pending": 5},
    )
    assert (b.turned, b.done, b.statuses) == (10, True, {"delivered": 10})
    assert not kit.ledger.bulk.hungry()  # nothing to be fed now: an engine may call itself idle


def test_pause_resume_and_cancel(kit: Any, failed: Any, small: None) -> None:
    ids = failed(10)
    ident = kit.ledger.bulk.begin(FAILED, kit.now)
    assert feed(kit, ident) == 3
    assert kit.ledger.bulk.steer(ident, ReplayState.PAUSED, kit.now)
    assert feed(kit, ident) == 0
    assert kit.ledger.bulk.running() == []
    assert kit.ledger.bulk.steer(ident, ReplayState.RUNNING, kit.now)
    assert feed(kit, ident) == 2
    assert kit.ledger.bulk.steer(ident, ReplayState.CANCELLED, kit.now)
    assert feed(kit, ident) == 0
    assert not kit.ledger.bulk.steer(ident, ReplayState.RUNNING, kit.now)
    assert [kit.status(each) for each in ids] == [Status.PENDING] * 5 + [Status.FAILED] * 5
    assert kit.ledger.bulk.all()[0].state is ReplayState.CANCELLED


def test_a_rate_is_kept(kit: Any, failed: Any) -> None:
    failed(40)
    ident = kit.ledger.bulk.begin(FAILED, kit.now, rate=4.0)
    begun, turned = kit.now, []
    for _ in range(12):
        turned.append(feed(kit, ident))
        assert sum(turned) <= 4 + 4 * (kit.now - begun) / SECOND
        kit.clock.advance(0.5)
    assert sum(turned) == pytest.approx(4 + 22, abs=1)


def test_two_processes_feed_it_together_and_turn_nothing_twice(kit: Any, failed: Any, small: None) -> None:
    ids = failed(9)
    ident = kit.ledger.bulk.begin(FAILED, kit.now)
    real = bulk._candidates

    def late(*args: Any) -> Any:
        """Another process turns the same batch between the look and the turning."""
        found = real(*args)
        bulk._candidates = real
        assert feed(kit, ident) == 3
        return found

    bulk._candidates = late
    assert feed(kit, ident) == 0
    assert {kit.ledger.deliveries.get(each).cycle for each in ids[:3]} == {2}
    assert kit.ledger.bulk.all()[0].parts[0].turned == 3


def test_what_cannot_be_turned_is_counted(kit: Any, failed: Any) -> None:
    failed(3)
    kit.deliver("a")
    ident = kit.ledger.bulk.begin(Filter(destinations=frozenset({"a"})), kit.now)
    assert feed(kit, ident) == 3
    assert (kit.ledger.bulk.all()[0].parts[0].turned, kit.ledger.bulk.all()[0].parts[0].skipped) == (3, 1)


def test_to_another_destination_and_under_new_ids(kit: Any, failed: Any) -> None:
    (old,) = failed(1)
    ident = kit.ledger.bulk.begin(FAILED, kit.now, to=("b", "memory"))
    assert feed(kit, ident) == 1
    (claimed,) = kit.claim("b", ranked=True)
    record = kit.ledger.deliveries.get(claimed.delivery_id)
    assert (record.replay_of, record.priority) == (old, REPLAYED)
    kit.record(kit.report(claimed))
    source, target = kit.ledger.bulk.all()[0].parts
    assert (source.destination, source.turned, source.statuses) == ("a", 1, {})
    assert (target.destination, target.statuses) == ("b", {"delivered": 1})


def test_no_figure_of_the_destinations_health_moves(kit: Any, failed: Any) -> None:
    from conveyor.breaker import BreakerPolicy

    policy = BreakerPolicy(volume=2, window=60.0)
    kit.deliver("a")
    failed(30)
    kit.clock.advance(60)
    before = kit.ledger.health.get(["a"])["a"]
    (tally,) = (t for t in kit.ledger.deliveries.summary(kit.now).values() if t.destination == "a")
    ident = kit.ledger.bulk.begin(FAILED, kit.now)
    feed(kit, ident)
    claims = kit.claim("a", limit=100, cap=1000, ranked=True)
    failing = {"kind": ErrorKind.TRANSIENT, "message": "again", "breaker": policy, "failures": 1}
    kit.record(
        *(kit.report(claim, Status.FAILED, charged=True, **failing) for claim in claims[:20]),
        *(kit.report(claim, clears_block=True, breaker=policy) for claim in claims[20:]),
    )
    after = kit.ledger.health.get(["a"])["a"]
    assert (after.recent, after.streak, after.block) == (before.recent, before.streak, None)
    assert after.last_delivered_at == before.last_delivered_at
    assert (after.last_failed_at, after.last_error) == (before.last_failed_at, before.last_error)
    now = kit.ledger.deliveries.summary(kit.now)["a"]
    assert (now.delivered_last_day, tally.delivered_last_day) == (1, 1)
    assert now.failed_last_day == 0
    assert (now.delivered, now.failed) == (11, 20)


def test_replayed_singly_afterwards_it_is_wanted_now(kit: Any, failed: Any) -> None:
    (old,) = failed(1)
    feed(kit, kit.ledger.bulk.begin(FAILED, kit.now))
    assert kit.replay(old).done == (old,)
    assert kit.ledger.deliveries.get(old).priority == 0
    assert kit.ledger.bulk.all()[0].parts[0].statuses == {}


def test_a_filter_comes_back_as_it_was() -> None:
    wanted = Filter(
        ids=("dlv_1",),
        statuses=frozenset({Status.FAILED, Status.PENDING}),
        destinations=frozenset({"a", "b"}),
        held=frozenset(),
        retrying=True,
        sessions=frozenset({"s"}),
        error_kinds=frozenset({ErrorKind.TRANSIENT}),
        since=5,
        until=6,
    )
    import json

    assert bulk._unplain(json.dumps(bulk._plain(wanted))) == wanted
    assert bulk._unplain(json.dumps(bulk._plain(FAILED))) == FAILED


def test_a_preview_counts_by_destination_and_status(kit: Any, failed: Any) -> None:
    failed(3, "a", "b")
    kit.deliver("a")
    found = [(m.destination, m.status, m.count) for m in kit.ledger.bulk.matching(Filter())]
    assert found == [("a", Status.DELIVERED, 1), ("a", Status.FAILED, 3), ("b", Status.FAILED, 3)]
    assert kit.ledger.bulk.all() == []


def test_to_begin_one_writes_no_delivery(kit: Any, failed: Any) -> None:
    failed(5)
    with kit.ledger.database.read() as connection:
        before = connection.execute(sa.text("SELECT id, fence, updated_at FROM deliveries ORDER BY 1")).all()
    kit.ledger.bulk.begin(FAILED, kit.now)
    with kit.ledger.database.read() as connection:
        after = connection.execute(sa.text("SELECT id, fence, updated_at FROM deliveries ORDER BY 1")).all()
    assert [tuple(row) for row in before] == [tuple(row) for row in after]
    assert BATCH <= WAITING
