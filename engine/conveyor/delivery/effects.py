"""What follows from the end of an attempt: a pure function of the error, the claim and the policy."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from conveyor.breaker import is_failure, probe_delay
from conveyor.clock import SECOND, micros
from conveyor.contract import DeliveryError, ErrorKind, Scope
from conveyor.ledger.records import Block, BlockReason, Claimed, Status
from conveyor.retry import CHARGED, RetryPolicy

HELD = {
    ErrorKind.AUTH_EXPIRED: BlockReason.NEEDS_LOGIN,
    ErrorKind.AUTH_REVOKED: BlockReason.NEEDS_LOGIN,
    ErrorKind.QUOTA: BlockReason.QUOTA,
    ErrorKind.CONFIG: BlockReason.CONFIG,
    ErrorKind.GONE: BlockReason.DEACTIVATED,
}
"""Kinds that hold the whole destination, uncharged."""

ANSWERED = frozenset({ErrorKind.CONFLICT, ErrorKind.REJECTED})
"""Final kinds by which the destination has shown that it serves; the others may be found out without it."""

PROBE_DELAYS = (30.0, 60.0, 120.0, 300.0, 900.0, 1800.0, 3600.0)
"""Seconds until a held destination is probed; the last one repeats."""

THROTTLE_FIRST, THROTTLE_LAST = 1.0, 300.0
"""Seconds of pause when a destination throttles without saying how long: doubling."""

THROTTLE_PATIENCE = 24 * 3600 * SECOND
"""After this long throttled in one cycle a delivery is charged like TRANSIENT."""

HOLD_FIRST, HOLD_LAST = 30.0, 3600.0
"""Seconds until a hook that holds a delivery is asked again."""

LOST_DELAYS = (5.0, 30.0, 120.0, 120.0)
"""Seconds from the beginning of the first, second … attempt lost in a row to the next; a fifth is final."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What the ledger writes about the delivery and its destination."""

    status: Status
    follows: str
    next_attempt_at: int | None = None
    charged: bool = False
    failures: int = 0
    throttled_since: int | None = None
    block: Block | None = None
    look_first: bool = False
    clears_block: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What a destination's policy says about errors."""

    retry: RetryPolicy
    max_retry_after: float = 3600.0


def lost_delay(lost_in_a_row: int) -> int | None:
    """Microseconds from the beginning of an attempt whose worker was lost to the next; None: failed."""
    if lost_in_a_row > len(LOST_DELAYS):
        return None
    return micros(LOST_DELAYS[lost_in_a_row - 1])


def delivered(claim: Claimed) -> Effect:
    """The attempt succeeded."""
    return Effect(Status.DELIVERED, "none", failures=claim.failures, clears_block=True)


def held_delay(held_since: int | None, now: int) -> int:
    """Microseconds until a hook that holds a delivery is asked again: as long as it has lasted."""
    lasted = 0 if held_since is None else max(now - held_since, 0)
    return min(max(lasted, micros(HOLD_FIRST)), micros(HOLD_LAST))


def failed(
    claim: Claimed,
    error: DeliveryError,
    rules: Rules,
    *,
    now: int,
    block: Block | None = None,
    random: Callable[[], float] = random.random,
) -> Effect:
    """Decide what follows from an error.

    Args:
        claim: The delivery as it was claimed.
        error: What the connector raised.
        rules: The destination's policy.
        now: Microseconds.
        block: The destination's block that this attempt probed, if any.
        random: Source of jitter.
    """
    look = claim.look_first or error.kind is ErrorKind.UNKNOWN_OUTCOME
    if block is not None and block.reason is BlockReason.BREAKER and is_failure(error.kind, error.code):
        # The destination's incident, not the delivery's failure. Due when the next probe is, behind all
        # others: the file itself may be what it stumbles over.
        longer = _prolonged(block, now)
        return Effect(
            Status.PENDING, "hold", longer.until, failures=claim.failures,
            throttled_since=claim.throttled_since, block=longer, look_first=look,
        )  # fmt: skip
    if error.kind is ErrorKind.THROTTLED:
        return _throttled(claim, error, rules, now=now, block=block, look=look, random=random)
    if error.kind in CHARGED:
        effect = _charged(claim, error, rules, now=now, earliest=now, look=look, random=random)
        # A probe that failed for another reason: the rest need not pay for finding out the same.
        return effect if block is None else replace(effect, block=_prolonged(block, now))
    if error.kind in HELD:
        new = _held(error, now=now, block=block)
        return Effect(
            Status.PENDING, "hold", now, failures=claim.failures, throttled_since=claim.throttled_since,
            block=new, look_first=look,
        )  # fmt: skip
    # The item is at fault. Only some kinds tell that the destination has answered at all.
    answered = error.kind in ANSWERED
    return Effect(Status.FAILED, "final", failures=claim.failures, clears_block=answered, look_first=look)


