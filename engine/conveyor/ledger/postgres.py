"""The shared ledger: PostgreSQL through psycopg 3.

Every transaction commits synchronously, claims too: workers outlive a crash of the database server, and a
claim that the crash undid would let two of them hold one fence. Rows that a claim takes are locked with SKIP
LOCKED; caps are counted under the lock of the destination's health row. Isolation is READ COMMITTED: a
decision on several rows first locks, then looks. Locks are taken in one order: worker, replays in bulk,
payloads, deliveries by id, destinations by id; a claim takes its destinations before its deliveries, but
never waits for these.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import sqlalchemy as sa

from conveyor.clock import Clock, SystemClock
from conveyor.errors import LedgerError
from conveyor.ledger.database import Database
from conveyor.ledger.failures import DRIVER_ERRORS, raised_by_driver, translated
from conveyor.ledger.listener import CHANNEL, Listener
from conveyor.ledger.prepared import Prepared, Values
from conveyor.ledger.servertime import ServerClock
from conveyor.version import requirement

CONNECT_TIMEOUT = 10
LOCK_TIMEOUT = 30
STATEMENT_TIMEOUT = 60
IDLE_TIMEOUT = 60
"""Seconds. A worker that freezes in the middle of a transaction holds its locks for no longer."""

PREPARED = 5
"""A session plans a statement so many times before it keeps it prepared; behind a pooler it never does."""

LOOK = 0.1
"""Seconds within which what other processes write is noticed without LISTEN."""

_LIMITS = {
    "lock_timeout": LOCK_TIMEOUT,
    "statement_timeout": STATEMENT_TIMEOUT,
    "idle_in_transaction_session_timeout": IDLE_TIMEOUT,
}
_PLANNING = {"random_page_cost": "1.1", "enable_seqscan": "off", "jit": "off"}
"""Plans outlive the moment in which a queue is empty, and its statistics are always of another moment: rows
that are named, or due, are found through an index whatever the server believes of the table's size."""
_SETTINGS = {**{name: f"{seconds}s" for name, seconds in _LIMITS.items()}, **_PLANNING}
_OPTIONS = " ".join([*(f"-c {name}={value}" for name, value in _SETTINGS.items()), "-c timezone=UTC"])
_SET = "SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in _SETTINGS.items())
_NETWORK = {
    "connect_timeout": CONNECT_TIMEOUT,
    "application_name": "conveyor",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""libpq's parameters: a server that vanished without a word is noticed within half a minute."""

_POOLER_REFUSES = "unsupported startup parameter"
_NOW = sa.text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)")


