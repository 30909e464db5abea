"""Priorities: the higher one first, nothing for ever last, and nothing spent where nobody uses them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from conveyor.clock import SECOND
from conveyor.ledger.ranks import AGEING, REPLAYED

MINUTE = 60


@pytest.fixture
def queue(kit: Any) -> Any:
    """Submits with priorities; claims one and says which."""
    kit.worker()
    numbers: dict[str, int] = {}

    def submit(*priorities: int) -> None:
        for priority in priorities:
            submission = kit.submission("a")
            (delivery,) = submission.deliveries
            delivery = replace(delivery, priority=priority)
            kit.ledger.submissions.submit([replace(submission, deliveries=(delivery,))])
            numbers[delivery.id] = len(numbers)
            kit.clock.advance(0.001)

    def take(count: int = 1) -> list[int]:
        due = next(due for due in kit.ledger.claims.due(kit.now) if due.destination == "a")
        claims = kit.claim("a", limit=count, cap=1000, ranked=due.ranked)
        return [numbers[claimed.delivery_id] for claimed in claims]

    submit.take = take  # type: ignore[attr-defined]
    return submit


def test_the_higher_priority_goes_first_then_who_came_first(queue: Any) -> None:
    queue(0, 1, 9, 0, REPLAYED, 9)
    assert [queue.take()[0] for _ in range(6)] == [2, 5, 1, 0, 3, 4]


def test_a_round_takes_several_in_their_order(queue: Any) -> None:
    queue(*(number % 5 for number in range(20)))
    # The fours, then the threes.
    assert queue.take(8) == [4, 9, 14, 19, 3, 8, 13, 18]
    assert queue.take(100) == [2, 7, 12, 17, 1, 6, 11, 16, 0, 5, 10, 15]


def test_nothing_waits_for_ever(queue: Any, clock: Any) -> None:
    queue(0)
    clock.advance(51 * MINUTE)
    queue(5, 6)
    # A step is ten minutes of waiting.
    assert [queue.take()[0] for _ in range(3)] == [2, 0, 1]


def test_what_is_replayed_gives_way_for_ten_minutes(queue: Any, clock: Any) -> None:
    queue(REPLAYED)
    clock.advance(AGEING / SECOND - 1)
    queue(0)
    assert queue.take() == [1]
    queue(REPLAYED)
    clock.advance(2)
    queue(0)
    assert queue.take() == [0]


def test_a_retry_that_is_not_due_is_not_taken_for_its_priority(kit: Any, queue: Any) -> None:
    queue(9, 0)
    claimed = kit.one("a", ranked=True, limit=1)
    from conveyor.ledger.records import Status

    later = kit.now + 5 * SECOND
    kit.record(kit.report(claimed, Status.PENDING, failures=1, next_attempt_at=later))
    assert queue.take(5) == [1]
    kit.clock.advance(5)
    assert queue.take(5) == [0]


def test_only_a_destination_with_priorities_is_asked_for_them(kit: Any, queue: Any) -> None:
    kit.submit("b")
    queue(0)
    assert {due.destination: due.ranked for due in kit.ledger.claims.due(kit.now)} == {"a": False, "b": False}
    queue(3)
    assert {due.destination: due.ranked for due in kit.ledger.claims.due(kit.now)} == {"a": True, "b": False}
    assert queue.take(5) == [1, 0]


def test_a_dispatcher_rings_in_the_same_order(kit: Any, queue: Any) -> None:
    queue(0, 7, REPLAYED)
    want = kit.want("a", limit=3, cap=10, ranked=True)
    ids, more = kit.ledger.wakeups.choose([want], {}, kit.now)["a"]
    records = [kit.ledger.deliveries.get(ident) for ident in ids]
    assert [record.priority for record in records] == [7, 0, REPLAYED]
    assert not more
