"""The ledger as the engine sees it: one attribute per concept."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from conveyor.ledger.bulk import Bulk
from conveyor.ledger.claims import Claims
from conveyor.ledger.cleanups import Cleanups
from conveyor.ledger.connect import connect
from conveyor.ledger.connections import Connections
from conveyor.ledger.database import Database
from conveyor.ledger.deliveries import Deliveries
from conveyor.ledger.destinations import Destinations
from conveyor.ledger.figures import Figures
from conveyor.ledger.forgetting import Forgetting
from conveyor.ledger.health import Health
from conveyor.ledger.leases import Leases
from conveyor.ledger.memory import Memory
from conveyor.ledger.orders import Orders
from conveyor.ledger.outcomes import Outcomes
from conveyor.ledger.payloads import Payloads
from conveyor.ledger.plugin_failures import PluginFailures
from conveyor.ledger.retention import Retention
from conveyor.ledger.schema import SEALED_PAYLOADS
from conveyor.ledger.sealed import Sealed
from conveyor.ledger.sqlite import SqliteDatabase
from conveyor.ledger.states import States
from conveyor.ledger.submissions import Submissions
from conveyor.ledger.transformed import TransformResults
from conveyor.ledger.versions import check, keep_out_older, refuse_moved, upgrade
from conveyor.ledger.wakeups import Wakeups
from conveyor.ledger.workers import Workers

if TYPE_CHECKING:
    from conveyor.clock import Clock
    from conveyor.keyring import Keyring


class Ledger:
    """An open ledger. Safe from many threads; opened anew after a fork."""

    def __init__(self, database: Database, *, clock: Clock, keyring: Keyring | None = None) -> None:
        self.database = database
        self.clock = clock
        """The time that due times and leases are measured by: the server's, where there is one."""
        self.submissions = Submissions(database)
        self.claims = Claims(database)
        self.wakeups = Wakeups(database)
        self.leases = Leases(database)
        self.outcomes = Outcomes(database)
        self.states = States(database)
        self.workers = Workers(database)
        self.health = Health(database)
        self.deliveries = Deliveries(database)
        self.orders = Orders(database, clock)
        self.bulk = Bulk(database, clock)
        self.payloads = Payloads(database)
        self.cleanups = Cleanups(database)
        self.memory = Memory(database, keyring, clock)
        self.destinations = Destinations(database, keyring)
        self.connections = Connections(database, keyring)
        self.sealed = Sealed(database, keyring)
        self.retention = Retention(database)
        self.transformed = TransformResults(database)
        self.plugin_failures = PluginFailures(database)
        self.figures = Figures(database)
        self.forgetting = Forgetting(database)

    @property
    def embedded(self) -> bool:
        """Whether it is a file on this machine rather than a server."""
        return isinstance(self.database, SqliteDatabase)

    def expect_sealed_payloads(self) -> None:
        """Keep programs out that would take payloads encrypted at rest for damaged ones. Idempotent."""
        keep_out_older(self.database, SEALED_PAYLOADS)

    def close(self) -> None:
        """Release all connections. Idempotent."""
        self.database.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_facade(
    url: str, *, clock: Clock, keyring: Keyring | None, connections: int, direct: str | None
) -> Ledger:
    """See :func:`conveyor.ledger.open_ledger`."""
    database = connect(url, connections=connections, direct=direct)
    try:
        clock = database.clock(clock)
        if isinstance(database, SqliteDatabase):
            upgrade(database)
            refuse_moved(database)
        else:
            check(database)
    except BaseException:
        database.close()
        raise
    return Ledger(database, clock=clock, keyring=keyring)
