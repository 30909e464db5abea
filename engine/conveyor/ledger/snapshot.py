"""A ledger as one SQLite file: everything that was committed at one moment, while others go on writing.

Of a SQLite ledger it is a copy page by page, of whatever version its tables are; of one on PostgreSQL a copy
row by row, out of one transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from conveyor.errors import LedgerError
from conveyor.ledger import moving
from conveyor.ledger.connect import connect
from conveyor.ledger.failures import translated
from conveyor.ledger.postgres import PostgresDatabase
from conveyor.ledger.schema import HEAD
from conveyor.ledger.sqlite import BUSY_TIMEOUT, SqliteDatabase
from conveyor.ledger.versions import check, create, refuse_moved, version

PAGES = 1024
"""Copied between two reports; 4 MiB."""

Progress = Callable[[int], object]


def snapshot(url: str, to: Path, progress: Progress) -> str:
    """Copy a ledger that exists into a new file; workers may be at work on it.

    Args:
        url: Of the ledger.
        to: The file; holds everything that was committed when the copying began, and nothing since.
        progress: Told how much more is copied: bytes of a SQLite ledger, rows of one on PostgreSQL.

    Returns:
        The version of its tables.

    Raises:
        LedgerError: There is no ledger, it was moved away, its version cannot be copied, the disk is full.
    """
    with closing(connect(url)) as database:
        found = version(database)
        if found is None:
            raise LedgerError(
                f"ledger {database.name} is empty",
                cure="look at `ledger:`; nothing was submitted with this config yet",
            )
        refuse_moved(database)
        if isinstance(database, SqliteDatabase):
            _copy_pages(database.path, to, progress)
            return found
        assert isinstance(database, PostgresDatabase)
        check(database)
        if found != HEAD:
            raise LedgerError(
                f"ledger {database.name} is of version {found}, newer than this program's {HEAD}",
                cure="make the backup with the version of Conveyor that migrated it",
            )
        _copy_rows(database, to, progress)
        return found


def settle(file: Path) -> None:
    """Make one file of it, without a write-ahead log beside it, and look whether it is whole.

    Raises:
        LedgerError: It is not.
    """
    try:
        with closing(sqlite3.connect(file, timeout=BUSY_TIMEOUT, isolation_level=None)) as copy:
            copy.execute("PRAGMA journal_mode=DELETE")
            (said,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        raise translated(error, str(file)) from error
    if said != "ok":
        raise LedgerError(f"the copy of the ledger is damaged: {said}", cure="check the disk of the ledger")


def _copy_pages(source: Path, to: Path, progress: Progress) -> None:
    """SQLite's backup in steps; they see one moment, since the reader's transaction stands all the time."""
    try:
        with (
            closing(sqlite3.connect(source, timeout=BUSY_TIMEOUT, isolation_level=None)) as live,
            closing(sqlite3.connect(to, isolation_level=None)) as copy,
        ):
            live.execute("BEGIN")
            live.execute("SELECT count(*) FROM sqlite_master").fetchone()  # the moment
            (size,) = live.execute("PRAGMA page_size").fetchone()
            live.backup(copy, pages=PAGES, progress=lambda *_: progress(PAGES * size))
    except sqlite3.Error as error:
        raise translated(error, str(to)) from error


def _copy_rows(source: PostgresDatabase, to: Path, progress: Progress) -> None:
    with source.snapshot() as reader, closing(SqliteDatabase(to)) as copy:
        with copy.write() as writer:
            create(writer)
        for table in moving.KEPT:
            with copy.write() as writer:
                writer.execute(sa.delete(table))
                found = reader.execute(sa.select(*table.columns).order_by(*table.primary_key.columns))
                for rows in found.mappings().partitions(moving.CHUNK):
                    writer.execute(sa.insert(table), [dict(row) for row in rows])
                    progress(len(rows))
