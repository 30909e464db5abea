"""What refuses says so once, with the cure; nothing is lost."""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from conveyor.errors import LedgerError, LedgerUnavailable
from conveyor.ledger import migrate, open_ledger
from conveyor.ledger.facade import Ledger
from conveyor.ledger.health import ensure
from conveyor.ledger.records import Filter
from conveyor.ledger.sqlite import SqliteDatabase

SECRET = "pg-test-secret"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "conveyor.db"
    migrate(f"sqlite:///{path}")
    return path


def test_the_file_is_private(file: Path, clock: Any) -> None:
    with open_ledger(f"sqlite:///{file}", clock=clock) as ledger:
        ledger.health.pause(["a"], None, 1)
        modes = {path.name: path.stat().st_mode & 0o777 for path in file.parent.iterdir()}
    assert modes == {"conveyor.db": 0o600, "conveyor.db-wal": 0o600, "conveyor.db-shm": 0o600}


def test_locked_by_another_process(file: Path, clock: Any) -> None:
    database = SqliteDatabase(file, busy_timeout=0.05)
    ledger = Ledger(database, clock=clock)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerUnavailable, match="locked by another process") as caught:
        ledger.health.pause(["a"], None, 1)
    assert caught.value.cure
    assert ledger.deliveries.find(Filter(), limit=1) == [], "reading goes on"
    other.execute("ROLLBACK")
    ledger.health.pause(["a"], None, 1)
    assert ledger.health.get(["a"])
    ledger.close()
    other.close()


def test_read_only(file: Path, clock: Any) -> None:
    with open_ledger(f"sqlite:///{file}", clock=clock) as ledger:
        ledger.database._raw.execute("PRAGMA query_only=ON")  # type: ignore[attr-defined]
        with pytest.raises(LedgerError, match="is read-only") as caught:
            ledger.health.pause(["a"], None, 1)
    assert "writable" in str(caught.value.cure)


def test_disk_full_undoes_the_transaction_and_passes(file: Path, clock: Any) -> None:
    with open_ledger(f"sqlite:///{file}", clock=clock) as ledger:
        raw = ledger.database._raw  # type: ignore[attr-defined]
        pages = raw.execute("PRAGMA page_count").fetchone()[0]
        raw.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(LedgerUnavailable, match="the disk is full") as caught:
            ledger.health.pause([f"destination-{n:06d}" for n in range(5000)], "note", 1)
        assert "free space" in str(caught.value.cure)
        assert ledger.health.get() == {}
        raw.execute("PRAGMA max_page_count=1000000")
        ledger.health.pause(["a"], None, 1)
        assert set(ledger.health.get()) == {"a"}


def test_not_a_ledger(tmp_path: Path, clock: Any) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\xff\xd8\xff" * 1000)
    with pytest.raises(LedgerError, match="is not a ledger") as caught:
        open_ledger(f"sqlite:///{path}", clock=clock)
    assert caught.value.cure
    assert path.read_bytes() == b"\xff\xd8\xff" * 1000


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:///{tmp}/none/x.db", "its folder does not exist"),
        ("sqlite:///{tmp}", "is a folder"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("mysql://root@localhost/x", "'mysql' is not supported"),
        ("what?", "cannot be read"),
    ],
)
def test_unusable_urls(tmp_path: Path, clock: Any, url: str, message: str) -> None:
    with pytest.raises(LedgerError, match=message) as caught:
        open_ledger(url.format(tmp=tmp_path), clock=clock)
    assert caught.value.cure


def test_an_unreachable_server_is_named_without_its_password(clock: Any) -> None:
    pytest.importorskip("psycopg")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        with pytest.raises(LedgerUnavailable, match="cannot be reached") as caught:
            open_ledger(f"postgresql+psycopg://u:{SECRET}@127.0.0.1:{port}/x", clock=clock)
    assert SECRET not in str(caught.value)
    assert f":***@127.0.0.1:{port}" in caught.value.message


@pytest.mark.server
def test_a_server_that_goes_away_comes_back(postgres_server: Any, clock: Any) -> None:
    name = f"gone_{os.getpid()}"
    postgres_server.execute(f"CREATE DATABASE {name} TEMPLATE ledger_template")
    with open_ledger(postgres_server.url(name), clock=clock) as ledger:
        ledger.health.pause(["a"], None, 1)
        postgres_server.execute(
            # With a time the server waits until they have ended.
            f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'"
        )
        # What the server ended while it lay in the pool is replaced before anybody stumbles over it.
        ledger.health.pause(["b"], None, 1)
        assert set(ledger.health.get()) == {"a", "b"}
        with pytest.raises(LedgerUnavailable), ledger.database.write() as connection:
            connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
        assert set(ledger.health.get()) == {"a", "b"}
    postgres_server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _transact(ledger: Ledger, statements: list[str]) -> None:
    with ledger.database.write() as connection:
        for statement in statements:
            if statement == "sleep":
                time.sleep(0.5)
            else:
                connection.exec_driver_sql(statement)


