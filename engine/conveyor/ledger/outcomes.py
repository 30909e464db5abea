"""Outcomes: what attempts came to, written for a whole group in one transaction, each under its fence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from conveyor.breaker import NOTHING, UNBROKEN, is_failure, probe_delay
from conveyor.clock import SECOND
from conveyor.errors import LedgerError
from conveyor.ledger import rows
from conveyor.ledger.cleanups import enqueue
from conveyor.ledger.database import Database
from conveyor.ledger.health import LOCK, lock
from conveyor.ledger.prepared import Prepared, Values, among, together
from conveyor.ledger.records import AttemptOutcome, AttemptReport, Block, BlockReason, Health, Status
from conveyor.ledger.schema import attempts, deliveries, health
from conveyor.ledger.transitions import Move, move, stands_at

_D = deliveries.c

_HELD = Prepared(
    sa.select(_D.id, _D.fence, _D.probe, _D.state, _D.revision, _D.replay)
    .where(among(_D.id, "ids"), stands_at(Status.DELIVERING))
    .order_by(_D.id)
    .with_for_update()
)

_NO_WORD_OF_IT = frozenset({AttemptOutcome.GIVEN_BACK, AttemptOutcome.PUT_OFF})
"""Outcomes that say nothing of the destination."""

_COUNTS: dict[str, Any] = {
    "failures": sa.bindparam("b_failures"),
    "lost_in_a_row": sa.bindparam("b_lost"),
    "throttled_since": sa.bindparam("b_throttled"),
    "look_first": sa.bindparam("b_look"),
    "last_error": sa.bindparam("b_error"),
    "last_error_kind": sa.bindparam("b_kind"),
}
_CLOSED: dict[str, Any] = {"state": sa.null(), "receipt": sa.bindparam("b_receipt")}

_LAST_ERROR: dict[str, Any] = {
    # What was given back says nothing of the destination: its last error stands.
    "last_error": sa.func.coalesce(sa.bindparam("b_error", type_=sa.Text), _D.last_error),
    "last_error_kind": sa.func.coalesce(sa.bindparam("b_kind", type_=sa.Text), _D.last_error_kind),
}

_MOVES = {
    Status.DELIVERED: Prepared(move(Move.DELIVER).values(**_COUNTS, **_CLOSED)),
    Status.FAILED: Prepared(move(Move.FAIL).values(**_COUNTS, **_CLOSED)),
    Status.PENDING: Prepared(
        move(Move.RETRY).values(
            **{**_COUNTS, **_LAST_ERROR},
            next_attempt_at=sa.bindparam("b_next"),
            hold_reason=sa.bindparam("b_hold"),
            held_since=sa.bindparam("b_held_since"),
        )
    ),
}

_END_ATTEMPT = Prepared(
    sa.update(attempts)
    .where(attempts.c.delivery_id == sa.bindparam("b_id"), attempts.c.attempt == sa.bindparam("b_attempt"))
    .values(
        finished_at=sa.bindparam("b_finished"),
        outcome=sa.bindparam("b_outcome"),
        charged=sa.bindparam("b_charged"),
        kind=sa.bindparam("b_kind"),
        message=sa.bindparam("b_error"),
        hint=sa.bindparam("b_hint"),
        code=sa.bindparam("b_code"),
        response=sa.bindparam("b_response"),
        bytes_sent=sa.bindparam("b_bytes"),
        timings=sa.bindparam("b_timings"),
        reference=sa.bindparam("b_reference"),
        follows=sa.bindparam("b_follows"),
        next_attempt_at=sa.bindparam("b_next"),
    )
)

_HEALTH_FIELDS = (
    "block_reason",
    "block_until",
    "block_step",
    "block_message",
    "blocked_since",
    "block_revision",
    "last_delivered_at",
    "last_failed_at",
    "last_error",
    "recent",
    "failing_since",
    "failing_attempts",
)
_SET_HEALTH = Prepared(
    sa.update(health)
    .where(health.c.destination == sa.bindparam("b_destination"))
    .values({name: sa.bindparam(f"b_{name}") for name in _HEALTH_FIELDS})
)


class Outcomes:
    """Completes attempts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, reports: Sequence[AttemptReport], now: int) -> list[AttemptReport]:
        """Write the outcome of attempts, all or none.

        Sets status, counters, due time, receipt and error; completes the attempt rows; blocks or clears
        destinations; hands saved state to the cleanups where a report asks for it.

        Args:
            reports: At most one per delivery.
            now: Microseconds.

        Returns:
            What was written. Missing are reports of deliveries that somebody else owns by now (reaped,
            cancelled, replayed); a failure at a destination whose breaker is open was not charged.
        """
        if not reports:
            return []
        with self._database.write(quiet=True) as connection:
            found = _HELD.rows(connection, {"ids": [report.delivery_id for report in reports]})
            held = {row[0]: row for row in found}
            mine = [r for r in reports if r.delivery_id in held and held[r.delivery_id][1] == r.fence]
            if not mine:
                return []
            certain = [report for report in mine if not _speaks_against(report)]
            # All processes queue for the lock of a destination's health: it is taken as late as can be.
            names = _concerned(mine)
            (found,) = _write(connection, certain, held, now, then=[(LOCK, {"ids": names})])
            known = lock(connection, names, found.fetchall())
            counted = _set_health(connection, mine, held, known, now)
            if failures := [report for report in counted if _speaks_against(report)]:
                _write(connection, failures, held, now)
        return counted


