"""Replaying deliveries inside a transaction: the same row in a new cycle, or a new row linked to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from conveyor import ids
from conveyor.ledger.cancels import cancel
from conveyor.ledger.ranks import REPLAYED
from conveyor.ledger.records import OPEN, PayloadState, Status
from conveyor.ledger.schema import deliveries
from conveyor.ledger.transitions import Move, is_, move

if TYPE_CHECKING:
    from conveyor.clock import Clock

_D = deliveries.c
_THERE = sa.select(_D.job_id, _D.status).where(
    _D.job_id.in_(sa.bindparam("jobs", expanding=True)), _D.destination == sa.bindparam("destination")
)
_LEFT_SOMETHING = sa.and_(is_(Status.PENDING), sa.or_(_D.state.is_not(None), _D.look_first))
_AGAIN = move(Move.REPLAY).values(
    cycle=_D.cycle + 1,
    failures=0,
    lost_in_a_row=0,
    throttled_since=sa.null(),
    # What is known to have arrived would be found, and never be sent again.
    look_first=sa.and_(_D.look_first, sa.not_(is_(Status.DELIVERED))),
    # Rendered anew, unless an unfinished upload belongs to the old path.
    path=sa.case((_LEFT_SOMETHING, _D.path), else_=sa.null()),
    conflict=sa.case((_LEFT_SOMETHING, _D.conflict), else_=sa.null()),
    next_attempt_at=sa.bindparam("b_now"),
    expires_at=sa.bindparam("b_expires"),
    receipt=sa.null(),
    last_error=sa.null(),
    last_error_kind=sa.null(),
    hold_reason=sa.null(),
    held_since=sa.null(),
    replay=sa.bindparam("b_replay"),
)
_IN_BULK = _AGAIN.values(priority=REPLAYED)
# A single one is wanted now, also when it was once replayed in bulk.
_SINGLY = _AGAIN.values(priority=sa.case((_D.priority < 0, 0), else_=_D.priority))
_INSERT = sa.insert(deliveries)


class Replay:
    """The order to deliver again. See :meth:`conveyor.ledger.orders.Orders.replay`.

    ``bulk`` is the replay in bulk that it belongs to: what it turns stands behind what is submitted.
    """

    def __init__(
        self,
        clock: Clock,
        now: int,
        expires: Callable[[str], int],
        *,
        force: bool,
        new_id: bool,
        to: tuple[str, str] | None,
        bulk: str | None = None,
    ) -> None:
        self._clock = clock
        self._now = now
        self._expires = expires
        self._force = force
        self._new_row = new_id or to is not None
        self._to = to
        self._bulk = bulk

    def refused(self, connection: sa.Connection, some: Sequence[Any]) -> dict[str, str]:
        """Those that cannot, or need not, be delivered again."""
        reasons: dict[str, str] = {}
        there = self._there(connection, some)
        for row in some:
            reason = self._reason(row) or there.get(row.job_id)
            if reason is not None:
                reasons[row.id] = reason
            elif self._to is not None:
                there[row.job_id] = f"already sent to {self._to[0]} by this order"
        return reasons

    def carry_out(self, connection: sa.Connection, some: Sequence[Any]) -> list[str]:
        """Start a new cycle, or make new deliveries and cancel the open ones that they replace."""
        if not some:
            return []
        if self._new_row:
            cancel(connection, [row for row in some if row.status in OPEN], self._now)
            new = [self._new(row) for row in some]
            connection.execute(_INSERT, new)
            return [row["id"] for row in new]
        changes = [
            {
                "b_id": row.id,
                "b_fence": row.fence,
                "b_now": self._now,
                "b_expires": self._expires(row.destination),
                "b_replay": self._bulk,
            }
            for row in some
        ]
        connection.execute(_SINGLY if self._bulk is None else _IN_BULK, changes)
        return [row.id for row in some]

    def _reason(self, row: Any) -> str | None:
        if row.payload_state != PayloadState.PRESENT:
            return "its payload was removed by retention"
        if row.status == Status.DELIVERING:
            return "being delivered"
        if row.status == Status.DELIVERED and not self._force:
            return "already delivered (--force delivers it again)"
        return None

    def _there(self, connection: sa.Connection, some: Sequence[Any]) -> dict[str, str]:
        """Jobs that the other destination already has or is about to get, with the reason."""
        if self._to is None or not some:
            return {}
        name = self._to[0]
        found = connection.execute(
            _THERE, {"jobs": sorted({row.job_id for row in some}), "destination": name}
        )
        reasons: dict[str, str] = {}
        for job_id, status in found:
            if status in OPEN:
                reasons[job_id] = f"already on its way to {name}"
            elif status == Status.DELIVERED and not self._force:
                reasons.setdefault(job_id, f"already delivered to {name} (--force delivers it again)")
        return reasons

    def _new(self, row: Any) -> dict[str, Any]:
        destination, kind = self._to or (row.destination, row.type)
        return {
            "id": ids.new("dlv", self._clock),
            "job_id": row.job_id,
            "destination": destination,
            "type": kind,
            "next_attempt_at": self._now,
            "created_at": self._now,
            "updated_at": self._now,
            "expires_at": self._expires(destination),
            "replay_of": row.id,
            "replay": self._bulk,
            "priority": 0 if self._bulk is None else REPLAYED,
        }
