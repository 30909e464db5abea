"""What a ledger out of a backup has to know before anybody works on it: the world went on without it.

The machine that it comes from may be dead, or may have delivered for a while after the backup. So nobody
holds a claim or a lease; whatever is not known to have arrived is looked for at its destination before it is
sent; and fences begin beyond any that were given out since, since names of temporary files carry them.
"""

from __future__ import annotations

import sqlalchemy as sa

from conveyor.ledger.records import Status
from conveyor.ledger.schema import deliveries, leases
from conveyor.ledger.sqlite import SqliteDatabase
from conveyor.ledger.transitions import is_
from conveyor.ledger.workers import Workers

LEAP = 1_000_000
"""Claims that one delivery surely did not have between backup and loss."""

_LOOK = sa.update(deliveries).where(sa.not_(is_(Status.DELIVERED))).values(look_first=sa.true())
_FENCES = sa.update(deliveries).values(fence=deliveries.c.fence + LEAP)


def revive(database: SqliteDatabase, now: int) -> None:
    """Prepare a copy of a ledger for its new life; before anybody else sees it.

    Args:
        database: The copy.
        now: Microseconds; what was being delivered is due then.
    """
    Workers(database).reap(now, dead=lambda worker: True, delay=lambda lost: 0)
    with database.write() as connection:
        connection.execute(sa.delete(leases))
        connection.execute(_LOOK)
        connection.execute(_FENCES)
