"""Deliveries per second of worker processes on PostgreSQL: alone, woken by Redis, woken by RabbitMQ.

The destination does nothing; each delivery is claimed, attempted and recorded in a ledger that waits for
the disk (``synchronous_commit``). Beside it, bare dramatiq does nothing on the same broker, with as many
processes and threads, and keeps no record of anything.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from benchmarks._kit import delivered, fill, goal, installation, table, title, until, workplace, write_config

from conveyor.delivery.runner import spare_collector

GOALS = {"PostgreSQL alone": 3_000, "Redis": 1_500, "RabbitMQ": 1_500}
KEY = "YmVuY2htYXJrcy1iZW5jaG1hcmtzLWJlbmNobWFya3M="

spawn = multiprocessing.get_context("spawn")


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def work(path: str, ready: Any, end: Any) -> None:
    """A worker process of ours."""
    from conveyor import log
    from conveyor.delivery.engine import Engine

    _ignore_interrupts()
    log.configure(level="error")
    with installation(Path(path)) as opened:
        spare_collector()
        settings = replace(opened.worker_settings(), rings=False)
        engine = Engine(opened.workshop(), settings, opened.clock)
        engine.start()
        ready.release()
        end.wait()
        engine.stop()


def ring(path: str, ready: Any, end: Any) -> None:
    """A dispatcher process of ours."""
    from conveyor import log
    from conveyor.delivery.engine import make_ringer

    _ignore_interrupts()
    log.configure(level="error")
    with installation(Path(path)) as opened:
        assert opened.broker is not None
        ringer = make_ringer(opened.workshop(), opened.broker, opened.clock)
        ringer.start()
        ready.release()
        end.wait()
        ringer.stop(5)


def idle(url: str, threads: int, done: Any, ready: Any, end: Any) -> None:
    """A worker process of bare dramatiq, with its defaults."""
    import dramatiq

    _ignore_interrupts()
    broker = bare(url)

    @dramatiq.actor(broker=broker, queue_name="bare")
    def nothing(_delivery: str) -> None:
        with done.get_lock():
            done.value += 1

    worker = dramatiq.Worker(broker, worker_threads=threads)
    worker.start()
    ready.release()
    end.wait()
    worker.stop()
    broker.close()


def bare(url: str) -> Any:
    """dramatiq's broker with its default middleware."""
    if url.startswith("redis"):
        from dramatiq.brokers.redis import RedisBroker

        return RedisBroker(url=url)
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    return RabbitmqBroker(url=url)


@contextmanager
def processes(targets: list[tuple[Callable[..., None], tuple[Any, ...]]]) -> Iterator[None]:
    """Run functions in processes of their own; the block begins when all are ready."""
    ready, end = spawn.Semaphore(0), spawn.Event()
    started: list[BaseProcess] = []
    try:
        for target, arguments in targets:
            process = spawn.Process(target=target, args=(*arguments, ready, end), daemon=True)
            process.start()
            started.append(process)
        for _ in started:
            if not ready.acquire(timeout=120):
                raise SystemExit("a process did not start")
        yield
    finally:
        end.set()
        for process in started:
            process.join(60)
            if process.is_alive():
                process.kill()


