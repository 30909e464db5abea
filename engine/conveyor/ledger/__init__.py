"""The ledger: jobs, deliveries, attempts, destinations' health, workers. The truth.

Ownership is decided by fences and conditional updates, never by comparing times, so a clock that is set back
can delay work but not double or lose it. New submissions are due at once; what waits for a time waits until
the corrected clock reaches it (``replay`` makes it due now); a lease given before counts for one lease from
now at most (:meth:`~conveyor.ledger.workers.Workers.reap`); the order of service starts afresh
(:meth:`~conveyor.ledger.claims.Claims.due`); a probe clears its block whatever the times say.

Importing this package is cheap; SQLAlchemy comes with the first ledger that is opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conveyor.clock import Clock
    from conveyor.keyring import Keyring
    from conveyor.ledger.facade import Ledger

__all__ = ["current_version", "migrate", "open_ledger"]


def open_ledger(
    url: str,
    *,
    clock: Clock,
    keyring: Keyring | None = None,
    connections: int = 16,
    direct: str | None = None,
) -> Ledger:
    """Open a ledger that is ready for use.

    A SQLite file is made when missing, and brought up to date by one process at a time. A PostgreSQL database
    is only checked: ``conveyor migrate`` prepares it.

    Args:
        url: ``sqlite:///file`` or ``postgresql+psycopg://user:password@host/database``.
        clock: The source of time of what the ledger stamps by itself. Where it is the machine's own and the
            ledger is on a server, the server's takes its place; the ledger's ``clock`` says which one counts.
        keyring: Needed for the memory and for destinations kept in the ledger; they are stored encrypted.
        connections: To a server, at most so many at a time.
        direct: URL of the same PostgreSQL database past a pooler in transaction mode, for LISTEN.

    Raises:
        LedgerError: It cannot be used: not current, of a newer version, read-only, no ledger at all …
        LedgerUnavailable: Not just now: locked, full disk, unreachable.
    """
    from conveyor.ledger.facade import open_facade

    return open_facade(url, clock=clock, keyring=keyring, connections=connections, direct=direct)


def migrate(url: str) -> str:
    """Create the tables or bring them up to date. Returns the version reached. Raises LedgerError."""
    from conveyor.ledger.versions import migrate_url

    return migrate_url(url)


def current_version(url: str) -> str | None:
    """The version of the tables; None when there are none. Raises LedgerError."""
    from conveyor.ledger.versions import version_of_url

    return version_of_url(url)
