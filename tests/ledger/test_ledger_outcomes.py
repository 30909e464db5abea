"""Outcomes: fenced, in groups, with what they do to the delivery and to its destination."""

from __future__ import annotations

from typing import Any

import pytest

from conveyor.clock import SECOND
from conveyor.contract import ErrorKind
from conveyor.ledger.records import AttemptOutcome, Block, BlockReason, Status


def test_a_delivered_outcome_is_kept_whole(kit: Any) -> None:
    kit.worker()
    (ident,) = kit.submit("a")
    claimed = kit.one()
    kit.clock.advance(2)
    receipt = {"reference": "bucket/k", "size": 10, "renamed": True}
    report = kit.report(
        claimed, receipt=receipt, bytes_sent=10, timings={"connect": 0.5}, follows="none", code="200"
    )
    assert kit.record(report) == set()
    record = kit.ledger.deliveries.get(ident)
    assert (record.status, record.receipt, record.finished_at) == (Status.DELIVERED, receipt, kit.now)
    assert (record.worker, record.next_attempt_at) == (None, None)
    (attempt,) = kit.ledger.deliveries.attempts(ident)
    assert attempt.outcome is AttemptOutcome.DELIVERED
    assert (attempt.reference, attempt.bytes_sent, attempt.timings) == ("bucket/k", 10, {"connect": 0.5})
    assert kit.ledger.health.get(["a"])["a"].last_delivered_at == kit.now


def test_a_failed_try_waits_for_its_next_step(kit: Any) -> None:
    kit.worker()
    (ident,) = kit.submit("a")
    due = kit.now + 5 * SECOND
    report = kit.report(
        kit.one(), Status.PENDING, next_attempt_at=due, charged=True, failures=1, lost_in_a_row=0,
        throttled_since=7, look_first=True, follows="retry", kind=ErrorKind.UNKNOWN_OUTCOME, message="cut",
        hint="look", code="503", response="busy",
    )  # fmt: skip
    kit.record(report)
    record = kit.ledger.deliveries.get(ident)
    assert (record.status, record.next_attempt_at, record.failures) == (Status.PENDING, due, 1)
    assert (record.last_error, record.last_error_kind) == ("cut", ErrorKind.UNKNOWN_OUTCOME)
    (attempt,) = kit.ledger.deliveries.attempts(ident)
    assert (attempt.charged, attempt.kind, attempt.hint) == (True, ErrorKind.UNKNOWN_OUTCOME, "look")
    assert (attempt.code, attempt.response, attempt.follows) == ("503", "busy", "retry")
    assert attempt.next_attempt_at == due
    assert kit.claim() == []
    kit.clock.advance(5)
    again = kit.one()
    assert (again.attempt, again.failures, again.throttled_since, again.look_first) == (2, 1, 7, True)


def test_a_group_is_written_at_once_and_strangers_are_named(kit: Any) -> None:
    kit.worker()
    for _ in range(4):
        kit.submit("a")
    held = kit.claim()
    kit.ledger.orders.cancel(_only(held[0]), now=kit.now)
    reports = [kit.report(claimed) for claimed in held]
    assert kit.record(*reports) == {held[0].delivery_id}
    assert kit.record(*reports) == {claimed.delivery_id for claimed in held}, "each outcome counts once"
    assert [kit.status(c.delivery_id) for c in held] == [Status.CANCELLED] + [Status.DELIVERED] * 3


def _only(claimed: Any) -> Any:
    from conveyor.ledger.records import Filter

    return Filter(ids=(claimed.delivery_id,))


@pytest.mark.parametrize("status", [Status.DELIVERED, Status.FAILED])
def test_saved_state_ends_with_the_delivery(kit: Any, status: Status) -> None:
    kit.worker()
    (ident,) = kit.submit("a")
    claimed = kit.one()
    assert kit.ledger.states.save(ident, claimed.fence, b"upload-7")
    kit.record(kit.report(claimed, Status.PENDING, next_attempt_at=kit.now))
    again = kit.one()
    assert again.state == b"upload-7"
    kit.record(kit.report(again, status, cleanup=status is Status.FAILED))
    (*cleanups,) = kit.ledger.cleanups.claim(kit.now, 9, kit.now + SECOND)
    expected = [(ident, "a", b"upload-7", again.fence)] if status is Status.FAILED else []
    assert [(c.delivery_id, c.destination, c.state, c.fence) for c in cleanups] == expected
    kit.replay(ident, force=True)
    assert kit.one().state is None


