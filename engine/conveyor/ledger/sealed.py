"""Everything in the ledger that lies under a key, and putting all of it under the newest one.

Works while others read and write: in small batches, each value replaced only if it is still the one that was
read. A value that somebody writes meanwhile is under the newest key anyhow, as soon as its process has seen
the key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from conveyor.errors import LedgerError
from conveyor.keyring import Keyring
from conveyor.ledger.database import Database
from conveyor.ledger.memory import need
from conveyor.ledger.schema import cleanups, connections, deliveries, documents, memory, payloads

BATCH = 200
"""Values changed in one transaction."""

SEALED: dict[str, sa.Column[Any]] = {
    "connections": connections.c.tokens,
    "destinations": documents.c.document,
    "memory": memory.c.value,
    "saved states": deliveries.c.state,
    "cleanups": cleanups.c.state,
    "payload keys": payloads.c.sealed_key,
}
"""By what people call them."""


class Sealed:
    """The encrypted values of the ledger."""

    def __init__(self, database: Database, keyring: Keyring | None) -> None:
        self._database = database
        self._keyring = keyring

    def verify(self) -> dict[str, int]:
        """Decrypt everything once; how many values there are of each kind.

        Raises:
            LedgerError: A value lies under none of the keys. Says which, and changes nothing.
        """
        keyring = need(self._keyring)
        counts: dict[str, int] = {}
        for kind, column in SEALED.items():
            counts[kind] = 0
            for batch in self._batches(column):
                counts[kind] += len(batch)
                for *_, value in batch:
                    try:
                        keyring.decrypt(bytes(value))
                    except LedgerError as error:
                        raise LedgerError(f"{kind}: {error.message}", cure=error.cure) from None
        return counts

    def any(self) -> bool:
        """Whether there is any. Asks tables of older versions too, and a ledger that has none yet."""
        with self._database.read() as connection:
            looked = sa.inspect(connection)
            known = {
                table: {column["name"] for column in looked.get_columns(table)}
                for table in looked.get_table_names()
            }
            return any(
                connection.execute(sa.select(column).where(column.is_not(None)).limit(1)).first()
                for column in SEALED.values()
                if column.name in known.get(column.table.name, ())
            )

    def rotate(self) -> dict[str, int]:
        """Put everything under the newest key; how many values of each kind were changed.

        Raises:
            LedgerError: A value lies under none of the keys; nothing was changed then.
        """
        self.verify()
        keyring = need(self._keyring)
        changed: dict[str, int] = {}
        for kind, column in SEALED.items():
            changed[kind] = 0
            for batch in self._batches(column):
                old = [row for row in batch if not keyring.is_newest(bytes(row[-1]))]
                if old:
                    changed[kind] += self._replace(column, old, keyring)
        return changed

    def _batches(self, column: sa.Column[Any]) -> Iterator[Sequence[Sequence[Any]]]:
        keys = list(column.table.primary_key.columns)
        question = sa.select(*keys, column).where(column.is_not(None)).order_by(*keys).limit(BATCH)
        after: tuple[Any, ...] | None = None
        while True:
            further = question if after is None else question.where(sa.tuple_(*keys) > sa.tuple_(*after))
            with self._database.read() as connection:
                found = connection.execute(further).all()
            if not found:
                return
            yield found
            after = tuple(found[-1][: len(keys)])

    def _replace(self, column: sa.Column[Any], rows: Sequence[Sequence[Any]], keyring: Keyring) -> int:
        table = column.table
        keys = list(table.primary_key.columns)
        statement = sa.update(table).where(
            *(key == sa.bindparam(f"b_{key.name}") for key in keys), column == sa.bindparam("b_old")
        )
        statement = statement.values({column.name: sa.bindparam("b_new")})
        if table is connections:
            statement = statement.values(key_id=keyring.key_id)
        count = 0
        with self._database.write(durable=True, quiet=True) as connection:
            for row in rows:
                old = bytes(row[-1])
                values = {f"b_{key.name}": value for key, value in zip(keys, row[:-1], strict=True)}
                values |= {"b_old": old, "b_new": keyring.encrypt(keyring.decrypt(old))}
                count += connection.execute(statement, values).rowcount
        return count
