"""Every destination at a glance, and what a monitor should be told of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from conveyor.clock import SECOND
from conveyor.holds import Reason
from conveyor.ledger.records import Health, Tally
from conveyor.status.reasons import Standing, cure_of, is_held
from conveyor.status.times import iso

if TYPE_CHECKING:
    from conveyor.config import Destination, DestinationSource

OK = "ok"
HELD = "held"
THROTTLED = "throttled"
"""States of a destination."""

_COUNTED = (
    *("pending", "retrying", "held_by_hooks", "delivering", "delivered", "failed", "cancelled"),
    *("delivered_last_day", "failed_last_day"),
)


@dataclass(frozen=True, slots=True)
class Countdown:
    """Until a destination at which everything fails is deactivated.

    Attributes:
        failing_since: The first failure after the last success.
        failed_attempts: Since then.
        at: When it is deactivated, at the earliest.
        seconds_left: Until then.
        attempts_left: How many more have to fail for that.
    """

    failing_since: str | None
    failed_attempts: int
    at: str | None
    seconds_left: float
    attempts_left: int


@dataclass(frozen=True, slots=True)
class DestinationStatus:
    """One destination. Times are ISO 8601 UTC.

    Attributes:
        type: None when it is not configured any more.
        state: ``ok``, ``throttled`` or ``held``; ``reason`` says why: ``paused``, ``needs_login`` …
        detail: The note of the pause, the error that blocks it, the mistake in its config.
        cure: What ends it.
        probe_at: When a blocked one is tried again by itself.
        held_by_hooks: Of the pending ones, those that a plugin holds, whatever the destination's state.
        success_rate: Of what became final in the last day, from 0 to 1; None when nothing did.
        oldest_waiting_at: Submission of the oldest pending delivery; its age is ``oldest_waiting_seconds``.
        next_due_at: When the next attempt may begin; None when nothing waits or a person has to act first.
        deactivation: What happens if nothing succeeds; None when the last attempt did.
    """

    id: str
    name: str
    type: str | None
    labels: Mapping[str, str]
    state: str
    reason: str | None
    detail: str | None
    cure: str | None
    probe_at: str | None
    pending: int
    retrying: int
    held_by_hooks: int
    delivering: int
    delivered: int
    failed: int
    cancelled: int
    delivered_last_day: int
    failed_last_day: int
    success_rate: float | None
    oldest_waiting_at: str | None
    oldest_waiting_seconds: float | None
    next_due_at: str | None
    last_delivered_at: str | None
    last_failed_at: str | None
    last_error: str | None
    deactivation: Countdown | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something that a monitor should wake a person for: ``failed``, ``held``, ``old`` or ``config``."""

    destination: str
    problem: str
    message: str
    cure: str | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def overview(
    source: DestinationSource,
    health: Mapping[str, Health],
    tallies: Mapping[str, Tally],
    now: int,
    only: Collection[str] | None = None,
) -> list[DestinationStatus]:
    """All destinations in the order of the config, then removed ones that work waits for.

    Args:
        source: The configured ones.
        health: What the ledger knows of each.
        tallies: Their numbers.
        now: Microseconds.
        only: Ids to restrict it to.
    """
    standing = Standing(source, health)
    configured = [destination.id for destination in source.list()]
    removed = [n for n, t in tallies.items() if (t.pending or t.delivering) and source.get(n) is None]
    return [
        _status(name, source.get(name), health.get(name), tallies.get(name, Tally(name)), standing, now)
        for name in (*configured, *removed)
        if only is None or name in only
    ]


def state_of(reason: Reason | None) -> str:
    """``ok``, ``held`` or ``throttled``, by the reason why a destination is not served."""
    return OK if reason is None else HELD if is_held(reason) else THROTTLED