def test_state_is_saved_only_under_the_fence(kit: Any) -> None:
    kit.worker()
    (ident,) = kit.submit("a")
    claimed = kit.one()
    assert kit.ledger.states.owns(ident, claimed.fence)
    assert not kit.ledger.states.owns(ident, claimed.fence + 1)
    assert not kit.ledger.states.save(ident, claimed.fence + 1, b"x")
    kit.record(kit.report(claimed))
    assert not kit.ledger.states.owns(ident, claimed.fence)
    assert not kit.ledger.states.save(ident, claimed.fence, b"x")


def _block(
    kit: Any, after: float | None, step: int = 1, reason: BlockReason = BlockReason.THROTTLED
) -> Block:
    return Block(reason, None if after is None else kit.now + round(after * SECOND), step, f"step {step}")


def _held(kit: Any, count: int) -> list[Any]:
    kit.worker()
    for _ in range(count):
        kit.submit("a")
    claimed: list[Any] = kit.claim(limit=count)
    return claimed


def _again(kit: Any, claimed: Any, **changes: Any) -> Any:
    return kit.report(claimed, Status.PENDING, next_attempt_at=kit.now, **changes)


def test_a_stale_attempt_prolongs_a_block_but_takes_it_no_step_further(kit: Any) -> None:
    one, two, three = _held(kit, 3)
    kit.clock.advance(1)
    kit.record(_again(kit, one, block=_block(kit, 10)))
    since = kit.now
    kit.clock.advance(1)
    longer = _block(kit, 30, step=2)
    kit.record(_again(kit, two, block=longer), _again(kit, three, block=_block(kit, 5, step=2)))
    known = kit.ledger.health.get(["a"])["a"]
    assert known.block == Block(BlockReason.THROTTLED, longer.until, 1, "step 1")
    assert (known.blocked_since, known.block_revision) == (since, "rev1")


def test_a_stale_success_does_not_clear_a_block(kit: Any) -> None:
    one, two = _held(kit, 2)
    kit.clock.advance(1)
    kit.record(_again(kit, one, block=_block(kit, 10)), kit.report(two, clears_block=True))
    assert kit.ledger.health.get(["a"])["a"].block is not None


def test_a_failed_probe_takes_the_block_a_step_further(kit: Any) -> None:
    (one,) = _held(kit, 1)
    kit.record(_again(kit, one, block=_block(kit, 10)))
    since = kit.now
    kit.clock.advance(10)
    probe = kit.one(probe=True)
    further = _block(kit, 20, step=2, reason=BlockReason.QUOTA)
    kit.record(_again(kit, probe, block=further))
    known = kit.ledger.health.get(["a"])["a"]
    assert (known.block, known.blocked_since) == (further, since)


def test_a_probe_clears_a_block_even_when_the_clock_was_set_back(kit: Any) -> None:
    (one,) = _held(kit, 1)
    kit.record(_again(kit, one, block=_block(kit, 0)))
    probe = kit.one(probe=True)
    kit.clock.set_wall(kit.now / SECOND - 3600)
    kit.record(kit.report(probe, clears_block=True))
    assert kit.ledger.health.get(["a"])["a"].block is None


def test_a_block_until_a_person_acts_is_never_shortened(kit: Any) -> None:
    one, two = _held(kit, 2)
    kit.clock.advance(1)
    kit.record(_again(kit, one, block=_block(kit, None, reason=BlockReason.DEACTIVATED)))
    kit.record(_again(kit, two, block=_block(kit, 10)))
    block = kit.ledger.health.get(["a"])["a"].block
    assert (block.reason, block.until) == (BlockReason.DEACTIVATED, None)
