"""The embedded ledger: one SQLite file in WAL mode.

One writer at a time inside a process, by a lock: SQLite's own busy handler is not fair (threads that fight
through it waited up to two seconds where a lock keeps them under 50 ms). Each write is ``BEGIN IMMEDIATE``,
so what a transaction has read stays true until it commits. ``synchronous`` is NORMAL, or FULL for durable
transactions (https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import sqlalchemy as sa

from conveyor.errors import LedgerError
from conveyor.ledger.database import Database
from conveyor.ledger.failures import DRIVER_ERRORS, moved, translated
from conveyor.ledger.prepared import Prepared, Values
from conveyor.ledger.schema import MOVED_TO
from conveyor.ownership import inherit

BUSY_TIMEOUT = 30.0
"""Seconds a writer waits for another process before the ledger counts as locked."""

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-16384",
    "PRAGMA journal_size_limit=67108864",
)


class SqliteDatabase(Database):
    """A ledger in one file.

    Args:
        path: The file; its folder must exist. Created with mode 0600 when missing.
        busy_timeout: Seconds to wait for another process's write.
    """

    def __init__(self, path: Path, *, busy_timeout: float = BUSY_TIMEOUT) -> None:
        self.path = path
        self.name = str(path)
        self._busy_timeout = busy_timeout
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._askers: list[sqlite3.Connection] = []
        self._version: int | None = None
        self._changed = True
        self._moved_to: str | None = None
        self._durable = False
        _create_private(path)
        self._readers = self._engine(size=4, overflow=60, read_only=True)
        self._writers = self._engine(size=1, overflow=0, read_only=False)
        try:
            self._writer = self._writers.connect()
            self._raw: sqlite3.Connection = self._writer.connection.dbapi_connection  # type: ignore[assignment]
        except DRIVER_ERRORS as error:
            self._writers.dispose()
            raise translated(error, self.name) from error

    def _engine(self, *, size: int, overflow: int, read_only: bool) -> sa.Engine:
        engine = sa.create_engine(
            "sqlite://",
            creator=lambda: self._connect(read_only=read_only),
            paramstyle="named",
            poolclass=sa.QueuePool,
            pool_size=size,
            max_overflow=overflow,
            hide_parameters=True,
        )
        if read_only:
            sa.event.listen(engine, "begin", _begin)
        return engine

    def _connect(self, *, read_only: bool) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=self._busy_timeout, isolation_level=None, check_same_thread=False
        )
        try:
            for pragma in _PRAGMAS:
                connection.execute(pragma)
            if read_only:
                connection.execute("PRAGMA query_only=ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def read(self) -> _Read:
        """A consistent read; waits for no writer."""
        self._check_process()
        return _Read(self)

    def first(self, question: Prepared, values: Values) -> Sequence[Any] | None:
        """Asks past SQLAlchemy, whose connection and transaction cost ten times as much as the answer."""
        self._check_process()
        try:
            asker = self._askers.pop()
        except IndexError:
            asker = self._asker()
        try:
            found: list[tuple[Any, ...]] = asker.execute(
                *question.ready(self._readers.dialect, values)
            ).fetchall()
        except sqlite3.Error as error:
            raise translated(error, self.name) from error
        finally:
            self._askers.append(asker)
        return found[0] if found else None

    def write(self, durable: bool = False, *, quiet: bool = False) -> _Write:
        """The process's one write transaction."""
        self._check_process()
        return _Write(self, durable, quiet)

    def changed(self) -> bool:
        """``PRAGMA data_version`` of the writer: it moves when another connection has committed.

        A write under way has looked at its beginning; what came after that is seen by the next call.
        """
        self._check_process()
        if self._lock.acquire(blocking=False):
            try:
                self._look()
            except sqlite3.Error as error:
                raise translated(error, self.name) from error
            finally:
                self._lock.release()
        if not self._changed:
            return False
        self._changed = False
        return True

    def _asker(self) -> sqlite3.Connection:
        try:
            return self._connect(read_only=True)
        except sqlite3.Error as error:
            raise translated(error, self.name) from error

    def _look(self) -> None:
        """Note whether somebody else has committed; only under the lock."""
        version = self._raw.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._moved_to = self._mark()
            self._version = version
            self._changed = True

    def _mark(self) -> str | None:
        """Where the content lives by now; None: here."""
        if self._raw.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone() is None:
            return None
        found = self._raw.execute("SELECT value FROM meta WHERE key = ?", (MOVED_TO,)).fetchone()
        return None if found is None else str(found[0])

    def close(self) -> None:
        """Close all connections; the last one of all processes folds the WAL into the file."""
        if self._pid != os.getpid():
            return
        with self._lock:
            self._writer.close()
            self._writers.dispose()
        while self._askers:
            self._askers.pop().close()
        self._readers.dispose()

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise LedgerError(
                "the ledger was opened before a fork", cure="open the ledger in the process that uses it"
            )


