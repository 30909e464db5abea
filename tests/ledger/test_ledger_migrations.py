"""Migrations add up to the schema; versions are told apart; one process at a time."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory
from cryptography.fernet import Fernet

from conveyor.errors import LedgerError
from conveyor.keyring import Keyring
from conveyor.ledger import current_version, migrate, open_ledger, versions
from conveyor.ledger.connect import connect
from conveyor.ledger.connections import Tokens
from conveyor.ledger.facade import Ledger
from conveyor.ledger.records import Status
from conveyor.ledger.schema import HEAD, OLDEST, SEALED_PAYLOADS, metadata
from conveyor.ledger.versions import SCRIPTS, create, run_migrations

_POSTGRES_TABLES = """
SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
WHERE table_schema = 'public' ORDER BY 1, 2
"""
_POSTGRES_INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
_POSTGRES_CONSTRAINTS = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace ORDER BY 1
"""
_SQLITE_INDEXES = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name"


def _shape(connection: sa.Connection) -> list[Any]:
    """All that the database says about its tables, in an order that does not depend on how they were made."""
    if connection.dialect.name == "sqlite":
        look = sa.inspect(connection)
        tables = [
            (
                name,
                sorted(
                    (c["name"], str(c["type"]), c["nullable"], c["default"]) for c in look.get_columns(name)
                ),
                look.get_pk_constraint(name),
                sorted(look.get_foreign_keys(name), key=str),
                sorted(look.get_check_constraints(name), key=str),
                look.get_table_options(name),
            )
            for name in sorted(look.get_table_names())
        ]
        indexes = [tuple(row) for row in connection.execute(sa.text(_SQLITE_INDEXES))]
        return [tables, [(name, " ".join(sql.split())) for name, sql in indexes]]
    questions = (_POSTGRES_TABLES, _POSTGRES_INDEXES, _POSTGRES_CONSTRAINTS)
    return [[tuple(row) for row in connection.execute(sa.text(question))] for question in questions]


def _undone(url: str, make: Callable[[sa.Connection], None]) -> list[Any]:
    """What ``make`` makes of an empty database, which stays empty."""
    shape: list[Any] = []

    def attempt() -> None:
        with closing(connect(url)) as database, database.write() as connection:
            make(connection)
            shape.extend(_shape(connection))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        attempt()
    return shape


@pytest.fixture
def empty(url: str) -> str:
    """A database without tables."""
    with closing(connect(url)) as database:
        with database.write() as connection:
            metadata.drop_all(connection)
            connection.execute(sa.text("DROP TABLE IF EXISTS alembic_version"))
    return url


def test_the_migrations_end_in_the_schema(empty: str) -> None:
    shapes = [_undone(empty, make) for make in (create, run_migrations)]
    assert shapes[0] == shapes[1]
    assert all(len(part) >= len(metadata.tables) for part in shapes[0])


def test_the_migrations_keep_the_tables_as_the_schema_does(empty: str) -> None:
    if empty.startswith("sqlite"):
        pytest.skip("of PostgreSQL alone")
    found = []
    for make in (create, run_migrations):

        def look(connection: sa.Connection, make: Callable[[sa.Connection], None] = make) -> None:
            make(connection)
            options = sa.text("SELECT relname, reloptions FROM pg_class WHERE reloptions IS NOT NULL")
            found.append({row[0]: set(row[1]) for row in connection.execute(options)})

        _undone(empty, look)
    assert found[0] == found[1]
    assert set(found[0]) >= {"deliveries", "attempts", "workers", "destinations_health"}


def test_the_head_is_the_newest_migration() -> None:
    assert ScriptDirectory(str(SCRIPTS)).get_heads() == [HEAD]


def test_a_database_gets_its_tables_once(empty: str) -> None:
    assert current_version(empty) is None
    assert migrate(empty) == HEAD
    assert migrate(empty) == HEAD
    assert current_version(empty) == HEAD


def test_a_migration_that_fails_leaves_nothing(empty: str) -> None:
    assert _undone(empty, run_migrations)
    assert current_version(empty) is None
    assert migrate(empty) == HEAD


