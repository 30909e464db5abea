"""What only a server can do: tell of changes, share a clock, stand behind a pooler, be restarted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from servers.pgbouncer import Bouncer
from servers.postgres import Postgres

from conveyor.clock import SECOND, SystemClock
from conveyor.contract import ConflictPolicy
from conveyor.errors import LedgerError, LedgerUnavailable
from conveyor.keyring import Keyring
from conveyor.ledger import open_ledger
from conveyor.ledger.facade import Ledger
from conveyor.ledger.postgres import PREPARED, PostgresDatabase
from conveyor.ledger.records import JobRecord, Placement, Status
from conveyor.ledger.servertime import ServerClock
from conveyor.testing.clock import FakeClock
from conveyor.testing.ports import wait_until

pytestmark = pytest.mark.server

Kits = Callable[[Ledger], Any]

KEY = "bGVkZ2VyLXRlc3Qta2V5LWxlZGdlci10ZXN0LWtleSE="


@pytest.fixture
def address(postgres_server: Postgres) -> Iterator[str]:
    with postgres_server.ledger() as url:
        yield url


@pytest.fixture
def url(address: str) -> str:
    """What the fixture ``kit_over`` names."""
    return address


def opened(url: str, **options: Any) -> Ledger:
    return open_ledger(url, clock=options.pop("clock", FakeClock()), **options)


def database(ledger: Ledger) -> PostgresDatabase:
    assert isinstance(ledger.database, PostgresDatabase)
    return ledger.database


def setting(ledger: Ledger, name: str) -> str:
    with ledger.database.write(quiet=True) as connection:
        return str(connection.execute(sa.text(f"SHOW {name}")).scalar_one())


def test_what_another_process_submits_is_heard(address: str, kit_over: Kits) -> None:
    with opened(address) as here, opened(address) as there:
        here.database.changed()
        wait_until(lambda: database(here).told, 10, "LISTEN")
        here.database.changed()
        assert not here.database.changed()
        kit = kit_over(there)
        kit.submit("a")
        began = time.monotonic()
        wait_until(here.database.changed, 10, "the news")
        assert time.monotonic() - began < 5
        kit.worker()
        assert len(kit.claim("a")) == 1  # claims and beats concern nobody else
        there.workers.beat("worker", kit.now)
        kit.record()
        assert not here.database.changed()


def test_a_listener_connects_again_after_a_restart(
    postgres_server: Postgres, address: str, kit_over: Kits
) -> None:
    with opened(address) as here, opened(address) as there:
        here.database.changed()
        wait_until(lambda: database(here).told, 10, "LISTEN")
        postgres_server.stop()
        wait_until(lambda: not database(here).told, 10, "silence")
        with pytest.raises(LedgerUnavailable):
            there.workers.all()
        postgres_server.start()
        wait_until(lambda: database(here).told, 60, "LISTEN again")
        assert here.database.changed()  # what came meanwhile was missed
        kit_over(there).submit("a")
        wait_until(here.database.changed, 10, "the news")


def test_all_machines_share_the_servers_clock(address: str) -> None:
    with opened(address, clock=SystemClock()) as ledger:
        assert isinstance(ledger.clock, ServerClock)
        server = database(ledger).server_time()
        assert abs(ledger.clock.now() - server) < SECOND
    fake = FakeClock()
    with opened(address, clock=fake) as ledger:
        assert ledger.clock is fake


def test_no_statement_no_lock_and_no_idle_transaction_lasts_for_ever(address: str) -> None:
    with opened(address) as ledger:
        assert setting(ledger, "statement_timeout") == "1min"
        assert setting(ledger, "lock_timeout") == "30s"
        assert setting(ledger, "idle_in_transaction_session_timeout") == "1min"


def test_a_statement_that_takes_too_long_is_an_error_with_its_cure(address: str) -> None:
    def sleep(ledger: Ledger) -> None:
        with ledger.database.write() as connection:
            connection.execute(sa.text("SET LOCAL statement_timeout = 50"))
            connection.execute(sa.text("SELECT pg_sleep(30)"))

    with opened(address) as ledger, pytest.raises(LedgerUnavailable, match="statement timeout"):
        sleep(ledger)


def test_as_many_connections_as_threads(address: str) -> None:
    entered, leave = threading.Semaphore(0), threading.Event()

    def hold(ledger: Ledger) -> None:
        with ledger.database.read() as connection:
            connection.execute(sa.text("SELECT 1"))
            entered.release()
            assert leave.wait(60)

    with opened(address, connections=12) as ledger, ThreadPoolExecutor(20) as pool:
        held = [pool.submit(hold, ledger) for _ in range(20)]
        for _ in held:
            assert entered.acquire(timeout=60)
        leave.set()
        for each in held:
            each.result()


def _updates(ledger: Ledger, table: str) -> tuple[int, int]:
    """All of a table's updates so far, and those that left its indexes alone."""
    with ledger.database.write(quiet=True) as connection:
        connection.execute(sa.text("SELECT pg_stat_force_next_flush()"))
    with ledger.database.read() as connection:
        row = connection.execute(
            sa.text("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = :table"),
            {"table": table},
        ).one()
    return row[0], row[1]