def _concerned(mine: Sequence[AttemptReport]) -> list[str]:
    """The destinations whose health the reports may change, in the order of their locks."""
    others = {name for report in mine if report.block is not None for name, _ in report.shared_with}
    return sorted(others.union(report.destination for report in mine))


def _write(
    connection: sa.Connection,
    mine: Sequence[AttemptReport],
    held: Mapping[str, Sequence[Any]],
    now: int,
    *,
    then: Sequence[tuple[Prepared, Values]] = (),
) -> Sequence[Any]:
    """Write what became of deliveries and attempts, then ask; returns the driver's answers."""
    enqueue(
        connection,
        [
            (report.delivery_id, report.destination, bytes(held[report.delivery_id][3]), report.fence)
            for report in mine
            if report.cleanup and held[report.delivery_id][3] is not None
        ],
        now,
    )
    steps: list[tuple[Prepared, Any]] = [
        (statement, changed)
        for status, statement in _MOVES.items()
        if (changed := [_delivery_row(report, now) for report in mine if report.status is status])
    ]
    moves = len(steps)
    if mine:
        steps.append((_END_ATTEMPT, [_attempt_row(report) for report in mine]))
    answers = together(connection, [*steps, *then])
    if sum(answer.rowcount for answer in answers[:moves]) != len(mine):
        raise LedgerError("an outcome did not fit the delivery's status", cure="report this: it is a defect")
    return answers[len(steps) :]


def _delivery_row(report: AttemptReport, now: int) -> dict[str, Any]:
    row = {
        "b_id": report.delivery_id,
        "b_fence": report.fence,
        "b_now": now,
        "b_failures": report.failures,
        "b_lost": report.lost_in_a_row,
        "b_throttled": report.throttled_since,
        "b_look": report.look_first,
        "b_error": None if report.outcome in _NO_WORD_OF_IT else report.message,
        "b_kind": None if report.kind is None else report.kind.value,
    }
    if report.status is Status.PENDING:
        row["b_next"] = now if report.next_attempt_at is None else report.next_attempt_at
        row["b_hold"] = report.hold_reason
        row["b_held_since"] = report.held_since
    else:
        row["b_receipt"] = rows.dump_map(report.receipt)
    return row


