"""Moving a SQLite ledger to PostgreSQL: everything in one transaction of the new one, or nothing.

Meanwhile the old one is locked for writing, so nothing that is submitted falls between the two. When the new
one has committed, the old one is marked as moved: opening it says where to, and so does the next write of
whoever has it open, an application that submits or an engine that was just about to start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass

import sqlalchemy as sa

from conveyor.errors import LedgerError
from conveyor.ledger.connect import connect
from conveyor.ledger.database import Database, upsert
from conveyor.ledger.postgres import PostgresDatabase
from conveyor.ledger.records import Status, WorkerRecord
from conveyor.ledger.schema import (
    MOVED_TO,
    connections,
    deliveries,
    documents,
    jobs,
    leases,
    meta,
    metadata,
    workers,
)
from conveyor.ledger.sqlite import SqliteDatabase
from conveyor.ledger.versions import check, upgrade
from conveyor.ledger.workers import Workers

CHUNK = 2_000
"""Rows read at a time."""

_LEFT_BEHIND = frozenset({workers.name, leases.name})
"""What belongs to processes, none of which lives."""

KEPT = [table for table in metadata.sorted_tables if table.name not in _LEFT_BEHIND]
"""The tables that a copy of a ledger has, in an order that their references allow."""

_USED = (jobs, connections, documents)
"""Rows in these are somebody's."""

_BY_STATUS = sa.select(deliveries.c.status, sa.func.count()).group_by(deliveries.c.status)


@dataclass(frozen=True, slots=True)
class Moved:
    """What was copied: rows by table, deliveries by status."""

    rows: Mapping[str, int]
    statuses: Mapping[str, int]


def move(
    source: str, target: str, *, alive: Callable[[WorkerRecord], bool], progress: Callable[[int], object]
) -> Moved:
    """Copy a ledger.

    Args:
        source: URL of the SQLite ledger; every engine on it has to have ended.
        target: URL of a PostgreSQL database, empty or with the tables of an unused ledger.
        alive: Whether a worker may still be at work.
        progress: Told the number of rows of each step.

    Raises:
        LedgerError: Workers run, the target is in use, or the copy differs from the original. Then nothing
            was changed.
    """
    with closing(connect(source)) as old, closing(connect(target)) as new:
        if not isinstance(old, SqliteDatabase) or not isinstance(new, PostgresDatabase):
            raise LedgerError(
                "only a SQLite ledger can be moved, and only to PostgreSQL",
                cure="conveyor migrate-ledger --to postgresql+psycopg://user:password@host/database",
            )
        check(old)
        upgrade(new)
        refuse_running(old, alive)
        with old.write(durable=True) as reader, new.write(durable=True) as writer:
            moved = _copy_all(reader, writer, new.name, progress)
            # Committed first: should this process die now, the old ledger is still the one in use, and a
            # second try is refused because the new one holds data.
            writer.commit()
            upsert(reader, meta, [{"key": MOVED_TO, "value": new.name}])
        return moved


def fill(source: SqliteDatabase, target: str, progress: Callable[[int], object]) -> None:
    """Copy a ledger that nobody uses into an unused PostgreSQL database: all of it in one transaction.

    Raises:
        LedgerError: The target is in use. Then nothing was changed.
    """
    with closing(connect(target)) as new:
        upgrade(new)
        with source.read() as reader, new.write(durable=True) as writer:
            _copy_all(reader, writer, new.name, progress)


def total(source: str) -> int:
    """How many rows there are to copy. Raises LedgerError."""
    with closing(connect(source)) as old, old.read() as reader:
        return sum(_counts(reader).values())


def refuse_used(connection: sa.Connection, name: str) -> None:
    """Refuse to copy over a ledger that somebody has put something into. Raises LedgerError."""
    for table in _USED:
        if connection.execute(sa.select(*table.primary_key.columns).limit(1)).first() is not None:
            raise LedgerError(f"ledger {name} is in use", cure="name an empty database")


def refuse_running(old: Database, alive: Callable[[WorkerRecord], bool]) -> None:
    """Refuse a ledger that workers are on. Raises LedgerError."""
    running = [worker for worker in Workers(old).all() if alive(worker)]
    if running:
        which = ", ".join(f"pid {worker.pid} on {worker.host}" for worker in running)
        raise LedgerError(f"workers run on this ledger: {which}", cure="stop them first")


def _copy_all(
    reader: sa.Connection, writer: sa.Connection, name: str, progress: Callable[[int], object]
) -> Moved:
    # The one transaction that may take its time: nobody else uses this ledger yet.
    writer.execute(sa.text("SET LOCAL statement_timeout = 0"))
    writer.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    refuse_used(writer, name)
    for table in reversed(KEPT):
        writer.execute(sa.delete(table))
    for table in KEPT:
        _copy(reader, writer, table, progress)
    before, after = _counts(reader), _counts(writer)
    statuses = dict(sorted((row[0], row[1]) for row in reader.execute(_BY_STATUS)))
    arrived = dict(sorted((row[0], row[1]) for row in writer.execute(_BY_STATUS)))
    if before != after or statuses != arrived:
        raise LedgerError(
            f"the copy differs from the original: {after} of {before} rows",
            cure="report this: it is a defect",
        )
    return Moved(before, {str(Status(name)): count for name, count in statuses.items()})


def _copy(
    reader: sa.Connection, writer: sa.Connection, table: sa.Table, progress: Callable[[int], object]
) -> None:
    """One table, through COPY, in the order of its key."""
    import psycopg

    columns = list(table.columns)
    found = reader.execute(sa.select(*columns).order_by(*table.primary_key.columns))
    names = ", ".join(f'"{column.name}"' for column in columns)
    driver = writer.connection.driver_connection
    assert driver is not None
    try:
        with driver.cursor() as cursor, cursor.copy(f'COPY "{table.name}" ({names}) FROM STDIN') as copy:
            for rows in found.partitions(CHUNK):
                for row in rows:
                    copy.write_row(tuple(row))
                progress(len(rows))
    except psycopg.Error as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise LedgerError(
            f"table {table.name} cannot be copied: {reason}", cure="nothing was changed"
        ) from None


def _counts(connection: sa.Connection) -> dict[str, int]:
    return {
        table.name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
        for table in KEPT
    }