def _copy_what_fits(new: sa.Connection, old: sa.Connection) -> None:
    """Copy all rows into the tables of an older version, which has fewer columns."""
    there = sa.MetaData()
    there.reflect(old)
    for table in metadata.sorted_tables:
        if table.name in there.tables:
            names = [column.name for column in there.tables[table.name].columns]
            rows = new.execute(sa.select(*(table.c[name] for name in names))).mappings().all()
            if rows:
                old.execute(sa.insert(there.tables[table.name]), [dict(row) for row in rows])


def test_a_ledger_of_the_first_version_is_brought_up_to_date_with_all_it_holds(
    empty: str, tmp_path: Path, clock: Any, kit_over: Callable[[Ledger], Any]
) -> None:
    keyring = Keyring([Fernet.generate_key()])
    with open_ledger(f"sqlite:///{tmp_path}/filled.db", clock=clock, keyring=keyring) as ledger:
        filled = kit_over(ledger)
        filled.worker()
        delivered = filled.deliver("a")
        waiting = filled.submit("b")
        ledger.memory.put_if_absent("b", "host key", "kept")
        ledger.memory.put_if_absent("b", "folder:root:photos", "known")
        with closing(connect(empty)) as database, database.write() as old, ledger.database.read() as new:
            run_migrations(old, "0001")
            _copy_what_fits(new, old)
    assert current_version(empty) == "0001"
    if not empty.startswith("sqlite"):
        with pytest.raises(LedgerError, match="is of version 0001"):
            open_ledger(empty, clock=clock)
        assert migrate(empty) == HEAD
    with open_ledger(empty, clock=clock, keyring=keyring) as ledger:
        new = kit_over(ledger)
        assert current_version(empty) == HEAD
        assert [new.status(ident) for ident in delivered + waiting] == [Status.DELIVERED, Status.PENDING]
        assert ledger.memory.forget_unused(1, 9) == 0, "what was known of a folder counts as used just now"
        assert ledger.memory.get("b", "folder:root:photos") == "known"
        assert ledger.memory.forget_unused(1 << 62, 9) == 1
        assert ledger.memory.get("b", "host key") == "kept"
        new.worker("other")
        assert [claim.delivery_id for claim in new.claim("b", "other")] == waiting
        ledger.connections.seed("b", "vendor", Tokens(refresh="r"), clock.now())
        assert [record.id for record in ledger.connections.all()] == ["b"]


def test_a_newer_ledger_is_refused_and_left_alone(kit: Any) -> None:
    with kit.ledger.database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(sa.text("UPDATE meta SET value = '9998' WHERE key = 'oldest_program'"))
    for attempt in (lambda: open_ledger(kit.url, clock=kit.clock), lambda: migrate(kit.url)):
        with pytest.raises(LedgerError, match="newer than this program's") as caught:
            attempt()
        assert "upgrade Conveyor" in str(caught.value.cure)
    assert current_version(kit.url) == "9999"


def test_a_worker_of_the_version_before_runs_beside_new_ones(
    kit: Any, kit_over: Callable[[Ledger], Any]
) -> None:
    """This program is the one before: the next one's migration has expanded the tables meanwhile."""
    kit.worker()
    with kit.ledger.database.write() as connection:
        for statement in (
            "ALTER TABLE deliveries ADD COLUMN of_tomorrow TEXT",
            "ALTER TABLE jobs ADD COLUMN counted BIGINT NOT NULL DEFAULT 0",
            "CREATE TABLE tomorrow (id TEXT PRIMARY KEY)",
            "UPDATE alembic_version SET version_num = '9999'",
        ):
            connection.execute(sa.text(statement))
    running = kit.deliver("a")  # it ran already, and goes on
    assert migrate(kit.url) == "9999", "nothing is taken back"
    keyring = Keyring([Fernet.generate_key()])
    with open_ledger(kit.url, clock=kit.clock, keyring=keyring) as ledger:
        restarted = kit_over(ledger)
        (waiting,) = restarted.submit("b")
        restarted.worker("restarted")
        restarted.record(restarted.report(restarted.one("b", "restarted"), Status.FAILED))
        restarted.replay(waiting)
        assert restarted.status(waiting) is Status.PENDING
        assert restarted.status(running[0]) is Status.DELIVERED
    assert current_version(kit.url) == "9999"


