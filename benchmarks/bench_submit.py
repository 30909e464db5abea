"""Deliveries submitted per second, durable (each commit is fsynced).

In bulk, straight into the ledger; through the API in batches and one by one, each with its own small file
stored and fsynced. The peers: the same rows by bare sqlite3 with the same pragmas, which no ledger can beat,
and dramatiq's StubBroker, which keeps its messages in memory.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
from pathlib import Path

from benchmarks._kit import (
    Spent,
    goal,
    installation,
    measured,
    submissions,
    table,
    title,
    workplace,
    write_config,
)

GOAL = 20_000
NAMES = ("a", "b", "c", "d")


def bulk(folder: Path, jobs: int) -> Spent:
    """Jobs with four deliveries each, 1,000 jobs in a commit; making the records does not count."""
    spent = Spent()
    with installation(folder / "conveyor.yaml") as opened:
        submit = opened.ledger.submissions.submit
        for items in submissions(opened, NAMES, jobs):
            with measured() as one:
                submit(items)
            spent.wall += one.wall
            spent.cpu += one.cpu
    return spent


def api(folder: Path, jobs: int, *, together: bool) -> Spent:
    """Files of 1 KiB through the Python API."""
    from conveyor import Conveyor
    from conveyor.intake import Item

    with installation(folder / "conveyor.yaml") as opened:
        conveyor = Conveyor(opened)
        data = [number.to_bytes(4) * 256 for number in range(jobs)]
        with measured() as spent:
            if together:
                conveyor.submit_many([Item(one, to=NAMES, filename="photo.jpg") for one in data])
            else:
                for one in data:
                    conveyor.submit(one, to=NAMES, filename="photo.jpg")
    return spent


def bare(folder: Path, jobs: int) -> Spent:
    """Copy the rows that ``bulk`` made into an empty ledger of the same schema by executemany."""
    source = sqlite3.connect(folder / "conveyor.db")
    tables = ("payloads", "jobs", "deliveries")
    rows = {name: source.execute(f"SELECT * FROM {name}").fetchall() for name in tables}
    schema = [
        row[0]
        for row in source.execute(
            "SELECT sql FROM sqlite_master"
            " WHERE sql IS NOT NULL AND tbl_name IN ('payloads', 'jobs', 'deliveries')"
        )
    ]
    source.close()
    target = sqlite3.connect(folder / "bare.db", isolation_level=None)
    pragmas = ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON")
    for statement in (*pragmas, *schema):
        target.execute(statement)
    with measured() as spent:
        for start in range(0, jobs, 1000):
            target.execute("BEGIN IMMEDIATE")
            for name in tables:
                many = len(NAMES) if name == "deliveries" else 1
                chunk = rows[name][start * many : (start + 1000) * many]
                marks = ",".join("?" * len(chunk[0]))
                target.executemany(f"INSERT INTO {name} VALUES ({marks})", chunk)
            target.execute("COMMIT")
    target.close()
    return spent


def stub(count: int) -> Spent:
    """Messages put into dramatiq's queue in memory."""
    import dramatiq
    from dramatiq.brokers.stub import StubBroker

    broker = StubBroker()

    @dramatiq.actor(broker=broker)
    def nothing(_number: int) -> None:
        pass

    with measured() as spent:
        for number in range(count):
            nothing.send(number)
    broker.close()
    return spent


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--deliveries", type=int, default=40_000, help="in bulk; the API gets fewer")
    options.add_argument("--rounds", type=int, default=3, help="of each, in turn")
    given = options.parse_args()
    jobs = given.deliveries // len(NAMES)
    few = max(jobs // 20, 50)
    title(f"{given.deliveries} deliveries, {len(NAMES)} of each job, {given.rounds} rounds of each in turn")
    rates: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}

    def note(name: str, deliveries: int, spent: Spent) -> None:
        rates.setdefault(name, []).append(deliveries / spent.wall)
        cpu.setdefault(name, []).append(1e6 * spent.cpu / deliveries)

    for _ in range(given.rounds):
        with workplace() as folder:
            write_config(folder, {name: {"type": "noop"} for name in NAMES})
            note("conveyor, bulk", jobs * len(NAMES), bulk(folder, jobs))
            note("  the rows alone, bare sqlite3", jobs * len(NAMES), bare(folder, jobs))
            together = api(folder, 4 * few, together=True)
            note("conveyor, submit_many of 1 KiB files", 4 * few * len(NAMES), together)
            note("conveyor, submit of one 1 KiB file", few * len(NAMES), api(folder, few, together=False))
            note("dramatiq, StubBroker (memory only)", given.deliveries, stub(given.deliveries))
    table(
        ("", "deliveries/s, median", "each round", "CPU µs each"),
        (
            (
                name,
                f"{statistics.median(found):,.0f}",
                " ".join(f"{rate:,.0f}" for rate in found),
                f"{statistics.median(cpu[name]):.0f}",
            )
            for name, found in rates.items()
        ),
    )
    mine = statistics.median(rates["conveyor, bulk"])
    print(f"  ratio to bare sqlite3: {mine / statistics.median(rates['  the rows alone, bare sqlite3']):.2f}")
    print(goal(f"{GOAL:,} deliveries/s in bulk", mine >= GOAL))


if __name__ == "__main__":
    main()