@pytest.mark.server
@pytest.mark.parametrize(
    ("statements", "kind", "said", "cure"),
    [
        (
            ["SET LOCAL idle_in_transaction_session_timeout = '100ms'", "sleep"],
            LedgerUnavailable,
            "cannot be reached: terminating connection due to idle-in-transaction timeout",
            "work goes on when it is back",
        ),
        (
            ["SET TRANSACTION READ ONLY", "UPDATE jobs SET source = ''"],
            LedgerUnavailable,
            "is read-only",
            "primary",
        ),
        (
            ["SET LOCAL statement_timeout = '100ms'", "SELECT pg_sleep(9)"],
            LedgerUnavailable,
            "is busy: canceling statement due to statement timeout",
            "try again",
        ),
        (
            ["SET LOCAL ROLE pg_monitor", "SELECT id FROM jobs"],
            LedgerError,
            "refuses this user: permission denied for table jobs",
            "let the user in `ledger:` read and write",
        ),
        (
            ["SELECT nothing FROM jobs"],
            LedgerError,
            "has other tables than this version expects",
            "`conveyor migrate`",
        ),
    ],
)
def test_what_a_server_refuses_is_said_with_its_cure(
    postgres_server: Any, clock: Any, statements: list[str], kind: type[LedgerError], said: str, cure: str
) -> None:
    """What will pass by itself is not held against the destination that was being delivered to."""
    with postgres_server.ledger() as url, open_ledger(url, clock=clock) as ledger:
        with pytest.raises(LedgerError) as caught:
            _transact(ledger, statements)
        assert type(caught.value) is kind
        assert said in caught.value.message
        assert cure in str(caught.value.cure)
        assert ledger.health.get() == {}, "and work goes on"


def test_a_ledger_is_not_carried_over_a_fork(file: Path, clock: Any) -> None:
    with open_ledger(f"sqlite:///{file}", clock=clock) as ledger:
        ledger.database._pid += 1  # type: ignore[attr-defined]
        with pytest.raises(LedgerError, match="before a fork"):
            ledger.health.get()
        ledger.database._pid -= 1  # type: ignore[attr-defined]


def test_changes_by_others_are_noticed(file: Path, clock: Any) -> None:
    url = f"sqlite:///{file}"
    with open_ledger(url, clock=clock) as ledger, open_ledger(url, clock=clock) as other:
        assert ledger.database.changed()
        assert not ledger.database.changed()
        other.health.pause(["a"], None, 1)
        assert ledger.database.changed()
        assert not ledger.database.changed()


def test_own_changes_are_noticed_unless_they_are_quiet(file: Path, clock: Any) -> None:
    url = f"sqlite:///{file}"
    with open_ledger(url, clock=clock) as ledger, open_ledger(url, clock=clock) as other:
        ledger.database.changed()
        ledger.health.pause(["a"], None, 1)
        assert ledger.database.changed()
        with ledger.database.write(quiet=True) as connection:
            ensure(connection, ["b"])
        assert not ledger.database.changed()
        other.health.pause(["c"], None, 2)
        with ledger.database.write(quiet=True) as connection:
            ensure(connection, ["d"])
        assert ledger.database.changed()  # a quiet write hides nothing of what came before it
        assert not ledger.database.changed()


def test_writes_are_undone_when_the_block_raises(kit: Any) -> None:
    def write() -> None:
        with kit.ledger.database.write() as connection:
            ensure(connection, ["a"])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert kit.ledger.health.get() == {}


def test_reads_cannot_write(file: Path, clock: Any) -> None:
    with open_ledger(f"sqlite:///{file}", clock=clock) as ledger:
        with pytest.raises(LedgerError, match="read-only"), ledger.database.read() as connection:
            ensure(connection, ["a"])


def test_durable_writes_are_synchronised(file: Path, clock: Any) -> None:
    with open_ledger(f"sqlite:///{file}", clock=clock) as ledger:
        modes = []
        for durable in (True, False, True):
            with ledger.database.write(durable) as connection:
                modes.append(connection.exec_driver_sql("PRAGMA synchronous").scalar())
    assert modes == [2, 1, 2]