class PostgresDatabase(Database):
    """A ledger on a server.

    Args:
        url: ``postgresql+psycopg://user:password@host/database``; libpq's options may follow as a query.
        connections: At most so many at a time: one for each thread that delivers, and a few.
        direct: The same database past a pooler, for LISTEN; None when ``url`` leads to the server itself.
    """

    remote = True

    def __init__(self, url: sa.URL, *, connections: int = 16, direct: sa.URL | None = None) -> None:
        self.name = url.render_as_string(hide_password=True)
        self._pid = os.getpid()
        self._url, self._direct = url, direct
        self._looked_at = float("-inf")
        self._heard = threading.Event()
        self._listener: Listener | None = None
        self._askers: deque[Any] = deque()
        self.pooled = False
        """Whether a pooler (PgBouncer) stands before the server: nothing outlives a transaction."""
        self._plain = False
        try:
            self._engine = sa.create_engine(
                url,
                creator=self._connect,
                pool_size=connections,
                max_overflow=8,
                pool_use_lifo=True,
                pool_recycle=1800,
                hide_parameters=True,
            )
        except ModuleNotFoundError as error:
            raise LedgerError(
                "a PostgreSQL ledger needs psycopg", cure=f"pip install '{requirement('postgres')}'"
            ) from error
        sa.event.listen(self._engine, "checkout", _refuse_dead)
        self._asking = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    def _connect(self) -> Any:
        """A connection with its limits; through a pooler they are set with each transaction instead."""
        import psycopg

        try:
            connection = self._dial(self._url, {} if self._plain else {"options": _OPTIONS})
        except psycopg.OperationalError as error:
            if self._plain or _POOLER_REFUSES not in str(error):
                raise
            self._plain = True
            connection = self._dial(self._url, {})
        # PgBouncer makes up the process id that it reports.
        (server,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (0,)
        connection.rollback()
        self.pooled = self.pooled or server != connection.info.backend_pid
        if not self.pooled and self._direct is None:
            connection.prepare_threshold = PREPARED
        return connection

    def _dial(self, url: sa.URL, more: Mapping[str, Any]) -> Any:
        import psycopg

        _, parameters = self._engine.dialect.create_connect_args(url)
        # Prepared statements belong to a session, which a pooler gives to others.
        return psycopg.connect(**{**_NETWORK, **more, **parameters}, prepare_threshold=None)

    def read(self) -> _Transaction:
        """A read; each statement sees what was committed when it began, so none needs a transaction."""
        return self._transaction(self._engine if self.pooled else self._asking)

    def first(self, question: Prepared, values: Values) -> Sequence[Any] | None:
        """One round trip."""
        found = self.ask(question, values)
        return found[0] if found else None

    def ask(self, question: Prepared, values: Values) -> Sequence[Sequence[Any]]:
        """Past SQLAlchemy, whose connection costs several times as much as the answer."""
        self._check_process()
        import psycopg

        text, values = question.ready(self._engine.dialect, values)
        asker = None
        try:
            asker = self._asker()
            found: list[tuple[Any, ...]] = asker.execute(text, values).fetchall()
        except psycopg.Error as error:
            if asker is not None:
                asker.close()
            raise raised_by_driver(error, self.name) from error
        self._askers.append(asker)
        return found

    def _asker(self) -> Any:
        """A connection of its own, in autocommit mode."""
        while self._askers:
            try:
                asker = self._askers.pop()
            except IndexError:
                break
            if not _ended(asker):
                return asker
            asker.close()
        asker = self._connect()
        asker.autocommit = True
        return asker

    def write(self, durable: bool = False, *, quiet: bool = False) -> _Transaction:
        """A write transaction; always durable (see the module's docstring). Tells listeners unless quiet."""
        return self._transaction(self._engine, tell=not quiet)

    @contextmanager
    def snapshot(self) -> Iterator[sa.Connection]:
        """A consistent read that may take its time: whatever is committed meanwhile is not seen."""
        engine = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with self._transaction(engine) as connection:
            for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
                connection.exec_driver_sql(f"SET LOCAL {limit} = 0")
            connection.exec_driver_sql("SET LOCAL enable_seqscan = on")  # all of it is wanted
            yield connection.execution_options(stream_results=True)

    def changed(self) -> bool:
        """Whether the server has told of a change; without LISTEN, True every ``LOOK`` seconds."""
        if self._listener is None and self._pid == os.getpid():
            self._listen()
        if self._listener is not None and self._listener.listening.is_set():
            if not self._heard.is_set():
                return False
            self._heard.clear()
            return True
        now = time.monotonic()
        if now - self._looked_at < LOOK:
            return False
        self._looked_at = now
        return True

    @property
    def told(self) -> bool:
        """Whether changes are heard through LISTEN, rather than looked for."""
        return self._listener is not None and self._listener.listening.is_set()

    def clock(self, base: Clock) -> Clock:
        """The server's clock in place of the machine's own."""
        return ServerClock(self.server_time) if isinstance(base, SystemClock) else base

    def server_time(self) -> int:
        """Microseconds since the epoch. Raises LedgerError."""
        with self.read() as connection:
            return int(connection.execute(_NOW).scalar_one())

    def close(self) -> None:
        """Close all connections."""
        if self._listener is not None:
            self._listener.stop()
        if self._pid == os.getpid():
            self._engine.dispose()
            while self._askers:
                self._askers.pop().close()

    def _listen(self) -> None:
        if self.pooled and self._direct is None:
            return
        url = self._direct or self._url

        def connect() -> Any:
            connection = self._dial(url, {})
            connection.autocommit = True
            return connection

        self._listener = Listener(connect, self._heard.set)
        self._listener.start()

    def _transaction(self, engine: sa.Engine, *, tell: bool = False) -> _Transaction:
        self._check_process()
        return _Transaction(self, engine, tell)

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise LedgerError(
                "the ledger was opened before a fork", cure="open the ledger in the process that uses it"
            )


def _refuse_dead(connection: Any, _record: object, _proxy: object) -> None:
    """Replace a connection that the server has ended while it lay in the pool.

    A quiet one has nothing to read. Unlike a ping this costs no round trip; one that broke without a word is
    found out by its next statement.
    """
    if _ended(connection):
        raise sa.exc.DisconnectionError("the server has ended this connection")


def _of_driver(error: BaseException) -> bool:
    import psycopg

    return isinstance(error, psycopg.Error)


def _ended(connection: Any) -> bool:
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


class _Transaction:
    __slots__ = ("_connection", "_database", "_engine", "_tell")

    def __init__(self, database: PostgresDatabase, engine: sa.Engine, tell: bool) -> None:
        self._database = database
        self._engine = engine
        self._tell = tell

    def __enter__(self) -> sa.Connection:
        try:
            self._connection = self._engine.connect()
            self._connection.begin()  # a statement that goes straight to the driver begins nothing
            if self._database.pooled:
                self._limit()
        except DRIVER_ERRORS as error:
            raise translated(error, self._database.name) from error
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                if self._tell:
                    self._connection.exec_driver_sql(f"NOTIFY {CHANNEL}")
                self._connection.commit()
        except DRIVER_ERRORS as failed:
            raise translated(failed, self._database.name) from failed
        finally:
            straight = error is not None and _of_driver(error)
            if straight and not self._connection.invalidated:
                self._connection.invalidate()  # SQLAlchemy has not seen whether it broke
            self._connection.close()  # rolls back what was not committed
        if isinstance(error, DRIVER_ERRORS) and not isinstance(error, sa.exc.IntegrityError):
            raise translated(error, self._database.name) from error
        if error is not None and straight:
            raise raised_by_driver(error, self._database.name) from error

    def _limit(self) -> None:
        try:
            self._connection.exec_driver_sql(_SET)
        except BaseException:
            self._connection.close()
            raise
