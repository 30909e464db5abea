"""Which bytes a ledger speaks of, for a backup that takes them along; and what is told it about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from conveyor.ledger import rows
from conveyor.ledger.database import Database
from conveyor.ledger.filters import chunks
from conveyor.ledger.records import PayloadRecord, PayloadState, Status
from conveyor.ledger.schema import deliveries, payloads

BATCH = 500
"""Payloads at a time."""

_P = payloads.c
_COLUMNS = [payloads.c[column.name] for column in rows.PAYLOAD_COLUMNS]
_PRESENT = _P.state == sa.literal_column("'present'")
_SUM = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(_P.size), 0)).where(_PRESENT)
_IN_PLACE = sa.select(_P.location).where(_PRESENT, _P.in_place).order_by(_P.id).limit(sa.bindparam("room"))
_STATES = sa.select(_P.id, _P.state).where(_P.id.in_(sa.bindparam("ids", expanding=True)))
_GONE = (
    sa.update(payloads)
    .where(_P.id.in_(sa.bindparam("ids", expanding=True)), _PRESENT)
    .values(state=PayloadState.REMOVED.value)
)
_FINGERPRINT = (
    sa.update(payloads).where(_P.id == sa.bindparam("b_id")).values(fingerprint=sa.bindparam("b_fingerprint"))
)


class Inventory:
    """The payloads that a ledger promises.

    Args:
        database: The ledger's; its tables may be of an older version, which a backup leaves as they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.read() as connection:
            self._known = {column["name"] for column in sa.inspect(connection).get_columns(payloads.name)}

    def stored(self) -> Iterator[list[PayloadRecord]]:
        """Those that lie in the payload store, in batches, by id."""
        columns = [column if column.name in self._known else sa.null() for column in _COLUMNS]
        question = (
            sa.select(*columns)
            .where(_PRESENT, sa.not_(_P.in_place), _P.id > sa.bindparam("after"))
            .order_by(_P.id)
            .limit(BATCH)
        )
        after = ""
        while True:
            with self._database.read() as connection:
                found = [rows.payload_from(row) for row in connection.execute(question, {"after": after})]
            if not found:
                return
            yield found
            after = found[-1].id

    def amount(self, *, in_place: bool) -> tuple[int, int]:
        """How many there are, and their bytes: in the store, or where their submitters have them."""
        with self._database.read() as connection:
            count, size = connection.execute(_SUM.where(_P.in_place == in_place)).one()
        return int(count), int(size)

    def in_place(self, limit: int) -> list[str]:
        """Paths of files that were submitted in place; at most so many."""
        with self._database.read() as connection:
            return list(connection.execute(_IN_PLACE, {"room": limit}).scalars())

    def states(self, ids: Sequence[str]) -> dict[str, PayloadState]:
        """The state of each of these payloads that is known here."""
        found: dict[str, PayloadState] = {}
        with self._database.read() as connection:
            for some in chunks(list(ids)):
                for ident, state in connection.execute(_STATES, {"ids": some}):
                    found[ident] = PayloadState(state)
        return found

    def without(self, ids: Sequence[str]) -> None:
        """Of a copy: these are not in it."""
        statement = _GONE.values(sealed_key=None) if _P.sealed_key.name in self._known else _GONE
        with self._database.write() as connection:
            for some in chunks(list(ids)):
                connection.execute(statement, {"ids": some})

    def restored(self, payloads: Sequence[PayloadRecord]) -> None:
        """Of a copy: this is how they lie in their new store."""
        values = [{"b_id": each.id, "b_fingerprint": each.fingerprint} for each in payloads]
        if values:
            with self._database.write() as connection:
                connection.execute(_FINGERPRINT, values)

    def deliveries(self) -> dict[Status, int]:
        """How many there are, by status."""
        counted = sa.select(deliveries.c.status, sa.func.count()).group_by(deliveries.c.status)
        with self._database.read() as connection:
            return {Status(row[0]): row[1] for row in connection.execute(counted)}
