"""What the millionth delivery costs, on PostgreSQL: rates, CPU and the size of the tables as history grows.

Worker processes deliver one portion after the other through a connector that does nothing; nothing is ever
deleted, and a further million may wait for their retry (``--waiting``). A ledger that is used like this must
cost the last portion what it cost the first, and the rows that are written again and again (workers, leases,
health of destinations) must take no more room.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import sqlalchemy as sa
from benchmarks._kit import (
    HOUR,
    cpu_of,
    delivered,
    fill,
    goal,
    installation,
    table,
    title,
    until,
    workplace,
    write_config,
)
from benchmarks.bench_machines import KEY, processes, servers, work

RENEWED = ("workers", "leases", "destinations_health", "flow")
"""Tables whose few rows are written all the time."""

SAME = 1.25
"""The last portion may cost so many times the first."""


def everybody() -> list[int]:
    """This process, its children and PostgreSQL's: all that works here."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name = stat.read_text().partition("(")[2].partition(")")[0]
        except OSError:
            continue
        if name in ("python", "postgres") or name.startswith("python"):
            found.append(int(stat.parent.name))
    return found


def spent_by(pids: Iterable[int]) -> dict[int, float]:
    """CPU seconds of those processes that are still there: the server ends some of its own."""
    spent = {}
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            spent[pid] = cpu_of(pid)
    return spent


def sizes(ledger: str) -> dict[str, float]:
    """Kilobytes of the renewed tables, and megabytes of all."""
    engine = sa.create_engine(ledger, poolclass=sa.NullPool)
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r' "
            "AND relnamespace = 'public'::regnamespace"
        )
        found = {str(relation): int(size) for relation, size in rows}
    return {**{name: found.get(name, 0) / 1024 for name in RENEWED}, "all": sum(found.values()) / 2**20}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--deliveries", type=int, default=100_000, help="in all; the issue's size: 1000000")
    options.add_argument("--portions", type=int, default=10)
    options.add_argument("--waiting", type=int, default=0, help="beside them, due in an hour")
    options.add_argument("--processes", type=int, default=2)
    options.add_argument("--threads", type=int, default=16, help="of each process")
    given = options.parse_args()
    each = given.deliveries // given.portions
    title(f"{given.portions} portions of {each:,} no-ops, {given.waiting:,} waiting, on PostgreSQL")
    names = [f"d{number}" for number in range(4)]
    rows: list[tuple[str, ...]] = []
    costs: list[float] = []
    with servers() as (server, _), server.ledger() as ledger, workplace() as folder:
        path = write_config(
            folder, {key: {"type": "noop", "limits": {"concurrency": 1000}} for key in names},
            ledger=ledger, broker="ledger", key={"value": KEY}, workers={"threads": given.threads},
        )  # fmt: skip
        with installation(path) as opened:
            if given.waiting:
                fill(opened, names, given.waiting // len(names), due_in=HOUR)
            workers = [(work, (str(path),))] * given.processes
            with processes(workers):
                for number in range(given.portions):
                    opened.ledger.health.pause(names, "not yet", opened.clock.now())
                    fill(opened, names, each // len(names))
                    before, began = spent_by(everybody()), time.monotonic()
                    waiting = given.waiting // len(names) * len(names)
                    opened.ledger.health.resume(names, opened.clock.now())
                    until(partial(delivered, opened, waiting), 1200, "all delivered", every=0.25)
                    took, after = time.monotonic() - began, spent_by(before)
                    spent = sum(after[pid] - before[pid] for pid in after)
                    costs.append(spent / each)
                    size = sizes(ledger)
                    rows.append(
                        (
                            f"{(number + 1) * each:,}",
                            f"{each / took:,.0f}",
                            f"{1e6 * spent / each:.0f}",
                            *(f"{size[name]:,.0f}" for name in RENEWED),
                            f"{size['all']:,.0f}",
                        )
                    )
                    print(f"  {rows[-1]}", flush=True)
    table(("delivered", "per second", "CPU µs each", *(f"{name}, KB" for name in RENEWED), "all, MB"), rows)
    ratio = costs[-1] / costs[0]
    print(f"  CPU of the last portion: {ratio:.2f} times that of the first")
    print(goal(f"no more than {SAME:g} times", ratio <= SAME))


if __name__ == "__main__":
    main()