def _attempt_row(report: AttemptReport) -> dict[str, Any]:
    receipt = report.receipt
    return {
        "b_id": report.delivery_id,
        "b_attempt": report.attempt,
        "b_finished": report.finished_at,
        "b_outcome": report.outcome.value,
        "b_charged": report.charged,
        "b_kind": None if report.kind is None else report.kind.value,
        "b_error": report.message,
        "b_hint": report.hint,
        "b_code": report.code,
        "b_response": report.response,
        "b_bytes": report.bytes_sent,
        "b_timings": rows.dump_map(report.timings),
        "b_reference": None if receipt is None else receipt.get("reference"),
        "b_follows": report.follows,
        "b_next": report.next_attempt_at if report.status is Status.PENDING else None,
    }


def _set_health(
    connection: sa.Connection,
    mine: Sequence[AttemptReport],
    held: Mapping[str, Sequence[Any]],
    known: Mapping[str, Health],
    now: int,
) -> list[AttemptReport]:
    """Write what the reports say of their destinations; returns them as they count after that."""
    by_destination: dict[str, list[AttemptReport]] = {}
    shared: dict[str, list[tuple[Block, str]]] = {}
    for report in sorted(mine, key=lambda report: report.finished_at):
        by_destination.setdefault(report.destination, []).append(report)
        if report.block is not None:
            for name, revision in report.shared_with:
                shared.setdefault(name, []).append((report.block, revision))
    values, counted = [], []
    for name in sorted(known):
        before = after = known[name]
        reports = by_destination.get(name, [])
        plain = 0 if before.block else _plain(reports, held)
        after = succeeded(after, reports[:plain])
        counted += reports[:plain]
        for report in reports[plain:]:
            row = held[report.delivery_id]
            after = applied(
                after, report, probe=bool(row[2]), revision=row[4], now=now, replayed=row[5] is not None
            )
            counted.append(charged_to(after, report))
        for block, revision in shared.get(name, ()):
            after = also_blocked(after, block, revision=revision, now=now)
        if after != before:
            values.append(_health_row(after))
    if values:
        _SET_HEALTH.run_each(connection, values)
    return counted


def _plain(reports: Sequence[AttemptReport], held: Mapping[str, Sequence[Any]]) -> int:
    """How many of them, from the first one on, are successes under the same rules, none replayed in bulk."""
    count = 0
    for report in reports:
        if report.status is not Status.DELIVERED or not report.clears_block:
            break
        if report.breaker != reports[0].breaker or held[report.delivery_id][5] is not None:
            break
        count += 1
    return count


def succeeded(known: Health, reports: Sequence[AttemptReport]) -> Health:
    """What :func:`applied` makes of successes at a destination that nothing blocks. Pure."""
    if not reports:
        return known
    ends = [report.finished_at for report in reports]
    after = replace(known, last_delivered_at=max(known.last_delivered_at or 0, ends[-1]))
    policy = reports[0].breaker
    if policy is None:
        return after
    return replace(after, recent=known.recent.served_at(ends, policy.window), streak=UNBROKEN)


def applied(
    known: Health,
    report: AttemptReport,
    *,
    probe: bool,
    revision: str | None,
    now: int,
    replayed: bool = False,
) -> Health:
    """A destination's health after one report. Pure.

    A report is *fresh* when its attempt was the probe or began after the block did. Only a fresh one clears a
    block or takes it a step further; a stale one, of an attempt that was under way when the block began, can
    only keep it for longer. What was replayed in bulk blocks and clears, but is no figure of its health.
    """
    delivered, failed, error = known.last_delivered_at, known.last_failed_at, known.last_error
    if replayed:
        pass
    elif report.status is Status.DELIVERED:
        delivered = max(delivered or 0, report.finished_at)
    elif report.kind is not None:
        failed, error = max(failed or 0, report.finished_at), report.message
    block, since, under = known.block, known.blocked_since, known.block_revision
    recent = known.recent
    fresh = probe or since is None or report.started_at > since
    # A failure that makes no block of its own goes on with the one it probed: which a person, or an edit, may
    # have ended meanwhile.
    ended = block is None and _speaks_against(report)
    if report.block is not None and not ended:
        if block is None or fresh:
            block, under = report.block, revision
            since = now if since is None else since
        else:
            block = _kept(block, report.block)
    elif report.clears_block and fresh and block is not None:
        block, since, under, recent = None, None, None, NOTHING
    after = replace(
        known,
        block=block,
        blocked_since=since,
        block_revision=under,
        last_delivered_at=delivered,
        last_failed_at=failed,
        last_error=error,
        recent=recent,
    )
    return after if replayed else _counted(after, report, revision=revision, now=now)