def test_beats_order_of_service_and_ends_of_attempts_leave_no_bloat(address: str, kit_over: Kits) -> None:
    with opened(address) as ledger:
        kit = kit_over(ledger)
        kit.worker()
        for _ in range(100):
            kit.submit("a")
        for _ in range(100):
            kit.clock.advance(1)
            ledger.workers.beat("worker", kit.now)
            kit.record(kit.report(kit.one("a", limit=1)))
        for table in ("workers", "destinations_health", "attempts"):
            wait_until(lambda: _updates(ledger, table)[0] >= 100, 30, "the server's statistics")  # noqa: B023
            updates, hot = _updates(ledger, table)
            assert hot >= 0.9 * updates, table


def test_the_tables_are_kept_as_a_queue_needs_it(address: str) -> None:
    from conveyor.ledger.schema import UPKEEP

    with opened(address) as ledger, ledger.database.read() as connection:
        for table, parameters in UPKEEP.items():
            told = connection.execute(
                sa.text("SELECT reloptions FROM pg_class WHERE oid = CAST(:name AS regclass)"),
                {"name": table.name},
            ).scalar_one()
            assert set(told) == {pair.replace(" ", "") for pair in parameters.split(",")}


# --- behind PgBouncer in transaction mode ------------------------------------------------------------


@pytest.fixture
def pooled(address: str, pgbouncer_server: Bouncer) -> str:
    return pgbouncer_server.url(address.rpartition("/")[2])


def test_a_ledger_works_behind_a_pooler(pooled: str, kit_over: Kits) -> None:
    with opened(pooled) as ledger:
        assert database(ledger).pooled
        assert setting(ledger, "statement_timeout") == "1min"
        kit = kit_over(ledger)
        for number in range(8):
            kit.worker(f"worker{number}")
        for _ in range(40):
            kit.submit("a")

        def work(number: int) -> int:
            done = 0
            while claims := kit.claim("a", worker=f"worker{number}", limit=3, cap=100):
                assert ledger.workers.beat(f"worker{number}", kit.now) is not None
                assert not kit.record(*(kit.report(claim) for claim in claims))
                done += len(claims)
            return done

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(work, range(8))) == 40


def test_statements_are_prepared_only_where_no_pooler_gives_the_session_to_others(
    pooled: str, address: str
) -> None:
    for url, direct, kept in ((address, None, PREPARED), (pooled, None, None), (pooled, address, None)):
        with opened(url, direct=direct) as ledger, ledger.database.read() as connection:
            assert connection.connection.driver_connection.prepare_threshold == kept


def test_behind_a_pooler_changes_are_looked_for(pooled: str) -> None:
    with opened(pooled) as ledger:
        assert ledger.database.changed()
        assert not ledger.database.changed()
        wait_until(ledger.database.changed, 10, "the next look")
        assert not database(ledger).told


