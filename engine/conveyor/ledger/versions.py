"""Bringing the tables up to date, by one process at a time and in one transaction.

A ledger without tables gets them from :mod:`conveyor.ledger.schema` at once; an older one goes through the
Alembic migrations beside this module. A test holds that both end in the same tables.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa

from conveyor.errors import LedgerError
from conveyor.ledger.connect import connect
from conveyor.ledger.database import Database, upsert
from conveyor.ledger.failures import moved
from conveyor.ledger.schema import HEAD, MOVED_TO, OLDEST, meta, metadata
from conveyor.ledger.sqlite import SqliteDatabase

OLDEST_PROGRAM = "oldest_program"
"""Key of the mark that says which programs older than the tables may use them."""

_OLDEST_PROGRAM = sa.select(meta.c.value).where(meta.c.key == OLDEST_PROGRAM)
_MOVED = sa.select(meta.c.value).where(meta.c.key == MOVED_TO)

SCRIPTS = Path(__file__).parent / "migrations"
_LOCK_KEY = 0x436F6E76
"""PostgreSQL advisory lock of migrations: "Conv"."""

_VERSIONS = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""As Alembic makes it."""


def version(database: Database) -> str | None:
    """The version of the tables; None when there are none."""
    with database.read() as connection:
        return _version(connection)


def check(database: Database) -> None:
    """Refuse a database whose tables are neither this version's nor newer ones that it may use.

    Raises:
        LedgerError: With the cure.
    """
    found = version(database)
    if found == HEAD or serves(database, found):
        return
    _refuse_newer(found, database)
    state = "has no tables yet" if found is None else f"is of version {found}, this program needs {HEAD}"
    raise LedgerError(f"ledger {database.name} {state}", cure="run `conveyor migrate`")


def upgrade(database: Database) -> str:
    """Make the tables, or bring them up to date; at once when they are. Returns the version."""
    already = version(database)
    if already is not None and (already == HEAD or serves(database, already)):
        return already
    with _alone(database), database.write(durable=True) as connection:
        if connection.dialect.name == "postgresql":
            # A migration may take its time, and wait for another one's; it is the only long transaction.
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            connection.execute(sa.text("SET LOCAL lock_timeout = 0"))
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_KEY)))
        found = _version(connection)
        _refuse_newer(found, database)
        if found is None:
            _refuse_foreign(connection, database)
            create(connection)
        elif found != HEAD:
            run_migrations(connection)
            _raise_floor(connection, OLDEST)
    return HEAD


def serves(database: Database, found: str | None) -> bool:
    """Whether tables of the version ``found``, newer than this program's, say that it may use them."""
    if found is None or found <= HEAD:
        return False
    with database.read() as connection:
        oldest = connection.execute(_OLDEST_PROGRAM).scalar()
    return oldest is not None and oldest <= HEAD


def keep_out_older(database: Database, oldest: str) -> None:
    """From now on refuse the ledger to programs older than ``oldest``; those that have it open stay.

    Args:
        database: The ledger's.
        oldest: The ``HEAD`` of the oldest program that may still open it.
    """
    with database.read() as connection:
        if (connection.execute(_OLDEST_PROGRAM).scalar() or "") >= oldest:
            return
    with database.write(durable=True) as connection:
        _raise_floor(connection, oldest)


def _raise_floor(connection: sa.Connection, oldest: str) -> None:
    """Whoever asks for more prevails."""
    found = connection.execute(_OLDEST_PROGRAM).scalar() or ""
    upsert(connection, meta, [{"key": OLDEST_PROGRAM, "value": max(found, oldest)}])


def refuse_moved(database: Database) -> None:
    """Refuse a ledger whose content lives elsewhere by now. Raises LedgerError."""
    with database.read() as connection:
        where = connection.execute(_MOVED).scalar()
    if where is not None:
        raise moved(database.name, where)


def create(connection: sa.Connection) -> None:
    """Make the tables of this version in an empty database."""
    metadata.create_all(connection)
    _VERSIONS.create(connection, checkfirst=True)
    connection.execute(sa.insert(_VERSIONS), {"version_num": HEAD})
    upsert(connection, meta, [{"key": OLDEST_PROGRAM, "value": OLDEST}])


def run_migrations(connection: sa.Connection, target: str = "head") -> None:
    """Run the Alembic migrations up to ``target`` inside the open transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    if not connection.in_transaction():
        connection.begin()  # or Alembic would begin, and commit, one of its own
    command.upgrade(config, target)


def migrate_url(url: str) -> str:
    """See :func:`conveyor.ledger.migrate`."""
    with closing(connect(url)) as database:
        return upgrade(database)


def version_of_url(url: str) -> str | None:
    """See :func:`conveyor.ledger.current_version`."""
    with closing(connect(url)) as database:
        return version(database)


def usable_url(url: str) -> bool:
    """Whether this program may use the ledger as it is. Raises LedgerError when it cannot be asked."""
    with closing(connect(url)) as database:
        found = version(database)
        return found == HEAD or serves(database, found)


def _version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(_VERSIONS.name):
        return None
    found: str | None = connection.execute(sa.select(_VERSIONS.c.version_num)).scalar()
    return found


def _refuse_newer(found: str | None, database: Database) -> None:
    if found is not None and found > HEAD:
        raise LedgerError(
            f"ledger {database.name} is of version {found}, newer than this program's {HEAD}",
            cure="upgrade Conveyor on this machine; an older one cannot use a newer ledger",
        )


def _refuse_foreign(connection: sa.Connection, database: Database) -> None:
    tables = set(sa.inspect(connection).get_table_names())
    if tables & set(metadata.tables):
        raise LedgerError(
            f"ledger {database.name} holds tables of another program",
            cure="name another database under `ledger:`",
        )


@contextmanager
def _alone(database: Database) -> Iterator[None]:
    """Keep other processes out while an SQLite file gets its tables: a lock on its folder, gone with us."""
    if not isinstance(database, SqliteDatabase):
        yield
        return
    folder = os.open(database.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
