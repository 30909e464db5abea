"""From a ledger's URL to its database."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from conveyor.errors import LedgerError
from conveyor.ledger.database import Database

_FORMS = "use sqlite:///conveyor.db or postgresql+psycopg://user:password@host/database"


def connect(url: str, *, connections: int = 16, direct: str | None = None) -> Database:
    """Open the database; neither looks at its tables nor makes them.

    Args:
        url: Of the ledger.
        connections: To a server, at a time.
        direct: URL of the same database past a pooler.

    Raises:
        LedgerError: The URL is of no known form, or the database refuses.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise LedgerError("the ledger's URL cannot be read", cure=_FORMS) from None
    backend, driver = parsed.get_backend_name(), parsed.drivername
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise LedgerError("an SQLite ledger needs a file", cure=_FORMS)
        from conveyor.ledger.sqlite import SqliteDatabase

        return SqliteDatabase(Path(parsed.database))
    if driver in ("postgresql", "postgres", "postgresql+psycopg"):
        from conveyor.ledger.postgres import PostgresDatabase

        past = None if direct is None else sa.make_url(direct).set(drivername="postgresql+psycopg")
        return PostgresDatabase(
            parsed.set(drivername="postgresql+psycopg"), connections=connections, direct=past
        )
    raise LedgerError(f"a ledger on {driver!r} is not supported", cure=_FORMS)
