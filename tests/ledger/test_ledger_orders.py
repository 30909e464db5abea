"""Orders: replay and cancel, and what they refuse with which reason."""

from __future__ import annotations

from typing import Any

import pytest

from conveyor.clock import SECOND
from conveyor.contract import ErrorKind
from conveyor.ledger.records import AttemptOutcome, Filter, Status


def _failed(kit: Any, destination: str = "a", **changes: Any) -> str:
    (ident,) = kit.submit(destination)
    report = {"kind": ErrorKind.NAME, "message": "no", "failures": 3, **changes}
    kit.record(kit.report(kit.one(destination), Status.FAILED, **report))
    return str(ident)


@pytest.fixture(autouse=True)
def _worker(kit: Any) -> None:
    kit.worker()


def test_a_failed_delivery_starts_a_new_cycle(kit: Any) -> None:
    ident = _failed(kit)
    kit.clock.advance(9)
    result = kit.replay(ident)
    assert (result.matched, result.done, result.skipped) == (1, (ident,), {})
    record = kit.ledger.deliveries.get(ident)
    assert (record.status, record.cycle, record.failures, record.attempt) == (Status.PENDING, 2, 0, 1)
    assert (record.path, record.last_error, record.finished_at) == (None, None, None)
    assert (record.next_attempt_at, record.expires_at) == (kit.now, kit.now + 7 * 24 * 3600 * SECOND)
    again = kit.one()
    assert (again.attempt, again.cycle) == (2, 2)


def test_a_delivered_one_needs_force(kit: Any) -> None:
    (ident,) = kit.deliver("a")
    assert "--force" in kit.replay(ident).skipped[ident]
    assert kit.replay(ident, force=True).done == (ident,)
    assert kit.ledger.deliveries.get(ident).receipt is None


def test_one_being_delivered_is_skipped_and_counted(kit: Any) -> None:
    (ident,) = kit.submit("a")
    kit.one()
    assert kit.replay(ident, force=True).skipped == {ident: "being delivered"}


def test_a_waiting_one_becomes_due_now_with_a_fresh_budget(kit: Any) -> None:
    (ident,) = kit.submit("a")
    claimed = kit.one()
    kit.record(kit.report(claimed, Status.PENDING, next_attempt_at=kit.now + 3600 * SECOND, failures=4))
    assert kit.replay(ident).done == (ident,)
    again = kit.one()
    assert (again.failures, again.cycle, again.look_first) == (0, 2, False)


def test_an_unfinished_upload_keeps_its_path_and_state_over_a_replay(kit: Any) -> None:
    (ident,) = kit.submit("a")
    claimed = kit.one()
    kit.ledger.states.save(ident, claimed.fence, b"half")
    kit.record(kit.report(claimed, Status.PENDING, next_attempt_at=kit.now + SECOND, look_first=True))
    kit.replay(ident)
    again = kit.one(place=lambda *_: None)
    assert (again.placement, again.state, again.look_first) == (claimed.placement, b"half", True)


def test_a_cancelled_one_can_be_replayed(kit: Any) -> None:
    (ident,) = kit.submit("a")
    kit.ledger.orders.cancel(Filter(ids=(ident,)), now=kit.now)
    assert kit.replay(ident).done == (ident,)


def test_what_was_cancelled_on_its_way_is_looked_for_before_it_is_sent_again(kit: Any) -> None:
    """Its attempt may have been past its last look at the fence."""
    running, waiting = kit.submit("a", "b")
    kit.one("a")
    kit.ledger.orders.cancel(Filter(ids=(running, waiting)), now=kit.now)
    kit.replay(running, waiting)
    assert (kit.one("a").look_first, kit.one("b").look_first) == (True, False)


def test_a_dry_run_changes_nothing(kit: Any) -> None:
    ident, (waiting,) = _failed(kit), kit.submit("b")
    before = kit.ledger.deliveries.get(ident)
    result = kit.replay(ident, waiting, dry_run=True)
    assert (result.matched, set(result.done)) == (2, {ident, waiting})
    assert kit.ledger.deliveries.get(ident) == before


