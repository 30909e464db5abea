"""A second record of all attempts, kept by triggers of the database and by its clock: the engine writes none.

It shows what the ledger's own rows cannot: that the end of an attempt was written twice, or by a worker that
had lost its lease, and when an attempt truly began, whatever the clock of the process that began it says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from conveyor.config.settings import Settings

ROUNDED = 1_000
"""Microseconds: SQLite's clock has whole milliseconds."""

_TABLE = """CREATE TABLE prove_notes
    (delivery_id TEXT NOT NULL, attempt BIGINT NOT NULL, outcome TEXT NOT NULL, at BIGINT NOT NULL)"""
_NOTE = "INSERT INTO prove_notes VALUES (NEW.delivery_id, NEW.attempt, NEW.outcome, {now});"
_SQLITE_NOW = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000"
_POSTGRES_NOW = "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"
_ENDED = "NEW.outcome <> 'running' OR OLD.outcome <> 'running'"
_SQLITE = (
    f"CREATE TRIGGER prove_begun AFTER INSERT ON attempts BEGIN {_NOTE} END",
    f"CREATE TRIGGER prove_ended AFTER UPDATE ON attempts WHEN {_ENDED} BEGIN {_NOTE} END",
)
_POSTGRES = (
    f"CREATE FUNCTION prove_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {_NOTE} RETURN NULL; END $$",
    "CREATE TRIGGER prove_begun AFTER INSERT ON attempts FOR EACH ROW EXECUTE FUNCTION prove_note()",
    f"CREATE TRIGGER prove_ended AFTER UPDATE ON attempts FOR EACH ROW WHEN ({_ENDED}) "
    "EXECUTE FUNCTION prove_note()",
)


@dataclass(frozen=True)
class Note:
    """One attempt as the database saw it.

    Attributes:
        begun: When its row was written, microseconds by the database's clock; several if several were.
        ended: The outcomes that were written, in order.
    """

    begun: tuple[int, ...]
    ended: tuple[str, ...]


def install(settings: Settings) -> None:
    """Begin to note; the ledger's tables are there already."""
    with _connected(settings) as connection:
        lite = connection.dialect.name == "sqlite"
        now = _SQLITE_NOW if lite else _POSTGRES_NOW
        for statement in (_TABLE, *(_SQLITE if lite else _POSTGRES)):
            connection.exec_driver_sql(statement.replace("{now}", now).replace("%", "%%"))


def notes(settings: Settings) -> dict[tuple[str, int], Note] | None:
    """What was noted, by delivery and attempt; None where nothing was installed."""
    with _connected(settings) as connection:
        if not sa.inspect(connection).has_table("prove_notes"):
            return None
        found: dict[tuple[str, int], Note] = {}
        for row in _rows(connection):
            key = row[0], row[1]
            note = found.get(key, Note((), ()))
            running = row[2] == "running"
            found[key] = Note(
                note.begun + ((row[3],) if running else ()), note.ended + (() if running else (row[2],))
            )
        return found


def _rows(connection: sa.Connection) -> Iterator[Any]:
    yield from connection.exec_driver_sql(
        "SELECT delivery_id, attempt, outcome, at FROM prove_notes ORDER BY at"
    )


def _connected(settings: Settings) -> Any:
    return sa.create_engine(settings.ledger, poolclass=sa.NullPool).begin()
