"""Deliveries per second of the embedded engine with a connector that does nothing.

The peer is bare dramatiq doing nothing: on Redis where redis-server and the redis package are installed, else
on its in-memory StubBroker, which keeps no record of anything and loses its queue with the process.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks._kit import (
    Spent,
    fill,
    goal,
    installation,
    measured,
    running,
    table,
    title,
    until,
    workplace,
    write_config,
)

GOAL = 3000


def conveyor(count: int, threads: int, destinations: int) -> Spent:
    """Deliver ``count`` waiting deliveries, attempt rows included."""
    names = [f"d{number}" for number in range(destinations)]
    each = {"type": "noop", "limits": {"concurrency": 4 * threads}}
    with workplace() as folder:
        path = write_config(folder, dict.fromkeys(names, each), workers={"threads": threads})
        with installation(path) as opened:
            fill(opened, names, -(-count // destinations))
            with measured() as spent, running(opened) as engine:
                until(engine.idle, 600, "all delivered", every=0.02)
            tallies = opened.ledger.deliveries.summary(opened.clock.now())
            delivered = sum(tally.delivered for tally in tallies.values())
            if delivered < count:
                raise SystemExit(f"{delivered} of {count} delivered")
    return spent


@contextmanager
def broker(redis: bool) -> Iterator[Any]:
    """A dramatiq broker with dramatiq's default middleware."""
    if not redis:
        from dramatiq.brokers.stub import StubBroker

        yield StubBroker()
        return
    from dramatiq.brokers.redis import RedisBroker

    from conveyor.testing.ports import free_port, listens, wait_until

    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        argv = ["redis-server", "--port", str(port), "--dir", folder, "--save", "", "--appendonly", "no"]
        server = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        try:
            wait_until(lambda: listens(port), 10, "redis-server")
            yield RedisBroker(url=f"redis://127.0.0.1:{port}/0")
        finally:
            server.terminate()
            server.wait()


def dramatiq(count: int, threads: int, redis: bool) -> Spent:
    """Do nothing ``count`` times in dramatiq, from a filled queue."""
    import dramatiq as library

    done = threading.Semaphore(0)
    with broker(redis) as used:

        @library.actor(broker=used)
        def nothing(_number: int) -> None:
            done.release()

        for number in range(count):
            nothing.send(number)
        worker = library.Worker(used, worker_threads=threads)
        with measured() as spent:
            worker.start()
            for _ in range(count):
                done.acquire()
        worker.stop()
        used.close()
    return spent


def redis_here() -> bool:
    """Whether the Redis peer can run."""
    try:
        import redis  # noqa: F401
    except ImportError:
        return False
    return shutil.which("redis-server") is not None


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--deliveries", type=int, default=8000)
    options.add_argument("--threads", type=int, default=16)
    options.add_argument("--destinations", type=int, default=4)
    options.add_argument("--rounds", type=int, default=3, help="of each, in turn")
    given = options.parse_args()
    redis = redis_here()
    title(f"{given.deliveries} no-ops, {given.threads} threads, {given.rounds} rounds of each in turn")
    if not redis:
        print("  redis-server or the package redis is not installed: the peer is dramatiq's StubBroker")
    peer = f"bare dramatiq, {'Redis' if redis else 'StubBroker (memory only)'}"
    runs: dict[str, list[Spent]] = {"conveyor, embedded": [], peer: []}
    for _ in range(given.rounds):
        runs["conveyor, embedded"].append(conveyor(given.deliveries, given.threads, given.destinations))
        runs[peer].append(dramatiq(given.deliveries, given.threads, redis))
    rates = {name: [given.deliveries / spent.wall for spent in spents] for name, spents in runs.items()}
    table(
        ("", "per second, median", "each round", "CPU µs each"),
        (
            (
                name,
                f"{statistics.median(rates[name]):,.0f}",
                " ".join(f"{rate:,.0f}" for rate in rates[name]),
                f"{1e6 * statistics.median(spent.cpu for spent in spents) / given.deliveries:.0f}",
            )
            for name, spents in runs.items()
        ),
    )
    mine, theirs = (statistics.median(found) for found in rates.values())
    print(f"  ratio: {mine / theirs:.2f}")
    print(goal(f"{GOAL:,} deliveries/s", mine >= GOAL))


if __name__ == "__main__":
    main()
