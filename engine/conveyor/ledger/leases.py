"""Leases by name: what only one process should do at a time, held by a row with an end.

Rows rather than advisory locks, which belong to a session that a pooler may give to somebody else. A lease
says who leads, never who owns a delivery: that is for fences.
"""

from __future__ import annotations

import sqlalchemy as sa

from conveyor.ledger.database import Database, insert_missing
from conveyor.ledger.schema import leases

_L = leases.c
_ONE = _L.name == sa.bindparam("b_name")
_GET = sa.select(_L.holder, _L.lease_until).where(_ONE)
_TAKE = (
    sa.update(leases)
    .where(
        _ONE,
        sa.or_(
            _L.holder.in_((sa.bindparam("b_holder"), sa.bindparam("b_dead"))),
            _L.lease_until <= sa.bindparam("b_now"),
        ),
    )
    .values(holder=sa.bindparam("b_holder"), lease_until=sa.bindparam("b_until"))
)
_RELEASE = sa.delete(leases).where(_ONE, _L.holder == sa.bindparam("b_holder"))


class Leases:
    """Who does what, and until when."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, name: str, holder: str, until: int, now: int, *, dead: str | None = None) -> bool:
        """Take a lease or renew it.

        Args:
            name: What for.
            holder: Who.
            until: Its end, microseconds.
            now: Microseconds; a lease whose end has passed is free.
            dead: A holder that is known to be dead: its lease is free too.

        Returns:
            Whether ``holder`` has it now.
        """
        values = {"b_name": name, "b_holder": holder, "b_until": until, "b_now": now, "b_dead": dead}
        with self._database.write(quiet=True) as connection:
            if connection.execute(_TAKE, values).rowcount == 1:
                return True
            insert_missing(connection, leases, [{"name": name, "holder": holder, "lease_until": until}])
            found = connection.execute(_GET, {"b_name": name}).first()
            return found is not None and bool(found[0] == holder)  # it may be given up this moment

    def holder(self, name: str, now: int) -> str | None:
        """Who has a lease; None when nobody has."""
        found = self.last(name)
        return None if found is None or found[1] <= now else found[0]

    def last(self, name: str) -> tuple[str, int] | None:
        """Who had a lease last, and its end, which may have passed."""
        with self._database.read() as connection:
            row = connection.execute(_GET, {"b_name": name}).first()
        return None if row is None else (row[0], row[1])

    def release(self, name: str, holder: str) -> None:
        """Give a lease up; somebody else's stays."""
        with self._database.write(quiet=True) as connection:
            connection.execute(_RELEASE, {"b_name": name, "b_holder": holder})