def _charged(
    claim: Claimed,
    error: DeliveryError,
    rules: Rules,
    *,
    now: int,
    earliest: int,
    look: bool,
    random: Callable[[], float],
) -> Effect:
    failures = claim.failures + 1
    wait = rules.retry.delay(failures, error, random=random)
    if wait is None:
        return Effect(Status.FAILED, "final", charged=True, failures=failures, look_first=look)
    stated = min(error.retry_after or 0.0, rules.max_retry_after)
    due = max(now + micros(max(wait, stated)), earliest)
    return Effect(
        Status.PENDING, "retry", due, charged=True, failures=failures,
        throttled_since=claim.throttled_since, look_first=look,
    )  # fmt: skip


def _throttled(
    claim: Claimed,
    error: DeliveryError,
    rules: Rules,
    *,
    now: int,
    block: Block | None,
    look: bool,
    random: Callable[[], float],
) -> Effect:
    since = claim.throttled_since if claim.throttled_since is not None else now
    step = block.step + 1 if block is not None and block.reason is BlockReason.THROTTLED else 0
    # Of nothing, or a date that is past by our clock: heeded, it would be asked again at once, for a day.
    if error.retry_after is not None and error.retry_after > 0:
        pause = min(error.retry_after, rules.max_retry_after)
    elif error.scope is Scope.DELIVERY:
        # No block counts the steps: to wait as long as it has lasted doubles the wait.
        pause = min(max((now - since) / SECOND, THROTTLE_FIRST), THROTTLE_LAST)
    else:
        pause = _pause(step)
    until = now + micros(pause)
    new = None
    if error.scope is not Scope.DELIVERY:
        new = Block(BlockReason.THROTTLED, until, step, error.message)
    if now - since >= THROTTLE_PATIENCE:
        as_transient = DeliveryError(ErrorKind.TRANSIENT, error.message)
        effect = _charged(claim, as_transient, rules, now=now, earliest=until, look=look, random=random)
        return replace(effect, throttled_since=since, block=new)
    return Effect(
        Status.PENDING, "throttle", until, failures=claim.failures, throttled_since=since, block=new,
        look_first=look,
    )  # fmt: skip


def _held(error: DeliveryError, *, now: int, block: Block | None) -> Block:
    reason = HELD[error.kind]
    step = block.step + 1 if block is not None and block.reason is reason else 0
    if reason is BlockReason.DEACTIVATED:
        return Block(reason, None, step, error.message)
    return Block(reason, now + micros(_probe_delay(step)), step, error.message)


def _prolonged(block: Block, now: int) -> Block:
    """The same block for another step."""
    step = block.step + 1
    if block.reason is BlockReason.BREAKER:
        return Block(block.reason, now + probe_delay(step), step, block.message)
    wait = _pause(step) if block.reason is BlockReason.THROTTLED else _probe_delay(step)
    return Block(block.reason, now + micros(wait), step, block.message)


def _pause(step: int) -> float:
    """Seconds of a throttling pause without a stated delay: doubling."""
    return min(THROTTLE_FIRST * 2.0 ** min(step, 20), THROTTLE_LAST)


def _probe_delay(step: int) -> float:
    """Seconds until a held destination is probed."""
    return PROBE_DELAYS[min(step, len(PROBE_DELAYS) - 1)]
