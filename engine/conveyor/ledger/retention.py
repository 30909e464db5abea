"""What the ledger forgets: attempts of deliveries that have long been final."""

from __future__ import annotations

import sqlalchemy as sa

from conveyor.ledger.database import Database
from conveyor.ledger.schema import attempts, deliveries

_A, _D = attempts.c, deliveries.c
_OLD = (
    sa.select(_A.delivery_id, _A.attempt)
    .join(deliveries, _D.id == _A.delivery_id)
    .where(_A.started_at < sa.bindparam("before"), _D.finished_at < sa.bindparam("before"))
    .order_by(_A.started_at)
    .limit(sa.bindparam("room"))
)
_DELETE = sa.delete(attempts).where(
    _A.delivery_id == sa.bindparam("b_id"), _A.attempt == sa.bindparam("b_attempt")
)


class Retention:
    """Deletes in small batches, so that no writer waits long."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def attempts(self, before: int, limit: int) -> int:
        """Delete attempts of deliveries that became final before ``before``. Returns how many, ≤ ``limit``.

        Attempts of open deliveries stay, however old. A delivery that is replayed meanwhile loses attempts of
        earlier cycles only, which were due to go anyway.
        """
        with self._database.read() as connection:
            found = connection.execute(_OLD, {"before": before, "room": limit}).all()
        if found:
            with self._database.write() as connection:
                connection.execute(_DELETE, [{"b_id": row[0], "b_attempt": row[1]} for row in found])
        return len(found)