def test_a_new_id_is_linked_to_the_old_one(kit: Any) -> None:
    ident = _failed(kit)
    (new,) = kit.replay(ident, new_id=True).done
    assert new != ident
    record = kit.ledger.deliveries.get(new)
    assert (record.replay_of, record.destination, record.cycle) == (ident, "a", 1)
    assert kit.status(ident) is Status.FAILED
    assert [r.id for r in kit.ledger.deliveries.of_job(record.job_id)] == [ident, new]


def test_another_destination_gets_one_delivery_per_job_and_replaces_waiting_ones(kit: Any) -> None:
    first, second = kit.submit("a", "b")
    result = kit.replay(first, second, to=("c", "s3"))
    (new,) = result.done
    record = kit.ledger.deliveries.get(new)
    assert (record.destination, record.type, record.replay_of) == ("c", "s3", first)
    assert kit.status(first) is Status.CANCELLED
    assert result.skipped == {second: "already sent to c by this order"}
    assert kit.status(second) is Status.PENDING
    assert kit.replay(second, to=("c", "s3")).skipped == {second: "already on its way to c"}


def test_another_destination_that_has_it_needs_force(kit: Any) -> None:
    first = kit.submit("a", "b")[0]
    kit.record(kit.report(kit.one("b")))
    assert "already delivered to b" in kit.replay(first, to=("b", "memory")).skipped[first]
    assert len(kit.replay(first, to=("b", "memory"), force=True).done) == 1


def test_without_its_payload_nothing_is_replayed(kit: Any) -> None:
    ident = _failed(kit)
    kit.clock.advance(10)
    (payload,) = kit.ledger.payloads.begin_removal(kit.now, kit.now, kit.now, 10)
    assert "payload" in kit.replay(ident).skipped[ident]
    kit.ledger.payloads.finish_removal([payload.id])
    assert "payload" in kit.replay(ident, to=("b", "s3")).skipped[ident]


def test_many_are_replayed_in_batches(kit: Any) -> None:
    ids = [kit.submit("a")[0] for _ in range(1203)]
    kit.ledger.orders.cancel(Filter(destinations=frozenset({"a"})), now=kit.now)
    result = kit.ledger.orders.replay(
        Filter(statuses=frozenset({Status.CANCELLED})),
        now=kit.now,
        expires=lambda _: kit.now + 1,
        new_id=True,
    )
    assert (result.matched, len(result.done), result.skipped) == (len(ids), len(ids), {})
    assert kit.ledger.deliveries.counts(Filter()) == {Status.CANCELLED: 1203, Status.PENDING: 1203}


def test_any_number_may_be_named(kit: Any) -> None:
    ids = [_failed(kit) for _ in range(3)]
    result = kit.replay(*[f"dlv_{number:022d}" for number in range(70_000)], *ids)
    assert (sorted(result.done), result.skipped) == (sorted(ids), {})


def test_cancel_ends_waiting_and_running_ones_and_fences_the_worker_out(kit: Any) -> None:
    (running,) = kit.submit("a")
    claimed = kit.one()
    kit.ledger.states.save(running, claimed.fence, b"parts")
    (waiting,) = kit.submit("a")
    (final,) = kit.deliver("b")
    result = kit.ledger.orders.cancel(Filter(ids=(running, waiting, final)), now=kit.now)
    assert set(result.done) == {running, waiting}
    assert result.skipped == {final: "already delivered"}
    assert kit.status(running) is kit.status(waiting) is Status.CANCELLED
    assert not kit.ledger.states.owns(running, claimed.fence)
    assert kit.record(kit.report(claimed)) == {running}
    (attempt,) = kit.ledger.deliveries.attempts(running)
    assert (attempt.outcome, attempt.finished_at) == (AttemptOutcome.CANCELLED, kit.now)
    (cleanup,) = kit.ledger.cleanups.claim(kit.now, 9, kit.now + SECOND)
    assert (cleanup.delivery_id, cleanup.state) == (running, b"parts")


def test_job_ids_mean_all_their_deliveries(kit: Any) -> None:
    first, second = kit.submit("a", "b")
    job = kit.ledger.deliveries.get(first).job_id
    assert set(kit.ledger.orders.cancel(Filter(ids=(job,)), now=kit.now).done) == {first, second}
