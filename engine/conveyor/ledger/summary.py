"""Destinations in numbers. Each query reads one index only."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from conveyor.clock import SECOND
from conveyor.ledger.records import Status, Tally
from conveyor.ledger.schema import deliveries, replays
from conveyor.ledger.transitions import is_

DAY = 24 * 3600 * SECOND

_D = deliveries.c
_PENDING = (
    sa.select(
        _D.destination,
        sa.func.count().label("pending"),
        sa.func.sum(sa.case((_D.failures > 0, 1), else_=0)).label("retrying"),
        sa.func.count(_D.hold_reason).label("held_by_hooks"),
        sa.func.min(_D.created_at).label("oldest_pending"),
        sa.func.min(_D.next_attempt_at).label("next_due"),
    )
    .where(is_(Status.PENDING))
    .group_by(_D.destination)
)
_DELIVERING = (
    sa.select(_D.destination, sa.func.count().label("delivering"))
    .where(is_(Status.DELIVERING))
    .group_by(_D.destination)
)
_FINISHED = (
    sa.select(_D.destination, _D.status, sa.func.count())
    .where(_D.finished_at.is_not(None))
    .group_by(_D.destination, _D.status)
)
_LAST_DAY = _FINISHED.where(_D.finished_at > sa.bindparam("since"))
_REPLAYED_LAST_DAY = (
    sa.select(_D.destination, _D.status, sa.func.count())
    .where(
        _D.replay.in_(
            sa.select(replays.c.id).where(
                sa.or_(
                    replays.c.finished_at.is_(None),
                    replays.c.finished_at > sa.bindparam("since"),
                    # What was in line when it was cancelled went on.
                    replays.c.state == sa.literal_column("'cancelled'"),
                )
            )
        ),
        # What is computed has no index: few were replayed, and many finished.
        _D.finished_at + 0 > sa.bindparam("since", type_=sa.BigInteger),
    )
    .group_by(_D.destination, _D.status)
)
"""What was replayed in bulk tells of old troubles, not of how a destination does."""

_COUNTED_BY_DAY = (Status.DELIVERED, Status.FAILED)


def tallies(connection: sa.Connection, now: int) -> dict[str, Tally]:
    """Count by destination. A full count of what is final; seconds for tens of millions."""
    numbers: dict[str, dict[str, Any]] = {}
    for statement in (_PENDING, _DELIVERING):
        for row in connection.execute(statement):
            values = row._asdict()
            numbers.setdefault(values.pop("destination"), {}).update(values)
    for destination, status, count in connection.execute(_FINISHED):
        numbers.setdefault(destination, {})[status] = count
    for destination, status, count in connection.execute(_LAST_DAY, {"since": now - DAY}):
        if status in _COUNTED_BY_DAY:
            numbers[destination][f"{status}_last_day"] = count
    for destination, status, count in connection.execute(_REPLAYED_LAST_DAY, {"since": now - DAY}):
        if status in _COUNTED_BY_DAY:
            numbers[destination][f"{status}_last_day"] -= count
    return {name: Tally(name, **values) for name, values in sorted(numbers.items())}
