"""One clear error with its cure for each way in which a database refuses."""

from __future__ import annotations

import sqlite3

import sqlalchemy.exc

from conveyor.errors import LedgerError, LedgerUnavailable
from conveyor.ledger.schema import MOVED_TO

DRIVER_ERRORS = (sqlite3.Error, sqlalchemy.exc.DBAPIError, sqlalchemy.exc.TimeoutError)
"""What leaves a driver or SQLAlchemy when the database refuses; never leaves the ledger."""

_SQLITE: dict[int, tuple[type[LedgerError], str, str]] = {
    sqlite3.SQLITE_BUSY: (
        LedgerUnavailable,
        "is locked by another process",
        "end the process that holds it (`fuser FILE` names it); make backups with `conveyor backup`",
    ),
    sqlite3.SQLITE_LOCKED: (
        LedgerUnavailable,
        "is locked by another connection",
        "try again; if it stays, restart the engine",
    ),
    sqlite3.SQLITE_READONLY: (
        LedgerError,
        "is read-only",
        "make the file and its folder writable for this user, or run as the user who owns them",
    ),
    sqlite3.SQLITE_FULL: (
        LedgerUnavailable,
        "cannot grow: the disk is full",
        "free space on the disk of the ledger; nothing is lost, work goes on by itself",
    ),
    sqlite3.SQLITE_IOERR: (
        LedgerUnavailable,
        "cannot be read or written: the disk reports an error",
        "check the disk of the ledger (space, quota, `dmesg`)",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        LedgerError,
        "cannot be opened",
        "create its folder and make it writable for this user",
    ),
    sqlite3.SQLITE_PERM: (LedgerError, "may not be opened", "run as the user who owns the file"),
    sqlite3.SQLITE_AUTH: (LedgerError, "may not be opened", "run as the user who owns the file"),
    sqlite3.SQLITE_NOTADB: (
        LedgerError,
        "is not a ledger: the file is no SQLite database",
        "name another file under `ledger:`, or move this one away",
    ),
    sqlite3.SQLITE_CORRUPT: (
        LedgerError,
        "is damaged",
        "stop the engine and restore a backup, or run `sqlite3 FILE .recover` into a new file",
    ),
}
"""By primary result code: https://www.sqlite.org/rescode.html"""

_BUSY = (LedgerUnavailable, "is busy: {said}", "try again; what an engine does goes on by itself")
_POSTGRES: dict[str, tuple[type[LedgerError], str, str]] = {
    # A standby that is about to become the primary, or a primary that has just ceased to be one.
    "25006": (LedgerUnavailable, "is read-only", "connect to the primary server"),
    "28": (LedgerError, "refuses the login", "check user and password in `ledger:`"),
    "3D": (LedgerError, "does not exist", "create the database, then run `conveyor migrate`"),
    "40": _BUSY,
    "42501": (
        LedgerError,
        "refuses this user: {said}",
        "let the user in `ledger:` read and write all tables of the ledger, or name their owner there",
    ),
    "42": (LedgerError, "has other tables than this version expects ({said})", "run `conveyor migrate`"),
    "55P03": _BUSY,
    "57014": _BUSY,
}
"""By SQLSTATE, or its class: https://www.postgresql.org/docs/current/errcodes-appendix.html"""

_AWAY = frozenset({"08", "25P03", "53", "55", "57"})
"""The server has gone away or has no room; 25P03: it ended the connection of a process that froze."""


def _sqlite(error: sqlite3.Error, name: str) -> LedgerError:
    code: int = getattr(error, "sqlite_errorcode", 0) or 0
    known = _SQLITE.get(code & 0xFF)
    if known is None:
        return LedgerError(f"ledger {name}: {error}", cure="report this with the version and the message")
    kind, what, cure = known
    return kind(f"ledger {name} {what}", cure=cure)


def raised_by_driver(error: BaseException, name: str) -> LedgerError:
    """As :func:`translated`, of what psycopg itself raised.

    Args:
        error: A ``psycopg.Error``.
        name: The database as people know it.
    """
    state: str | None = getattr(error, "sqlstate", None)
    text = str(error).strip().splitlines()
    said = text[0] if text else type(error).__name__
    states = () if state is None else (state, state[:2])
    for known in states:
        if known in _POSTGRES:
            kind, what, cure = _POSTGRES[known]
            return kind(f"ledger {name} {what.format(said=said)}", cure=cure)
    operational = "OperationalError" in {kind.__name__ for kind in type(error).__mro__}
    if operational or not _AWAY.isdisjoint(states):
        return LedgerUnavailable(
            f"ledger {name} cannot be reached: {said}",
            cure="check that the server runs and accepts connections; work goes on when it is back",
        )
    return LedgerError(f"ledger {name}: {said}", cure="report this with the version and the message")


def translated(error: BaseException, name: str) -> LedgerError:
    """Turn what a driver raised into the user's error.

    Args:
        error: One of ``DRIVER_ERRORS``.
        name: The database as people know it: a file, or a URL without its password.
    """
    cause = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return _sqlite(cause, name)
    if isinstance(error, sqlalchemy.exc.DBAPIError):
        return raised_by_driver(error.orig or error, name)
    return LedgerUnavailable(f"ledger {name} is too busy: {error}", cure="lower workers.threads")


def moved(name: str, where: str) -> LedgerError:
    """Of a ledger whose content lives elsewhere by now.

    Args:
        name: The database as people know it.
        where: The other one, likewise.
    """
    return LedgerError(
        f"ledger {name} was moved to {where}",
        cure=f"set `ledger:` to that; to go back nevertheless, remove {MOVED_TO!r} from its table meta",
    )