def _counted(known: Health, report: AttemptReport, *, revision: str | None, now: int) -> Health:
    """With what the report says of the destination itself: its breaker opens, or it is given up."""
    policy = report.breaker
    broke = _speaks_against(report)
    if policy is None or not (broke or report.clears_block):
        return known
    streak = known.streak.counted(broke, report.finished_at)
    recent, reason = known.recent, None if known.block is None else known.block.reason
    if reason is None:
        recent = recent.counted(broke, report.finished_at, policy.window)
    block, error = None, report.message or ""
    if broke and reason in (None, BlockReason.BREAKER) and streak.is_over(policy, now):
        days = (now - (streak.since or now)) / SECOND / 86400
        text = f"nothing has arrived for {days:.1f} days, {streak.attempts} attempts failed; the last one: "
        block = Block(BlockReason.DEACTIVATED, None, 0, text + error)
    elif broke and reason is None and (opened := recent.opens(policy)) is not None:
        text = f"{opened[0]} of the last {opened[1]} attempts failed; the last one: "
        block = Block(BlockReason.BREAKER, now + probe_delay(0), 0, text + error)
    if block is None:
        return replace(known, recent=recent, streak=streak)
    since = now if known.blocked_since is None else known.blocked_since
    return replace(
        known, block=block, blocked_since=since, block_revision=revision, recent=NOTHING, streak=streak
    )


def _speaks_against(report: AttemptReport) -> bool:
    """Whether it is a failure of the destination: only what is may count otherwise under an open breaker."""
    return report.kind is not None and is_failure(report.kind, report.code)


def charged_to(known: Health, report: AttemptReport) -> AttemptReport:
    """The report as it counts at a destination of this health. Pure.

    While a breaker is open nothing is charged and nothing fails for what speaks against the destination: not
    either what was under way when it opened, and what opened it.
    """
    block = known.block
    broken = block is not None and block.reason in (BlockReason.BREAKER, BlockReason.DEACTIVATED)
    if not broken or not _speaks_against(report):
        return report
    if report.status is Status.PENDING and not report.charged:
        return report
    return replace(
        report,
        status=Status.PENDING,
        charged=False,
        failures=report.failures - report.charged,
        follows="hold",
        next_attempt_at=report.finished_at,
        cleanup=False,
    )


def also_blocked(known: Health, block: Block, *, revision: str | None, now: int) -> Health:
    """A destination's health after another one of the same account was blocked. Pure.

    It keeps what holds it already, for as long as the account is blocked at least.
    """
    own = known.block
    if own is None:
        began = Block(block.reason, block.until, 0, block.message)
        return replace(known, block=began, blocked_since=now, block_revision=revision)
    return replace(known, block=_kept(own, block))


def _kept(own: Block, other: Block) -> Block:
    """What holds already, for as long as the other one would; what only a person ends takes its place."""
    if own.until is None:
        return own
    return other if other.until is None else replace(own, until=max(own.until, other.until))


def _health_row(after: Health) -> dict[str, Any]:
    block = after.block
    return {
        "b_destination": after.destination,
        "b_block_reason": None if block is None else block.reason.value,
        "b_block_until": None if block is None else block.until,
        "b_block_step": 0 if block is None else block.step,
        "b_block_message": None if block is None else block.message,
        "b_blocked_since": after.blocked_since,
        "b_block_revision": after.block_revision,
        "b_last_delivered_at": after.last_delivered_at,
        "b_last_failed_at": after.last_failed_at,
        "b_last_error": after.last_error,
        "b_recent": rows.dump_recent(after.recent),
        "b_failing_since": after.streak.since,
        "b_failing_attempts": after.streak.attempts,
    }
