"""Listings: filters, pages, sessions, numbers, expiry."""

from __future__ import annotations

from typing import Any

import pytest

from conveyor.clock import SECOND
from conveyor.contract import ConflictPolicy, ErrorKind
from conveyor.ledger.records import Filter, Placement, Status


@pytest.fixture(autouse=True)
def _worker(kit: Any) -> None:
    kit.worker()


def _ids(kit: Any, **wanted: Any) -> set[str]:
    return {record.id for record in kit.ledger.deliveries.find(Filter(**wanted), limit=100)}


def test_each_filter_means_what_it_says(kit: Any) -> None:
    (waiting,) = kit.submit("a", session_id="s1")
    kit.clock.advance(1)
    middle = kit.now
    (retrying,) = kit.submit("b", session_id="s2")
    report = {"failures": 1, "kind": ErrorKind.TRANSIENT, "message": "x"}
    later = kit.now + SECOND
    kit.record(kit.report(kit.one("b"), Status.PENDING, next_attempt_at=later, **report))
    kit.clock.advance(1)
    (failed,) = kit.submit("c", session_id="s2")
    kit.record(kit.report(kit.one("c"), Status.FAILED, kind=ErrorKind.NAME, message="x"))
    job = kit.ledger.deliveries.get(failed).job_id
    assert _ids(kit) == {waiting, retrying, failed}
    assert _ids(kit, ids=(waiting, job)) == {waiting, failed}
    assert _ids(kit, statuses=frozenset({Status.FAILED, Status.DELIVERED})) == {failed}
    assert _ids(kit, destinations=frozenset({"a", "c"})) == {waiting, failed}
    assert _ids(kit, not_destinations=frozenset({"a", "c"})) == {retrying}
    assert _ids(kit, held=frozenset({"a", "c"})) == {waiting}
    assert _ids(kit, held=frozenset({"a", "c"}), retrying=True) == {waiting, retrying}
    assert _ids(kit, held=frozenset()) == set()
    assert _ids(kit, retrying=True) == {retrying}
    assert _ids(kit, sessions=frozenset({"s2"})) == {retrying, failed}
    assert _ids(kit, error_kinds=frozenset({ErrorKind.NAME, ErrorKind.QUOTA})) == {failed}
    assert _ids(kit, since=middle) == {retrying, failed}
    assert _ids(kit, until=middle) == {waiting}
    assert _ids(kit, since=middle, statuses=frozenset({Status.PENDING})) == {retrying}
    assert [r.id for r in kit.ledger.deliveries.session("s2")] == [retrying, failed]


@pytest.mark.parametrize("newest_first", [True, False])
def test_pages_join_without_gap_or_overlap(kit: Any, newest_first: bool) -> None:
    ids = [ident for _ in range(4) for ident in sorted(kit.submit("a", "b", "c"))]
    seen: list[str] = []
    last = None
    while page := kit.ledger.deliveries.find(Filter(), limit=5, newest_first=newest_first, after=last):
        seen += [record.id for record in page]
        last = page[-1]
    assert seen == (sorted(ids, reverse=True) if newest_first else sorted(ids))


def test_what_is_not_there_is_none(kit: Any) -> None:
    assert kit.ledger.deliveries.get("dlv_none") is None
    assert kit.ledger.deliveries.job("job_none") is None
    assert kit.ledger.deliveries.attempts("dlv_none") == []
    assert kit.ledger.deliveries.session("none") == []


