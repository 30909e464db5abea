"""Databases walk indexes where a million waiting rows would hurt."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from conveyor.ledger import (
    bulk,
    claims,
    deliveries,
    filters,
    health,
    open_ledger,
    outcomes,
    prepared,
    ranks,
    retention,
    rows,
    states,
    summary,
    wakeups,
    workers,
)
from conveyor.ledger.prepared import Prepared
from conveyor.ledger.records import Filter, Status


@pytest.fixture
def explain(tmp_path: Path, clock: Any) -> Any:
    with open_ledger(f"sqlite:///{tmp_path}/plans.db", clock=clock) as ledger:

        def plan(statement: sa.ClauseElement | Prepared) -> list[str]:
            dialect = ledger.database._writers.dialect  # type: ignore[attr-defined]
            if isinstance(statement, Prepared):
                text = statement.text(dialect)
            else:
                text = str(statement.compile(dialect=dialect))
            text = re.sub(r"__\[POSTCOMPILE_(\w+)\]", r":\1", text)
            with ledger.database.read() as connection:
                raw = connection.connection.dbapi_connection
                found = raw.execute(
                    f"EXPLAIN QUERY PLAN {text}", dict.fromkeys(re.findall(r":(\w+)", text), 1)
                )
                return [row[3] for row in found]

        yield plan


def _no_scan(plan: list[str]) -> None:
    assert not [step for step in plan if step.startswith("SCAN") and step != "SCAN walk"], plan


def test_due_jumps_from_destination_to_destination(explain: Any) -> None:
    plan = explain(claims._DUE)
    _no_scan(plan)
    uses = [step for step in plan if "ix_deliveries_due" in step]
    assert len(uses) == 3
    assert all(step.startswith("SEARCH") for step in uses)
    assert any("ix_deliveries_priority (destination=?)" in step for step in plan), plan


def test_a_claim_starts_at_the_earliest_row_and_sorts_nothing(explain: Any) -> None:
    plan = explain(claims._TAKE)
    _no_scan(plan)
    assert any("ix_deliveries_due (destination=? AND next_attempt_at<?)" in step for step in plan), plan
    assert not any("TEMP B-TREE" in step for step in plan), plan


@pytest.mark.parametrize("statement", [ranks._LEVELS, ranks._OF_LEVEL, ranks._OTHERS])
def test_priorities_are_found_without_reading_what_has_none(explain: Any, statement: Any) -> None:
    plan = explain(statement)
    _no_scan(plan)
    index = "due" if statement is ranks._OTHERS else "priority"
    assert all(f"ix_deliveries_{index}" in step for step in plan if "deliveries" in step), plan
    assert not any("TEMP B-TREE" in step for step in plan), plan


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (claims.RUNNING, "ix_deliveries_running"),
        (claims._CLAIM, "sqlite_autoindex_deliveries"),
        (outcomes._HELD, "sqlite_autoindex_deliveries"),
        (outcomes._END_ATTEMPT, "PRIMARY KEY"),
        (workers._HELD, "ix_deliveries_worker"),
        (states._SUPERSEDED, "ix_deliveries_overwritten"),
        (deliveries._EXPIRED, "ix_deliveries_expiry"),
        (deliveries._NEXT_EXPIRY, "ix_deliveries_expiry"),
        (deliveries._OF_SESSION, "ix_jobs_session"),
        (health._OPEN_OF_TYPE, "ix_deliveries_"),
        (bulk._OPEN_OF_IT, "ix_deliveries_replay"),
        (retention._OLD, "ix_attempts_started (started_at>"),
    ],
)
def test_hot_statements_search_their_index(explain: Any, statement: Any, index: str) -> None:
    plan = explain(statement)
    _no_scan(plan)
    assert any(index in step for step in plan), plan


def test_only_what_was_replayed_in_bulk_is_read_to_leave_it_out(explain: Any) -> None:
    plan = explain(summary._REPLAYED_LAST_DAY)
    assert any("deliveries USING" in step and "ix_deliveries_replay (replay=?" in step for step in plan), plan


@pytest.mark.parametrize("statement", [wakeups._STILL_DUE, wakeups._WOKEN, claims._TAKE_THESE])
def test_what_somebody_was_woken_for_is_found_by_its_id(explain: Any, statement: Any) -> None:
    plan = explain(statement)
    _no_scan(plan)
    assert any("deliveries USING INDEX sqlite_autoindex_deliveries" in step for step in plan), plan


@pytest.mark.server
def test_a_server_without_statistics_finds_it_by_its_id_too(kit: Any) -> None:
    if kit.url.startswith("sqlite"):
        pytest.skip("the test above")
    kit.ledger.submissions.submit([kit.submission("a") for _ in range(2_000)])
    values = {"ids": ["dlv_1"], "now": kit.now, "destination": "a", "room": 1}
    with kit.ledger.database.read() as connection:
        for statement in (wakeups._STILL_DUE, wakeups._WOKEN, claims._TAKE_THESE):
            text, ready = statement.ready(connection.dialect, values)
            plan = "".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {text}", ready))
            assert "pk_deliveries" in plan, plan
            assert "Seq Scan on deliveries" not in plan, plan
        for moves in (claims._CLAIM, *outcomes._MOVES.values()):
            names = re.findall(r"%\((\w+)\)s", moves.text(connection.dialect))
            row = {name: name == "b_look" if name in ("b_look", "b_probe") else 1 for name in names}
            text = prepared._joined(moves.text(connection.dialect), row)
            arrays = prepared._columns([row])
            plan = "".join(step[0] for step in connection.exec_driver_sql(f"EXPLAIN {text}", arrays))
            assert "pk_deliveries" in plan, plan
            assert "ix_deliveries" not in plan, plan
        text = claims._DUE.text(connection.dialect)
        plan = "".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {text}"))
        assert "ix_deliveries_priority" in plan, plan
        assert "Seq Scan on deliveries" not in plan, plan


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (Filter(), "ix_deliveries_created"),
        (Filter(destinations=frozenset({"a"})), "ix_deliveries_destination"),
        (Filter(statuses=frozenset({Status.FAILED})), "ix_deliveries_failed"),
        (Filter(ids=("x",)), "sqlite_autoindex_deliveries"),
        (Filter(sessions=frozenset({"s"})), "ix_deliveries_job"),
        (Filter(since=1, until=2), "ix_deliveries_created"),
    ],
)
def test_listings_read_an_index_in_order(explain: Any, wanted: Filter, index: str) -> None:
    statement = rows.SELECT_DELIVERIES.where(*filters.conditions(wanted)).limit(50)
    plan = explain(filters.ordered(statement, newest_first=True, after=(5, "x")))
    assert any(index in step for step in plan), plan
    if not wanted.ids and not wanted.sessions:
        assert not any("TEMP B-TREE" in step for step in plan), plan


@pytest.mark.server
def test_a_burst_after_a_quiet_time_is_claimed_in_the_order_of_its_index(kit: Any) -> None:
    if kit.url.startswith("sqlite"):
        pytest.skip("it looks at no statistics")
    kit.ledger.submissions.submit([kit.submission("a") for _ in range(2_000)])
    with kit.ledger.database.write() as connection:
        connection.exec_driver_sql(
            "UPDATE deliveries SET status = 'delivered', next_attempt_at = NULL, finished_at = 1"
        )
        connection.exec_driver_sql("ANALYZE")  # nothing is pending, say the statistics
    kit.ledger.submissions.submit([kit.submission("a") for _ in range(500)])
    with kit.ledger.database.read() as connection:
        text, ready = claims._TAKE.ready(connection.dialect, {"now": kit.now, "destination": "a", "room": 16})
        plan = "".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {text}", ready))
    assert "ix_deliveries_due" in plan, plan
    assert "Sort" not in plan, plan
