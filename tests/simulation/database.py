"""The real SQLite ledger, seen through one process: each transaction is a step, and some of them fail.

What is written is noted by triggers with the process that wrote it, so that the checks need not believe
anybody: a result under an old fence, an attempt that ends twice, a claim of what is paused show there.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from conveyor.errors import LedgerUnavailable
from conveyor.ledger import open_ledger
from conveyor.ledger.database import Database
from conveyor.ledger.prepared import Prepared, Values
from conveyor.ledger.sqlite import SqliteDatabase
from conveyor.testing.clock import FakeClock

if TYPE_CHECKING:
    from simulation.machine import Machine

_NOTES = """
CREATE TABLE sim_moves (number INTEGER PRIMARY KEY, at INTEGER, writer TEXT, id TEXT,
    was TEXT, became TEXT, old_fence INTEGER, new_fence INTEGER, old_worker TEXT, new_worker TEXT,
    due INTEGER, stated INTEGER, paused INTEGER, broken INTEGER);
CREATE TABLE sim_mended (destination TEXT, at INTEGER);
CREATE TABLE sim_twice (id TEXT, attempt INTEGER, was TEXT, became TEXT);
CREATE TRIGGER sim_delivery AFTER UPDATE ON deliveries
WHEN OLD.status <> NEW.status OR OLD.fence <> NEW.fence OR OLD.state IS NOT NEW.state
BEGIN
    INSERT INTO sim_moves (at, writer, id, was, became, old_fence, new_fence, old_worker, new_worker,
        due, stated, paused, broken)
    VALUES (sim_now(), sim_writer(), OLD.id, OLD.status, NEW.status, OLD.fence, NEW.fence,
        OLD.worker, NEW.worker, OLD.next_attempt_at, OLD.state IS NOT NEW.state,
        (SELECT paused_at IS NOT NULL FROM destinations_health WHERE destination = NEW.destination),
        EXISTS (SELECT * FROM destinations_health WHERE destination = NEW.destination
            AND block_reason IN ('breaker', 'deactivated'))
        OR EXISTS (SELECT * FROM sim_mended WHERE destination = NEW.destination AND at = sim_now()));
END;
CREATE TRIGGER sim_health AFTER UPDATE OF block_reason ON destinations_health
WHEN OLD.block_reason IN ('breaker', 'deactivated')
BEGIN
    INSERT INTO sim_mended VALUES (OLD.destination, sim_now());
END;
CREATE TRIGGER sim_attempt AFTER UPDATE ON attempts WHEN OLD.outcome <> 'running'
BEGIN
    INSERT INTO sim_twice VALUES (OLD.delivery_id, OLD.attempt, OLD.outcome, NEW.outcome);
END;
"""


def template(folder: Path, clock: FakeClock) -> Path:
    """An empty ledger with the noting triggers, to be copied for each walk."""
    path = folder / "template.db"
    with open_ledger(f"sqlite:///{path}", clock=clock):
        pass
    raw = sqlite3.connect(path)
    raw.executescript(_NOTES)
    raw.close()
    return path


class Shared:
    """The one database of a walk, and who writes to it at this moment."""

    def __init__(self, original: Path, path: Path, clock: FakeClock) -> None:
        shutil.copyfile(original, path)
        self.real = SqliteDatabase(path)
        self.writer = "operator"
        for raw in (self.real._raw,):
            raw.create_function("sim_writer", 0, lambda: self.writer)
            raw.create_function("sim_now", 0, clock.now)

    def ask(self, question: str) -> Sequence[Any]:
        """Read past everything."""
        return self.real._raw.execute(question).fetchall()

    def close(self) -> None:
        self.real.close()


class SteppedDatabase(Database):
    """One process's way to the ledger.

    Attributes:
        cut: Transactions fail: the process does not reach the ledger.
        drops: So many commits succeed whose answer is lost on the way.
    """

    def __init__(self, shared: Shared, machine: Machine, *, remote: bool) -> None:
        self._shared = shared
        self._machine = machine
        self.name = "simulated"
        self.remote = remote
        self.cut = False
        self.drops = 0

    def read(self) -> _Transaction:
        return _Transaction(self, self._shared.real.read(), writes=False)

    def write(self, durable: bool = False, *, quiet: bool = False) -> _Transaction:
        return _Transaction(self, self._shared.real.write(quiet=quiet), writes=True)

    def first(self, question: Prepared, values: Values) -> Sequence[Any] | None:
        self.before()
        answer = self._shared.real.first(question, values)
        self._machine.hub.touch()
        return answer

    def changed(self) -> bool:
        """As a server that tells nobody."""
        return True

    def close(self) -> None:
        """The walk closes it."""

    def before(self) -> None:
        self._machine.hub.touch()
        if self.cut:
            raise LedgerUnavailable("the ledger cannot be reached", cure="wait")
        self._shared.writer = self._machine.worker_id

    def wrote(self) -> None:
        self._shared.writer = "operator"

    def after(self, *, writes: bool) -> None:
        self._machine.hub.touch()
        if writes and self.drops:
            self.drops -= 1
            raise LedgerUnavailable("the connection broke before the commit was answered", cure="wait")


class _Transaction:
    def __init__(self, database: SteppedDatabase, inner: Any, *, writes: bool) -> None:
        self._database, self._inner, self._writes = database, inner, writes

    def __enter__(self) -> sa.Connection:
        self._database.before()
        connection: sa.Connection = self._inner.__enter__()
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._inner.__exit__(kind, error, trace)
        finally:
            self._database.wrote()
        if error is None:
            self._database.after(writes=self._writes)
