"""The figures that monitors read: what is due, how late, what ended, what is stuck."""

from __future__ import annotations

from typing import Any

import pytest

from conveyor.clock import SECOND
from conveyor.contract import ErrorKind
from conveyor.ledger import figures
from conveyor.ledger.figures import Ended, Tracked
from conveyor.ledger.records import Filter, Status


@pytest.fixture(autouse=True)
def _worker(kit: Any) -> None:
    kit.worker()


def test_due_and_running_are_counted_by_destination(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        kit.submit("a", "b")
    kit.claim("a", limit=1)
    assert kit.ledger.figures.due(["a", "b", "none"], kit.now) == {"a": 2, "b": 3, "none": 0}
    assert kit.ledger.figures.due(["a"], kit.now - 1) == {"a": 0}, "not due yet"
    assert kit.ledger.figures.running() == {"a": 1}
    monkeypatch.setattr(figures, "TOGETHER", 1)
    monkeypatch.setattr(figures, "MOST", 2)
    assert kit.ledger.figures.due(["a", "b"], kit.now) == {"a": 2, "b": 2}, "bounded"


def test_each_end_is_counted_once_however_long_the_attempt_took(kit: Any) -> None:
    tracked = Tracked.since(kit.now)

    def look() -> dict[Ended, int]:
        kit.clock.advance(10)
        kit.ledger.figures.track(tracked, kit.now)
        return tracked.counts

    kit.submit("a", "b")
    long, quick = kit.one("a"), kit.one("b")
    kit.record(kit.report(quick, bytes_sent=7))
    assert look() == {Ended("b", "delivered", ""): 1}
    assert look() == {Ended("b", "delivered", ""): 1}
    kit.record(kit.report(long, Status.FAILED, kind=ErrorKind.TRANSIENT, charged=True, bytes_sent=3))
    assert look() == {Ended("b", "delivered", ""): 1, Ended("a", "failed", "TRANSIENT"): 1}
    assert tracked.sent == {"a": 3, "b": 7}
    assert not tracked.open
    kit.clock.advance(3600)
    kit.deliver("a")
    assert look()[Ended("a", "delivered", "")] == 1


def test_lateness_is_that_against_the_due_time(kit: Any) -> None:
    (first,) = kit.submit("a")
    kit.clock.advance(4)
    claimed = kit.one()
    due = kit.now + 5 * SECOND
    kit.record(kit.report(claimed, Status.PENDING, next_attempt_at=due, charged=True, failures=1))
    kit.clock.advance(7)
    kit.record(kit.report(kit.one(), Status.FAILED))
    assert kit.ledger.figures.lateness(kit.now) == [2 * SECOND, 4 * SECOND]
    kit.replay(first)
    kit.clock.advance(100)
    kit.one()
    assert len(kit.ledger.figures.lateness(kit.now)) == 2, "when the replay made it due stands nowhere"
    kit.clock.advance(1000)
    assert kit.ledger.figures.lateness(kit.now) == []


def test_what_is_stuck_is_found(kit: Any) -> None:
    def stuck() -> dict[str, int]:
        return {kind: count for kind, count in kit.ledger.figures.stuck(kit.now).items() if count}

    kit.submit("a")
    kit.one()
    (left,) = kit.submit("b")
    kit.ledger.states.save(left, kit.one("b").fence, b"parts")
    kit.ledger.orders.cancel(Filter(ids=(left,)), now=kit.now)
    assert stuck() == {}
    kit.clock.advance(130)
    assert stuck() == {"claim": 1}
    kit.clock.advance(3600)
    assert stuck() == {"claim": 1, "cleanup": 1}
    kit.submit("c")
    kit.clock.advance(8 * 24 * 3600)
    assert stuck() == {"claim": 1, "cleanup": 1, "expiry": 1}
    assert len(kit.ledger.payloads.begin_removal(kit.now, kit.now, kit.now, 10)) == 1
    assert stuck()["payload"] == 1
