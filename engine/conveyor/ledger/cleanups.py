"""What dead deliveries left at their destinations: parts, temporary files, sessions, to be abandoned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from conveyor.ledger.database import Database, insert_missing
from conveyor.ledger.records import Cleanup, CleanupRecord
from conveyor.ledger.schema import cleanups

_C = cleanups.c
_DUE = (
    sa.select(_C.id, _C.delivery_id, _C.destination, _C.state, _C.attempts, _C.fence)
    .where(_C.done_at.is_(None), _C.next_at <= sa.bindparam("now"))
    .order_by(_C.next_at)
    .limit(sa.bindparam("room"))
    .with_for_update(skip_locked=True)
)
_LEASE = (
    sa.update(cleanups)
    .where(_C.id == sa.bindparam("b_id"), _C.done_at.is_(None))
    .values(next_at=sa.bindparam("b_until"), attempts=_C.attempts + 1)
)
_END = (
    sa.update(cleanups)
    .where(_C.id == sa.bindparam("b_id"), _C.done_at.is_(None))
    .values(next_at=None, done_at=sa.bindparam("b_now"), message=sa.bindparam("b_message"))
)
_AGAIN = (
    sa.update(cleanups)
    .where(_C.id == sa.bindparam("b_id"), _C.done_at.is_(None))
    .values(next_at=sa.bindparam("b_next"), message=sa.bindparam("b_message"))
)
_OF_DELIVERY = (
    sa.select(
        _C.id, _C.delivery_id, _C.destination, _C.attempts, _C.created_at, _C.next_at, _C.done_at, _C.message
    )
    .where(_C.delivery_id == sa.bindparam("id"))
    .order_by(_C.created_at, _C.id)
)
_NEXT = sa.select(sa.func.min(_C.next_at)).where(_C.done_at.is_(None))


class Cleanups:
    """The queue of what must be abandoned; retried until done or given up, and kept as a record."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, delivery_id: str, destination: str, state: bytes, fence: int, now: int, *, why: str, at: int
    ) -> None:
        """Enqueue what an open delivery will not use again. Durable before returning.

        Args:
            delivery_id, destination: Whose it is.
            state: Encrypted.
            fence: The claim under which this was found out.
            now: Microseconds.
            why: One word; what is added twice under one fence for the same reason is one.
            at: When it is due, microseconds.
        """
        row = {**_row(delivery_id, destination, state, fence, now), "next_at": at}
        row["id"] = f"{row['id']}_{why}"
        with self._database.write(durable=True) as connection:
            insert_missing(connection, cleanups, [row])

    def claim(self, now: int, limit: int, lease_until: int) -> list[Cleanup]:
        """Take due cleanups; each comes back at ``lease_until`` unless it is done or failed before."""
        with self._database.write() as connection:
            found = connection.execute(_DUE, {"now": now, "room": limit}).all()
            if found:
                connection.execute(_LEASE, [{"b_id": row[0], "b_until": lease_until} for row in found])
        return [Cleanup(*row[:3], bytes(row[3]), row[4] + 1, row[5]) for row in found]

    def next_due(self) -> int | None:
        """When the earliest open cleanup is due; None when there is none."""
        with self._database.read() as connection:
            due: int | None = connection.execute(_NEXT).scalar()
        return due

    def done(self, cleanup_id: str, now: int, message: str | None = None) -> None:
        """The destination holds nothing of it any more."""
        with self._database.write() as connection:
            connection.execute(_END, {"b_id": cleanup_id, "b_now": now, "b_message": message})

    def failed(self, cleanup_id: str, next_at: int, message: str) -> None:
        """Try again at ``next_at``. To give up, call :meth:`done` with the reason."""
        with self._database.write() as connection:
            connection.execute(_AGAIN, {"b_id": cleanup_id, "b_next": next_at, "b_message": message})

    def get(self, delivery_id: str) -> list[CleanupRecord]:
        """All cleanups of a delivery, oldest first."""
        with self._database.read() as connection:
            found = connection.execute(_OF_DELIVERY, {"id": delivery_id}).all()
        return [CleanupRecord(*row) for row in found]


def enqueue(connection: sa.Connection, items: Sequence[tuple[str, str, bytes, int]], now: int) -> None:
    """Add cleanups inside a transaction that ends deliveries.

    Args:
        connection: The open write transaction.
        items: (delivery id, destination, encrypted state, fence under which it was saved). One per delivery
            and fence; the same twice is one.
        now: Microseconds.
    """
    insert_missing(connection, cleanups, [_row(*item, now) for item in items])


def _row(delivery_id: str, destination: str, state: bytes, fence: int, now: int) -> dict[str, Any]:
    return {
        "id": f"cln_{delivery_id.removeprefix('dlv_')}_{fence}",
        "delivery_id": delivery_id,
        "destination": destination,
        "state": state,
        "fence": fence,
        "created_at": now,
        "next_at": now,
    }
