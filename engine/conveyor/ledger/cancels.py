"""Cancelling deliveries inside a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from conveyor.ledger.cleanups import enqueue
from conveyor.ledger.records import OPEN, AttemptOutcome, Status
from conveyor.ledger.schema import attempts, deliveries
from conveyor.ledger.transitions import Move, is_, move

_CANCEL = move(Move.CANCEL).values(
    state=sa.null(),
    # An attempt under way may be past its last look at the fence: the file may arrive all the same.
    look_first=sa.or_(deliveries.c.look_first, is_(Status.DELIVERING)),
)
_END_ATTEMPT = (
    sa.update(attempts)
    .where(
        attempts.c.delivery_id == sa.bindparam("b_id"),
        attempts.c.attempt == sa.bindparam("b_attempt"),
        attempts.c.outcome == AttemptOutcome.RUNNING.value,
    )
    .values(outcome=AttemptOutcome.CANCELLED.value, finished_at=sa.bindparam("b_now"), follows="final")
)


def cancel(connection: sa.Connection, some: Sequence[Any], now: int) -> None:
    """Cancel open deliveries, locked rows with ``id, destination, state, fence, attempt``."""
    if not some:
        return
    left = [(row.id, row.destination, bytes(row.state), row.fence) for row in some if row.state is not None]
    enqueue(connection, left, now)
    connection.execute(_CANCEL, [{"b_id": row.id, "b_fence": row.fence, "b_now": now} for row in some])
    connection.execute(
        _END_ATTEMPT, [{"b_id": row.id, "b_attempt": row.attempt, "b_now": now} for row in some]
    )


class Cancel:
    """The order to cancel."""

    def __init__(self, now: int) -> None:
        self._now = now

    def refused(self, connection: sa.Connection, some: Sequence[Any]) -> dict[str, str]:
        """Those that are final already."""
        return {row.id: f"already {row.status}" for row in some if row.status not in OPEN}

    def carry_out(self, connection: sa.Connection, some: Sequence[Any]) -> list[str]:
        """Cancel them."""
        cancel(connection, some, self._now)
        return [row.id for row in some]