def _status(
    name: str,
    destination: Destination | None,
    health: Health | None,
    tally: Tally,
    standing: Standing,
    now: int,
) -> DestinationStatus:
    reason = standing.hold(name)
    known = health or Health(name)
    probe = known.block.until if known.block is not None and reason == known.block.reason.value else None
    ended = tally.delivered_last_day + tally.failed_last_day
    oldest = tally.oldest_pending
    return DestinationStatus(
        id=name,
        name=name if destination is None else destination.name,
        type=None if destination is None else destination.type,
        labels={} if destination is None else dict(destination.labels),
        state=state_of(reason),
        reason=None if reason is None else reason.value,
        detail=_detail(reason, destination, known),
        cure=cure_of(reason, name, destination),
        probe_at=iso(probe),
        pending=tally.pending,
        retrying=tally.retrying,
        held_by_hooks=tally.held_by_hooks,
        delivering=tally.delivering,
        delivered=tally.delivered,
        failed=tally.failed,
        cancelled=tally.cancelled,
        delivered_last_day=tally.delivered_last_day,
        failed_last_day=tally.failed_last_day,
        success_rate=round(tally.delivered_last_day / ended, 4) if ended else None,
        oldest_waiting_at=iso(oldest),
        oldest_waiting_seconds=None if oldest is None else max(0.0, (now - oldest) / SECOND),
        next_due_at=iso(_next_due(tally, reason, probe)),
        last_delivered_at=iso(known.last_delivered_at),
        last_failed_at=iso(known.last_failed_at),
        last_error=known.last_error,
        deactivation=_countdown(reason, destination, known, now),
    )


def _countdown(
    reason: Reason | None, destination: Destination | None, known: Health, now: int
) -> Countdown | None:
    if destination is None or reason is Reason.DEACTIVATED:
        return None
    ends = known.streak.ends_at(destination.breaker)
    if ends is None:
        return None
    return Countdown(
        failing_since=iso(known.streak.since),
        failed_attempts=known.streak.attempts,
        at=iso(ends),
        seconds_left=max(0.0, (ends - now) / SECOND),
        attempts_left=known.streak.left(destination.breaker),
    )


def _detail(reason: Reason | None, destination: Destination | None, health: Health) -> str | None:
    if reason is Reason.INVALID_CONFIG and destination is not None:
        return str(destination.problem)
    if reason is Reason.PAUSED:
        return health.pause_note
    if health.block is not None and reason == health.block.reason.value:
        return health.block.message
    return None


def _next_due(tally: Tally, reason: Reason | None, probe: int | None) -> int | None:
    if tally.next_due is None or (reason is not None and probe is None):
        return None
    return max(tally.next_due, probe or 0)


def totals(destinations: Iterable[DestinationStatus]) -> dict[str, Any]:
    """All destinations together."""
    some = list(destinations)
    summed: dict[str, Any] = {name: sum(getattr(d, name) for d in some) for name in _COUNTED}
    summed["held"] = sum(d.pending if d.state == HELD else d.held_by_hooks for d in some)
    ended = summed["delivered_last_day"] + summed["failed_last_day"]
    summed["success_rate"] = round(summed["delivered_last_day"] / ended, 4) if ended else None
    return summed


def complaints(destinations: Iterable[DestinationStatus], max_age: float) -> list[Complaint]:
    """What is wrong: failed in the last day, work that is held, work older than ``max_age`` seconds.

    A destination whose config has a mistake is wrong even when nothing waits for it.
    """
    return [complaint for destination in destinations for complaint in _complaints(destination, max_age)]


def _complaints(destination: DestinationStatus, max_age: float) -> Iterable[Complaint]:
    name, age = destination.id, destination.oldest_waiting_seconds
    if destination.failed_last_day:
        message = f"{destination.failed_last_day} failed in the last day"
        if destination.last_error:
            message += f", the last error: {destination.last_error}"
        yield Complaint(name, "failed", message, f"conveyor deliveries --status failed --destination {name}")
    if destination.state == HELD and (destination.pending or destination.reason == Reason.INVALID_CONFIG):
        kind = "held" if destination.pending else "config"
        message = f"{destination.pending} held, " if destination.pending else ""
        message += str(destination.reason)
        message += f": {destination.detail}" if destination.detail else ""
        yield Complaint(name, kind, message, destination.cure)
    elif destination.held_by_hooks:
        message = f"{destination.held_by_hooks} held by plugins"
        yield Complaint(name, "held", message, f"conveyor deliveries --status held --destination {name}")
    elif age is not None and age > max_age:
        message = f"the oldest of {destination.pending} waiting was submitted {age:.0f} s ago"
        yield Complaint(name, "old", message, f"conveyor deliveries --destination {name} --status pending")