def test_the_summary_counts_by_destination(kit: Any) -> None:
    kit.deliver("a")
    kit.clock.advance(25 * 3600)
    kit.worker()
    kit.deliver("a")
    kit.submit("a")
    kit.record(kit.report(kit.one("a"), Status.FAILED))
    oldest = kit.now
    for _ in range(2):
        kit.submit("a")
    kit.one("a", limit=1)
    kit.clock.advance(1)
    kit.submit("b")
    held = kit.report(
        kit.one("b"), Status.PENDING, next_attempt_at=kit.now + 30, hold_reason="a plugin says so"
    )
    kit.record(held)
    numbers = kit.ledger.deliveries.summary(kit.now)
    assert set(numbers) == {"a", "b"}
    assert (numbers["b"].pending, numbers["b"].held_by_hooks, numbers["a"].held_by_hooks) == (1, 1, 0)
    a = numbers["a"]
    assert (a.pending, a.delivering, a.delivered, a.failed, a.retrying) == (1, 1, 2, 1, 0)
    assert (a.delivered_last_day, a.failed_last_day) == (1, 1)
    assert (a.oldest_pending, a.next_due) == (oldest, oldest)
    assert kit.ledger.deliveries.open_count() == 3


def test_what_waited_too_long_fails_as_expired(kit: Any) -> None:
    (fresh_soon,) = kit.submit("a")
    claimed = kit.one("a")
    kit.ledger.states.save(fresh_soon, claimed.fence, b"parts")
    kit.record(
        kit.report(claimed, Status.PENDING, next_attempt_at=kit.now, kind=ErrorKind.QUOTA, message="full")
    )
    expiry = kit.ledger.deliveries.next_expiry()
    assert kit.ledger.deliveries.expire(expiry - 1, 10) == []
    kit.clock.advance((expiry - kit.now) / SECOND)
    kit.submit("b")
    assert kit.ledger.deliveries.expire(kit.now, 10) == [fresh_soon]
    record = kit.ledger.deliveries.get(fresh_soon)
    assert (record.status, record.last_error_kind) == (Status.FAILED, ErrorKind.EXPIRED)
    assert record.last_error == "not delivered before it expired; before that: full"
    assert record.finished_at == kit.now
    assert kit.ledger.deliveries.next_expiry() > kit.now
    assert kit.ledger.cleanups.claim(kit.now, 9, kit.now + 1)[0].state == b"parts"


def test_expiry_leaves_running_work_alone(kit: Any) -> None:
    (ident,) = kit.submit("a")
    kit.one("a")
    assert kit.ledger.deliveries.next_expiry() is None
    assert kit.ledger.deliveries.expire(kit.now * 2, 10) == []
    assert kit.status(ident) is Status.DELIVERING


def test_only_a_later_job_supersedes_under_overwrite(kit: Any) -> None:
    def place(conflict: ConflictPolicy) -> Any:
        return lambda *_: Placement("photo.jpg", conflict)

    (early,) = kit.submit("a")
    early_job = kit.ledger.deliveries.get(early).job
    kit.clock.advance(1)
    (late,) = kit.submit("a")
    late_job = kit.ledger.deliveries.get(late).job

    def superseded(job: Any) -> bool:
        return bool(kit.ledger.states.superseded("a", "photo.jpg", job.created_at, job.id))

    first, second = kit.claim("a", place=place(ConflictPolicy.OVERWRITE))
    assert not superseded(early_job), "the later one has not arrived"
    kit.record(kit.report(second))
    assert superseded(early_job)
    assert not superseded(late_job)
    assert not kit.ledger.states.superseded("a", "other.jpg", early_job.created_at, early_job.id)
    kit.submit("b")
    kit.record(kit.report(kit.one("b", place=place(ConflictPolicy.RENAME))))
    assert not kit.ledger.states.superseded("b", "photo.jpg", 0, "job_")
    assert first.delivery_id == early


def test_ids_by_their_beginning(kit: Any) -> None:
    (first,) = kit.submit("a")
    (second,) = kit.submit("b")
    job = kit.ledger.deliveries.get(first).job_id
    starting_with = kit.ledger.deliveries.starting_with
    assert starting_with(first, limit=3) == [first]
    assert starting_with(job, limit=3) == [job]
    assert set(starting_with(first[:4], limit=3)) == {first, second}
    assert len(starting_with(first[:4], limit=1)) == 1
    assert starting_with("%", limit=3) == []
