"""The database under the ledger: two kinds of transaction, and whether somebody else has written.

Everything above this module is one text for both databases; :mod:`conveyor.ledger.sqlite` and
:mod:`conveyor.ledger.postgres` hold what differs.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import sqlalchemy as sa

from conveyor.clock import Clock
from conveyor.ledger.prepared import Prepared, Values

Row = Mapping[str, Any]


class Database(abc.ABC):
    """Opens transactions. Safe from many threads; not to be carried over a fork.

    Attributes:
        name: The database as people know it, without a password.
    """

    name: str
    remote: bool = False
    """Each question costs a round trip: those that come together are better asked together."""

    @abc.abstractmethod
    def read(self) -> AbstractContextManager[sa.Connection]:
        """A consistent read. Raises LedgerError or LedgerUnavailable with the cure."""

    @abc.abstractmethod
    def first(self, question: Prepared, values: Values) -> Sequence[Any] | None:
        """The first row of a single question, or None; cheaper than :meth:`read`, and raises the same."""

    def ask(self, question: Prepared, values: Values) -> Sequence[Sequence[Any]]:
        """All rows of a single question, as :meth:`first`."""
        with self.read() as connection:
            return question.rows(connection, values)

    @abc.abstractmethod
    def write(self, durable: bool = False, *, quiet: bool = False) -> AbstractContextManager[sa.Connection]:
        """A write transaction: committed at the end of the block, rolled back when it raises.

        Args:
            durable: Survives a power cut once the block has ended (fsync). Otherwise the last transactions
                before a power cut may be undone, never torn; a crash of the process loses nothing.
            quiet: Not for :meth:`changed` to report: the caller tells whom it concerns.
        """

    @abc.abstractmethod
    def changed(self) -> bool:
        """Whether anybody may have written since the last call, except quietly; the first call says True.

        A database that tells nobody says so every now and then.
        """

    def clock(self, base: Clock) -> Clock:
        """The clock of due times and leases: ``base``, or one of the database that all machines share."""
        return base

    @abc.abstractmethod
    def close(self) -> None:
        """Release all connections. Idempotent."""


def insert_missing(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """INSERT … ON CONFLICT DO NOTHING, which both databases spell alike but SQLAlchemy does not."""
    if rows:
        insert = _dialect_insert(connection)
        connection.execute(insert(table).on_conflict_do_nothing(), list(rows))


def upsert(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert ``rows``, or update the given columns of those whose primary key exists."""
    if not rows:
        return
    statement = _dialect_insert(connection)(table)
    keys = [column.name for column in table.primary_key]
    changed = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), list(rows))


def _dialect_insert(connection: sa.Connection) -> Any:
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as postgres_insert

        return postgres_insert
    from sqlalchemy.dialects.sqlite import insert as sqlite_insert

    return sqlite_insert