class _Read:
    """One read; a class rather than a generator because it runs before every publishing step."""

    __slots__ = ("_connection", "_database")

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def __enter__(self) -> sa.Connection:
        try:
            self._connection = self._database._readers.connect()
        except DRIVER_ERRORS as error:
            raise translated(error, self._database.name) from error
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        if isinstance(error, DRIVER_ERRORS):
            raise translated(error, self._database.name) from error


class _Write:
    """One write transaction on the process's writer connection."""

    __slots__ = ("_database", "_durable", "_quiet")

    def __init__(self, database: SqliteDatabase, durable: bool, quiet: bool) -> None:
        self._database = database
        self._durable = durable
        self._quiet = quiet

    def __enter__(self) -> sa.Connection:
        database = self._database
        database._lock.acquire()
        try:
            if database._durable is not self._durable:
                # Cannot change inside a transaction; a FULL commit also syncs the NORMAL ones before it.
                database._raw.execute(f"PRAGMA synchronous={'FULL' if self._durable else 'NORMAL'}")
                database._durable = self._durable
            database._raw.execute("BEGIN IMMEDIATE")
            database._look()
            if database._moved_to is not None:
                raise moved(database.name, database._moved_to)
        except BaseException as error:
            _quiet_rollback(database._raw)
            database._lock.release()
            if isinstance(error, DRIVER_ERRORS):
                raise translated(error, database.name) from error
            raise
        return database._writer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        database = self._database
        try:
            if error is None:
                database._raw.commit()
                if not self._quiet:
                    database._changed = True
            else:
                database._raw.rollback()
        except sqlite3.Error as failed:
            _quiet_rollback(database._raw)
            raise translated(failed, database.name) from failed
        finally:
            database._writer.rollback()  # ends SQLAlchemy's own bookkeeping; the database has none open
            database._lock.release()
        if isinstance(error, DRIVER_ERRORS) and not isinstance(error, sa.exc.IntegrityError):
            raise translated(error, database.name) from error


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _quiet_rollback(raw: Any) -> None:
    try:
        raw.rollback()
    except sqlite3.Error:  # a full disk may have ended the transaction already
        return


def _create_private(path: Path) -> None:
    """Create the file with mode 0600 before SQLite would with the umask's; WAL and SHM inherit from it."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            inherit(descriptor, path.parent)
        finally:
            os.close(descriptor)
    except FileExistsError:
        if path.is_dir():
            raise LedgerError(f"ledger {path} is a folder", cure="name a file under `ledger:`") from None
    except FileNotFoundError:
        raise LedgerError(
            f"ledger {path}: its folder does not exist", cure=f"mkdir -p {path.parent}"
        ) from None
    except OSError as error:
        raise LedgerError(
            f"ledger {path} cannot be created: {error.strerror}",
            cure="make its folder writable for this user, and see that the disk has space",
        ) from error
