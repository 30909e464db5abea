"""The shared ledger: PostgreSQL through psycopg 3.

Every transaction commits synchronously, claims too: workers outlive a crash of the database server, and a
claim that the crash undid would let two of them hold one fence. Rows that a claim takes are locked with SKIP
LOCKED; caps are counted under the lock of the destination's health row. Isolation is READ COMMITTED: a
decision on several rows first locks, then looks. Locks are taken in one order: worker, payloads, deliveries
by id, destinations by id; a claim takes its destinations before its deliveries, but never waits for these.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import sqlalchemy as sa

from conveyor.errors import LedgerError
from conveyor.ledger.database import Database
from conveyor.ledger.failures import DRIVER_ERRORS, translated
from conveyor.ledger.prepared import Prepared, Values
from conveyor.version import requirement

CONNECT_TIMEOUT = 10
LOCK_TIMEOUT = 30

LOOK = 0.1
"""Seconds within which what other processes write is noticed."""


class PostgresDatabase(Database):
    """A ledger on a server.

    Args:
        url: ``postgresql+psycopg://user:password@host/database``; libpq's options may follow as a query.
    """

    def __init__(self, url: sa.URL) -> None:
        self.name = url.render_as_string(hide_password=True)
        self._pid = os.getpid()
        self._looked_at = float("-inf")
        try:
            self._engine = sa.create_engine(
                url,
                pool_size=8,
                max_overflow=24,
                pool_recycle=1800,
                hide_parameters=True,
                connect_args={
                    "connect_timeout": CONNECT_TIMEOUT,
                    "application_name": "conveyor",
                    "options": f"-c lock_timeout={LOCK_TIMEOUT}s -c timezone=UTC",
                },
            )
        except ModuleNotFoundError as error:
            raise LedgerError(
                "a PostgreSQL ledger needs psycopg", cure=f"pip install '{requirement('postgres')}'"
            ) from error

    def read(self) -> _Transaction:
        """A read; each statement sees what was committed when it began."""
        return self._transaction()

    def first(self, question: Prepared, values: Values) -> Sequence[Any] | None:
        """One round trip for the question, one to end its transaction."""
        with self.read() as connection:
            return question.run(connection, values).first()

    def write(self, durable: bool = False, *, quiet: bool = False) -> _Transaction:
        """A write transaction; always durable (see the module's docstring)."""
        return self._transaction()

    def changed(self) -> bool:
        """True, but only every ``LOOK`` seconds: the server tells nobody, so each look is a query."""
        now = time.monotonic()
        if now - self._looked_at < LOOK:
            return False
        self._looked_at = now
        return True

    def close(self) -> None:
        """Close all connections."""
        if self._pid == os.getpid():
            self._engine.dispose()

    def _transaction(self) -> _Transaction:
        if self._pid != os.getpid():
            raise LedgerError(
                "the ledger was opened before a fork", cure="open the ledger in the process that uses it"
            )
        return _Transaction(self)


class _Transaction:
    __slots__ = ("_connection", "_database")

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def __enter__(self) -> sa.Connection:
        try:
            self._connection = self._database._engine.connect()
        except DRIVER_ERRORS as error:
            raise translated(error, self._database.name) from error
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._connection.commit()
        except DRIVER_ERRORS as failed:
            raise translated(failed, self._database.name) from failed
        finally:
            self._connection.close()  # rolls back what was not committed
        if isinstance(error, DRIVER_ERRORS) and not isinstance(error, sa.exc.IntegrityError):
            raise translated(error, self._database.name) from error