_BEFORE_SEALED = "0011"


def test_older_programs_are_kept_out_where_they_would_do_harm(
    empty: str, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as payloads are encrypted, which they would take for damaged."""
    migrate(empty)
    with monkeypatch.context() as before:
        before.setattr(versions, "HEAD", _BEFORE_SEALED)
        open_ledger(empty, clock=clock).close()
    with open_ledger(empty, clock=clock) as ledger:
        ledger.expect_sealed_payloads()
        ledger.expect_sealed_payloads()
        with monkeypatch.context() as before:
            before.setattr(versions, "HEAD", _BEFORE_SEALED)
            with pytest.raises(LedgerError, match="newer than this program's"):
                open_ledger(empty, clock=clock)
        with ledger.database.write() as connection:
            connection.execute(sa.text(f"UPDATE alembic_version SET version_num = '{_BEFORE_SEALED}'"))
            connection.execute(sa.text("ALTER TABLE payloads DROP COLUMN sealed_key"))
            connection.execute(sa.text("DROP INDEX ix_memory_used"))
            connection.execute(sa.text("ALTER TABLE memory DROP COLUMN used_at"))
    assert migrate(empty) == HEAD
    with closing(connect(empty)) as database, database.read() as connection:
        found = connection.execute(sa.text("SELECT value FROM meta WHERE key = 'oldest_program'")).scalar()
    assert found == SEALED_PAYLOADS > OLDEST, "a migration does not let them in again"


def _contracts(source: str) -> list[str]:
    """What a migration does that a program which does not know of it may stumble over."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        name = node.func.attr
        if name == "drop_index" and ast.unparse(node.args[0]).startswith("'ix_"):
            continue  # nothing is unique by it: older programs find the same rows, more slowly
        if name.startswith(("drop_", "alter_", "rename_")) or name in (
            "create_check_constraint",
            "batch_alter_table",
        ):
            found.append(name)
        if name == "add_column":
            said = ast.unparse(node)
            if "nullable=False" in said and "server_default" not in said:
                found.append("add_column without a default")
    return found


def test_migrations_that_older_programs_live_with_only_expand() -> None:
    assert OLDEST <= HEAD
    for file in sorted((SCRIPTS / "versions").glob("*.py")):
        if file.name[:4] > OLDEST:
            assert not _contracts(file.read_text()), f"{file.name}: raise OLDEST, or expand only"
    assert _contracts("op.drop_column('jobs', 'key')") == ["drop_column"]
    assert _contracts("op.drop_index('uq_jobs_key', 'jobs')") == ["drop_index"]
    assert _contracts("op.add_column('jobs', sa.Column('n', sa.Text, nullable=False))")
    assert not _contracts("op.add_column('jobs', sa.Column('n', sa.Text))")


def test_an_embedded_ledger_is_made_on_start_and_a_server_wants_migrate(empty: str, clock: Any) -> None:
    if empty.startswith("sqlite"):
        open_ledger(empty, clock=clock).close()
        return
    with pytest.raises(LedgerError, match="has no tables yet") as caught:
        open_ledger(empty, clock=clock)
    assert "conveyor migrate" in str(caught.value.cure)


def test_tables_of_another_program_are_left_alone(empty: str) -> None:
    with closing(connect(empty)) as database, database.write() as connection:
        connection.execute(sa.text("CREATE TABLE jobs (id INTEGER)"))
    with pytest.raises(LedgerError, match="another program"):
        migrate(empty)


_START = """
import sys
from conveyor.clock import SystemClock
from conveyor.ledger import open_ledger
sys.stdin.readline()
open_ledger(sys.argv[1], clock=SystemClock()).close()
"""


def test_many_processes_may_start_on_a_new_file_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new.db"
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", _START, url], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    ends = [starter.communicate("go\n", timeout=60) for starter in starters]
    assert [starter.returncode for starter in starters] == [0] * 4, ends
    assert current_version(url) == HEAD
