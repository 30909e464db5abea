"""Workers: one lease for all their claims, and what becomes of those when it ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from conveyor.clock import SECOND
from conveyor.contract import ErrorKind
from conveyor.ledger.records import AttemptOutcome, Filter, Status

STEPS = (5, 30, 120, 120)


def _delay(lost: int) -> int | None:
    return STEPS[lost - 1] * SECOND if lost <= len(STEPS) else None


def _reap(kit: Any, **options: Any) -> Any:
    return kit.ledger.workers.reap(kit.now, **{"dead": lambda worker: False, "delay": _delay, **options})


def test_workers_are_listed_until_they_retire(kit: Any) -> None:
    one = kit.worker("one")
    two = kit.worker("two")
    kit.ledger.workers.drain("two")
    assert kit.ledger.workers.all() == [one, replace(two, draining=True)]
    kit.ledger.workers.retire("one")
    assert [worker.id for worker in kit.ledger.workers.all()] == ["two"]


def test_a_beat_renews_the_lease_and_names_what_is_held(kit: Any) -> None:
    kit.worker()
    first, second = kit.submit("a"), kit.submit("a")
    held = kit.claim()
    until = kit.now + 90 * SECOND
    assert kit.ledger.workers.beat("worker", until) == {(first[0], 1), (second[0], 1)}
    assert kit.ledger.workers.all()[0].lease_until == until
    kit.ledger.orders.cancel(Filter(ids=(held[0].delivery_id,)), now=kit.now)
    assert kit.ledger.workers.beat("worker", until) == {(held[1].delivery_id, 1)}
    assert kit.ledger.workers.beat("stranger", until) is None


def test_nothing_is_reaped_while_the_lease_runs(kit: Any) -> None:
    kit.worker(lease=60)
    kit.submit("a")
    kit.one()
    kit.clock.advance(59)
    assert _reap(kit) == []
    kit.ledger.workers.beat("worker", kit.now + 60 * SECOND)
    kit.clock.advance(59)
    assert _reap(kit) == []


def test_an_expired_worker_loses_its_claims_uncharged(kit: Any) -> None:
    kit.worker(lease=60)
    (ident,) = kit.submit("a")
    claimed = kit.one()
    kit.clock.advance(60)
    (lost,) = _reap(kit)
    assert (lost.delivery_id, lost.worker, lost.lost_in_a_row) == (ident, "worker", 1)
    record = kit.ledger.deliveries.get(ident)
    assert (record.status, record.next_attempt_at) == (Status.PENDING, kit.now), "the claim is older than 5 s"
    assert (record.failures, record.fence) == (0, claimed.fence + 1)
    (attempt,) = kit.ledger.deliveries.attempts(ident)
    assert (attempt.outcome, attempt.charged) == (AttemptOutcome.LOST, False)
    assert (attempt.kind, attempt.finished_at) == (ErrorKind.WORKER_LOST, kit.now)
    assert kit.ledger.workers.all() == []
    assert kit.ledger.workers.beat("worker", kit.now + 1) is None
    assert kit.record(kit.report(claimed)) == {ident}, "the dead worker's result is discarded"
    kit.worker("next")
    again = kit.one(worker="next")
    assert (again.attempt, again.look_first, again.lost_in_a_row) == (2, True, 1)


def test_after_a_loss_the_next_attempt_is_due_so_long_after_the_lost_one_began(kit: Any) -> None:
    (ident,) = kit.submit("a")
    for number, wait in enumerate(STEPS):
        kit.worker(f"worker {number}")
        kit.one(worker=f"worker {number}")
        kit.clock.advance(2)
        _reap(kit, dead=lambda worker: True)
        assert kit.ledger.deliveries.get(ident).next_attempt_at == kit.now + (wait - 2) * SECOND
        kit.clock.advance(wait - 2)


def test_a_clock_that_was_set_back_makes_no_longer_wait_after_a_loss(kit: Any) -> None:
    kit.worker()
    (ident,) = kit.submit("a")
    kit.one()
    now = kit.now - 3600 * SECOND
    kit.ledger.workers.reap(now, dead=lambda worker: True, delay=_delay)
    assert kit.ledger.deliveries.get(ident).next_attempt_at == now + 5 * SECOND


def test_a_worker_known_to_be_dead_is_reaped_at_once(kit: Any) -> None:
    kit.worker("dead")
    kit.worker("alive")
    kit.submit("a")
    kit.submit("a")
    kit.one(worker="dead", limit=1)
    kit.one(worker="alive", limit=1)
    assert [lost.worker for lost in _reap(kit, dead=lambda worker: worker.id == "dead")] == ["dead"]
    assert [worker.id for worker in kit.ledger.workers.all()] == ["alive"]


def test_the_fifth_loss_in_a_row_is_final_and_cleaned_up(kit: Any) -> None:
    (ident,) = kit.submit("a")
    for number, step in enumerate((*STEPS, None), 1):
        kit.worker(f"w{number}")
        claimed = kit.one(worker=f"w{number}")
        kit.ledger.states.save(ident, claimed.fence, b"upload")
        (lost,) = _reap(kit, dead=lambda worker: True)
        assert lost.lost_in_a_row == number
        if step is not None:
            assert lost.next_attempt_at == kit.now + step * SECOND
            kit.clock.advance(step)
    record = kit.ledger.deliveries.get(ident)
    assert (record.status, record.last_error_kind) == (Status.FAILED, ErrorKind.WORKER_LOST)
    (cleanup,) = kit.ledger.cleanups.claim(kit.now, 9, kit.now + SECOND)
    assert cleanup.state == b"upload"


def test_claims_of_a_worker_that_nobody_knows_are_freed(kit: Any) -> None:
    kit.worker()
    (ident,) = kit.submit("a")
    kit.one()
    kit.ledger.workers.retire("worker")
    assert [lost.delivery_id for lost in _reap(kit)] == [ident]


def test_a_lease_from_before_the_clock_was_set_back_ends_after_one_lease(kit: Any) -> None:
    kit.worker(lease=60)
    kit.submit("a")
    kit.one()
    kit.clock.set_wall(kit.now / SECOND - 3600)
    assert _reap(kit) == []
    kit.clock.advance(59)
    assert _reap(kit) == []
    kit.clock.advance(1)
    assert len(_reap(kit)) == 1
