"""How soon work goes on after a worker was killed, and how exactly retries begin, on PostgreSQL.

A worker process that holds attempts under way is ended by SIGKILL while another one is idle; seconds count
until the other has begun them anew: on the same host, where the process is seen to be gone, and on another
host, where nothing but the lease tells. Then deliveries fail once, each on the schedule's second, and what
counts is how much later than due the retry begins, with threads free.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import time
from pathlib import Path
from typing import Any

from benchmarks._kit import (
    delivered,
    fill,
    goal,
    installation,
    quantiles,
    table,
    title,
    until,
    workplace,
    write_config,
)
from benchmarks.bench_machines import KEY, servers, spawn, work

from conveyor.clock import SECOND
from conveyor.installation import Installation
from conveyor.ledger.records import Filter

SAME_HOST, PUNCTUAL = 5.0, 0.250
"""Seconds: the goals; on another host it is the lease and five more."""

LEASE = 10.0
"""Seconds."""


def work_elsewhere(path: str, ready: Any, end: Any) -> None:
    """A worker process that says it is on another host."""
    from conveyor.delivery import identity

    identity.machine = lambda: ("another-host", "another boot", "")
    work(path, ready, end)


def attempts(opened: Installation) -> list[list[Any]]:
    """The attempts of each delivery."""
    ledger = opened.ledger.deliveries
    return [ledger.attempts(record.id) for record in ledger.find(Filter(), limit=10_000)]


def config(folder: Path, ledger: str, kind: str, **more: Any) -> Path:
    """One destination of that type."""
    return write_config(
        folder, {"there": {"type": kind, "limits": {"concurrency": 1000}, **more}},
        ledger=ledger, broker="ledger", key={"value": KEY}, workers={"threads": 16, "lease": f"{LEASE:g}s"},
    )  # fmt: skip


def recovery(ledger: str, victim: Any, count: int) -> list[float]:
    """Seconds from the kill until each attempt of the killed worker was begun anew by the other one."""
    with workplace() as folder:
        path = config(folder, ledger, "hung")
        with installation(path) as opened:
            ready, end = spawn.Semaphore(0), spawn.Event()
            killed = spawn.Process(target=victim, args=(str(path), ready, end), daemon=True)
            killed.start()
            ready.acquire(timeout=120)
            fill(opened, ["there"], count)
            until(lambda: all(attempts(opened)), 30, "all under way", every=0.05)
            other = spawn.Process(target=work, args=(str(path), ready, end), daemon=True)
            other.start()
            ready.acquire(timeout=120)
            time.sleep(1.5 * LEASE)  # the other has been in contact for long enough to judge
            at = opened.clock.now()
            assert killed.pid is not None
            os.kill(killed.pid, signal.SIGKILL)
            killed.join()
            until(lambda: all(len(each) > 1 for each in attempts(opened)), 60, "all begun anew", every=0.05)
            found = [(each[1].started_at - at) / SECOND for each in attempts(opened)]
            other.kill()
            other.join()
    return found


def lateness(ledger: str, count: int) -> list[float]:
    """Seconds by which each retry began later than it was due."""
    with workplace() as folder:
        path = config(folder, ledger, "flaky", retry={"schedule": ["1s", "2s"]}, breaker={"volume": 100_000})
        with installation(path) as opened:
            ready, end = spawn.Semaphore(0), spawn.Event()
            worker = spawn.Process(target=work, args=(str(path), ready, end), daemon=True)
            worker.start()
            ready.acquire(timeout=120)
            for _ in range(count):
                fill(opened, ["there"], 1)
                time.sleep(0.02)
            until(lambda: delivered(opened), 120, "all delivered", every=0.1)
            found = [
                (after.started_at - before.next_attempt_at) / SECOND
                for each in attempts(opened)
                for before, after in itertools.pairwise(each)
                if before.next_attempt_at is not None
            ]
            end.set()
            worker.join(60)
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--attempts", type=int, default=12, help="under way in the killed worker")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--retries", type=int, default=300)
    given = options.parse_args()
    title(f"a worker killed with {given.attempts} attempts, a lease of {LEASE:g} s; {given.retries} retries")
    found: dict[str, list[float]] = {}
    with servers() as (server, _):
        for _ in range(given.rounds):
            for name, victim in (("same host", work), ("another host", work_elsewhere)):
                with server.ledger() as ledger:
                    found.setdefault(name, []).extend(recovery(ledger, victim, given.attempts))
        with server.ledger() as ledger:
            found["retry begins after it is due"] = lateness(ledger, given.retries)
    table(
        ("", "median", "p99", "longest"),
        ((name, *(f"{1000 * value:,.0f} ms" for value in quantiles(each))) for name, each in found.items()),
    )
    limits = {
        "same host": (SAME_HOST, 2),
        "another host": (LEASE + SAME_HOST, 2),
        "retry begins after it is due": (PUNCTUAL, 1),
    }
    for name, (limit, which) in limits.items():
        print(goal(f"{name}: within {limit:g} s", quantiles(found[name])[which] <= limit))


if __name__ == "__main__":
    main()
