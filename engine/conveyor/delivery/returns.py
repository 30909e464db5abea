"""Reports of claims that no attempt was made for, or not to its end."""

from __future__ import annotations

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.delivery import effects
from conveyor.ledger.records import AttemptOutcome, AttemptReport, Claimed, Status
from conveyor.retry import RetryPolicy


def given_back(claim: Claimed, reason: str, now: int, *, look_first: bool = False) -> AttemptReport:
    """The report of a claim that nobody worked on, or not to the end: due again at once, uncharged.

    Args:
        claim: What is given back.
        reason: Why.
        now: Microseconds.
        look_first: The destination may know of the attempt: the next one asks ``find`` first.
    """
    return AttemptReport(
        delivery_id=claim.delivery_id,
        destination=claim.destination,
        fence=claim.fence,
        attempt=claim.attempt,
        outcome=AttemptOutcome.GIVEN_BACK,
        status=Status.PENDING,
        started_at=claim.started_at,
        finished_at=now,
        next_attempt_at=now,
        failures=claim.failures,
        lost_in_a_row=claim.lost_in_a_row,
        throttled_since=claim.throttled_since,
        look_first=claim.look_first or look_first,
        follows="retry",
        message=f"given back: {reason}",
    )


def defect(claim: Claimed, error: BaseException, now: int) -> AttemptReport:
    """The report of a claim on which the engine itself failed: bounded by the default schedule."""
    shown = DeliveryError(ErrorKind.TRANSIENT, f"the engine failed: {type(error).__name__}")
    effect = effects.failed(claim, shown, effects.Rules(RetryPolicy()), now=now)
    return AttemptReport(
        delivery_id=claim.delivery_id,
        destination=claim.destination,
        fence=claim.fence,
        attempt=claim.attempt,
        outcome=AttemptOutcome.FAILED,
        status=effect.status,
        started_at=claim.started_at,
        finished_at=now,
        next_attempt_at=effect.next_attempt_at,
        charged=effect.charged,
        failures=effect.failures,
        throttled_since=effect.throttled_since,
        look_first=True,
        follows=effect.follows,
        kind=shown.kind,
        message=shown.message,
        hint="this is a defect; the log has its traceback: please report it",
        cleanup=effect.status is Status.FAILED,
    )