def test_past_the_pooler_changes_are_heard(pooled: str, address: str, kit_over: Kits) -> None:
    with opened(pooled, direct=address) as ledger:
        ledger.database.changed()
        wait_until(lambda: database(ledger).told, 10, "LISTEN")
        ledger.database.changed()
        kit_over(ledger).submit("a")
        wait_until(ledger.database.changed, 10, "the news")


def test_a_pooler_whose_server_is_away_is_an_outage_and_no_defect(
    pooled: str, postgres_server: Postgres, kit_over: Kits
) -> None:
    with opened(pooled) as ledger:
        kit = kit_over(ledger)
        kit.submit("a")
        postgres_server.stop()
        with pytest.raises(LedgerError):
            kit.submit("a")
        postgres_server.start()

        def again() -> bool:
            try:
                kit.submit("a")
            except LedgerError:
                return False
            return True

        wait_until(again, 60, "the ledger to be back")


@pytest.mark.parametrize("between", ["paused_at = 1", "block_reason = 'deactivated', blocked_since = 1"])
def test_a_claim_far_below_the_cap_is_undone_where_the_destination_was_held_meanwhile(
    address: str, kit_over: Kits, between: str
) -> None:
    with opened(address) as ledger, ThreadPoolExecutor(1) as other:
        kit = kit_over(ledger)
        kit.worker()
        kit.deliver("a")
        (ident,) = kit.submit("a")
        with database(ledger).write(quiet=True) as connection:
            connection.execute(sa.text(f"UPDATE destinations_health SET {between} WHERE destination = 'a'"))
            claimed = other.submit(kit.claim, "a", cap=1000)
            wait_until(lambda: _waits_for_a_lock(ledger), 30, "the claim to wait for the destination")
        assert claimed.result(30) == []
        assert kit.status(ident) is Status.PENDING
        assert ledger.deliveries.attempts(ident) == []


def test_a_claim_far_below_the_cap_waits_for_no_other(address: str, kit_over: Kits) -> None:
    """A slow process reads and writes its claims; it keeps nobody from taking theirs."""
    with opened(address) as ledger, ThreadPoolExecutor(1) as other:
        kit = kit_over(ledger)
        kit.worker()
        kit.deliver("a")
        kit.submit("a")
        kit.submit("a")
        reading, go_on = threading.Event(), threading.Event()

        def slow(job: JobRecord, *_: object) -> Placement:
            reading.set()
            assert go_on.wait(30)
            return Placement(job.filename, ConflictPolicy.RENAME)

        first = other.submit(kit.claim, "a", limit=1, cap=1000, place=slow)
        assert reading.wait(30)
        assert len(kit.claim("a", limit=1, cap=1000)) == 1
        go_on.set()
        assert len(first.result(30)) == 1


def _waits_for_a_lock(ledger: Ledger) -> bool:
    with ledger.database.read() as connection:
        asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'health'"
        return bool(connection.execute(sa.text(asked)).scalar_one())


def test_what_is_given_up_this_moment_is_no_surprise(address: str) -> None:
    """Whoever finds a row there may find none a statement later: transactions see what others commit."""
    keyring = Keyring([KEY])
    with opened(address, keyring=keyring) as here, opened(address, keyring=keyring) as there:
        here.leases.take("n", "one", 10, 0)
        here.memory.put_if_absent("a", "k", "old")
        meanwhile = {
            "INSERT INTO leases": lambda: here.leases.release("n", "one"),
            "INSERT INTO memory": lambda: here.memory.forget("a", "k"),
        }

        def look(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            for begin in [each for each in meanwhile if statement.startswith(each)]:
                meanwhile.pop(begin)()

        sa.event.listen(database(there)._engine, "after_cursor_execute", look)
        assert not there.leases.take("n", "two", 20, 0), "the next time"
        assert there.leases.take("n", "two", 20, 0)
        assert there.memory.put_if_absent("a", "k", "new") == "new"
        assert meanwhile == {}