def ours(ledger: str, broker: str, options: argparse.Namespace) -> float:
    """Deliver what waits; deliveries per second."""
    names = [f"d{number}" for number in range(options.destinations)]
    each = {"type": "noop", "limits": {"concurrency": 1_000}}
    with workplace() as folder:
        path = write_config(
            folder,
            dict.fromkeys(names, each),
            ledger=ledger,
            broker=broker,
            key={"value": KEY},
            workers={"threads": options.threads},
        )
        with installation(path) as opened:
            opened.ledger.health.pause(names, "not yet", opened.clock.now())
            fill(opened, names, -(-options.deliveries // len(names)))
            targets: list[tuple[Callable[..., None], tuple[Any, ...]]] = [(work, (str(path),))]
            targets *= options.processes
            if broker != "ledger":
                targets.append((ring, (str(path),)))
            with processes(targets):
                time.sleep(2.0)  # dispatcher elected, consumers connected
                count = opened.ledger.deliveries.open_count()
                began = time.monotonic()
                opened.ledger.health.resume(names, opened.clock.now())
                until(lambda: delivered(opened), 600, "all delivered", every=0.05)
                took = time.monotonic() - began
    return count / took


def theirs(url: str, options: argparse.Namespace) -> float:
    """Do nothing as often, in bare dramatiq; messages per second."""
    from dramatiq import Message

    broker = bare(url)
    broker.declare_queue("bare")
    done = spawn.Value("q", 0)
    for number in range(options.deliveries):
        broker.enqueue(Message("bare", "nothing", (f"dlv_{number:026d}",), {}, {}))
    broker.close()
    began = time.monotonic()
    with processes([(idle, (url, options.threads, done))] * options.processes):
        # Processes start one after the other; measured from the first message on.
        until(lambda: done.value > 0, 120, "the first message", every=0.001)
        before, began = done.value, time.monotonic()
        until(lambda: done.value >= options.deliveries, 600, "all messages", every=0.01)
        took = time.monotonic() - began
    return (options.deliveries - before) / took


@contextmanager
def servers() -> Iterator[tuple[Any, dict[str, str]]]:
    """PostgreSQL, and the URLs of the brokers that can run here."""
    from servers import postgres, rabbitmq, redis_server

    from conveyor.ledger import migrate

    if postgres.binaries() is None:
        raise SystemExit(f"PostgreSQL is not installed: apt-get install {postgres.PACKAGE}")
    with ExitStack() as stack:
        server = stack.enter_context(postgres.start(durable=True))
        server.execute(f"CREATE DATABASE {postgres.TEMPLATE}")
        migrate(server.url(postgres.TEMPLATE))
        urls: dict[str, str] = {}
        for name, kind in (("Redis", redis_server), ("RabbitMQ", rabbitmq)):
            if kind.available():
                urls[name] = stack.enter_context(kind.start()).url
            else:
                print(f"  not run: {kind.PACKAGE} is not installed")
        yield server, urls


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--deliveries", type=int, default=10_000)
    options.add_argument("--processes", type=int, default=2)
    options.add_argument("--threads", type=int, default=16, help="of each process")
    options.add_argument("--destinations", type=int, default=4)
    options.add_argument("--rounds", type=int, default=3, help="of each, in turn")
    given = options.parse_args()
    title(
        f"{given.deliveries} no-ops, {given.processes} processes of {given.threads} threads, PostgreSQL with "
        f"synchronous commits, {given.rounds} rounds of each in turn"
    )
    rates: dict[str, list[float]] = {}
    with servers() as (server, urls):
        for _ in range(given.rounds):
            for name, url in {"PostgreSQL alone": "ledger", **urls}.items():
                with server.ledger() as ledger:
                    rates.setdefault(name, []).append(ours(ledger, url, given))
            for name, url in urls.items():
                rates.setdefault(f"bare dramatiq, {name}", []).append(theirs(url, given))
    medians = {name: statistics.median(found) for name, found in rates.items()}
    peers = {name: medians.get(f"bare dramatiq, {name}") for name in medians}
    table(
        ("", "per second, median", "each round", "of the peer"),
        (
            (
                name,
                f"{medians[name]:,.0f}",
                " ".join(f"{rate:,.0f}" for rate in found),
                f"{medians[name] / peer:.2f}" if (peer := peers[name]) else "",
            )
            for name, found in rates.items()
        ),
    )
    for name, wanted in GOALS.items():
        if name in medians:
            print(goal(f"{name}: {wanted:,} deliveries/s", medians[name] >= wanted))


if __name__ == "__main__":
    main()
