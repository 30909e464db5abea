"""Memory, sockets, threads, and two deliveries in one process."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from conveyor.contract import Connector, DeliveryError, ErrorKind
from conveyor.testing.attempts import Attempt, attempt
from conveyor.testing.bench import Bench
from conveyor.testing.children import Child, Records
from conveyor.testing.content import Pattern
from conveyor.testing.harness import HarnessContext
from conveyor.testing.parcels import make_parcel
from conveyor.testing.ports import LOOPBACK, free_port, wait_until
from conveyor.testing.suite.base import SuitePart, delivered, expect_copy
from conveyor.testing.suite.promises import broken, keeps

BASELINE = 4 << 20


class ResourcesSuite(SuitePart):
    """A worker runs for months."""

    @pytest.mark.needs("observable")
    def test_memory_does_not_grow_with_the_file(self, bench: Bench, tmp_path: Path) -> None:
        parcel = make_parcel(Pattern(bench.big))
        kept = Records(tmp_path)
        target = bench.target("inbox/big.bin")
        sent = {"size": bench.big, "delivery_id": parcel.delivery_id}
        with Child(bench, target, kept, measure=BASELINE, **sent) as child:  # type: ignore[arg-type]
            result = child.result()
        keeps("memory", result["ended"] == "delivered", f"the delivery ended as {result}")
        expect_copy(bench, target.path, parcel)
        grown, limit = result["grown"], bench.memory_limit
        keeps(
            "memory",
            grown <= limit,
            f"sending {bench.big >> 20} MiB took {grown >> 20} MiB more than {BASELINE >> 20} MiB did; "
            f"the limit is {limit >> 20} MiB",
        )

    @pytest.mark.needs("observable")
    def test_two_deliveries_at_once(self, bench: Bench) -> None:
        """Each waits midway until the other has come as far."""
        meet = threading.Barrier(2)
        results: dict[int, Attempt] = {}
        sizes = (bench.large, bench.large + 4_711)
        parcels = [
            make_parcel(Pattern(size, seed), on_read=_once(meet, size // 2))
            for seed, size in enumerate(sizes, 5)
        ]

        def work(number: int) -> None:
            with bench.connector() as connector:
                target = bench.target(f"inbox/photo{number}.jpg")
                results[number] = attempt(bench, parcels[number], target, connector=connector)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        keeps("two_at_once", len(results) == 2, "one of them did not come back")
        for number in range(2):
            path = delivered(results[number], "two_at_once")
            expect_copy(bench, path, parcels[number], "two_at_once")

    @pytest.mark.needs("observable")
    def test_connector_is_used_again(self, bench: Bench) -> None:
        """The engine's pool lends one connector to delivery after delivery, also after a failure."""
        with bench.connector() as connector:
            for number in range(3):
                parcel = make_parcel(10_000 + number)
                target = bench.target(f"inbox/photo{number}.jpg")
                path = delivered(attempt(bench, parcel, target, connector=connector))
                expect_copy(bench, path, parcel)
                bad = make_parcel(70_001, ends_at=30_000)
                attempt(bench, bad, bench.target(f"inbox/bad{number}.jpg"), connector=connector)

    def test_close_releases_everything(self, bench: Bench) -> None:
        with bench.connector():
            pass
        opened: list[BinaryIO] = []
        attempt(bench, make_parcel(70_001, opened=opened), bench.target("inbox/warm.jpg"))
        gc.collect()
        threads, sockets = threading.active_count(), _sockets()
        for number in range(3):
            with bench.connector() as connector:
                parcel = make_parcel(70_001, opened=opened)
                attempt(bench, parcel, bench.target(f"inbox/{number}.jpg"), connector=connector)
                failing = make_parcel(70_001, ends_at=10, opened=opened)
                attempt(bench, failing, bench.target("inbox/bad.jpg"), connector=connector)
                _check_quietly(connector)
        gc.collect()
        left = [stream for stream in opened if not stream.closed]
        keeps("close", not left, f"{len(left)} of {len(opened)} payload streams are still open")
        self._wait(bench, "threads", lambda: threading.active_count() <= threads)
        self._wait(bench, "sockets", lambda: _sockets() <= sockets)

    def test_close_twice(self, bench: Bench) -> None:
        with bench.connector() as connector:
            attempt(bench, make_parcel(10), bench.target(), connector=connector)
            for _ in range(2):
                try:
                    connector.close()
                except Exception as error:
                    broken("close", f"it raised {error!r}", error)

    @pytest.mark.needs("through")
    def test_making_a_connector_does_no_io(self, bench: Bench) -> None:
        assert bench.through is not None
        nowhere = bench.through(LOOPBACK, free_port())
        try:
            with bench.connector(nowhere):
                pass
        except Exception as error:
            broken("no_io", f"with nobody listening, making it raised {error!r}", error)
        result = attempt(bench, make_parcel(10), bench.target(), overrides=nowhere)
        keeps("kinds", result.kind is ErrorKind.TRANSIENT, f"nobody listens: {result.describe()}")

    def _wait(self, bench: Bench, what: str, condition: Callable[[], object]) -> None:
        try:
            wait_until(condition, bench.release_time, what)
        except TimeoutError:
            broken("close", f"some {what} are still there {bench.release_time:g} s after close()")


def _once(meet: threading.Barrier, after: int) -> Callable[[int], None]:
    met: list[int] = []

    def on_read(offset: int) -> None:
        if offset >= after and not met:
            met.append(offset)
            try:
                meet.wait(30)
            except threading.BrokenBarrierError:
                broken("two_at_once", "the other delivery did not move while this one was under way")

    return on_read


def _sockets() -> int:
    count = 0
    for entry in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{entry}").startswith("socket:")
        except OSError:
            continue
    return count


def _check_quietly(connector: Connector) -> None:
    try:
        connector.check(HarnessContext())
    except DeliveryError as error:
        broken("check", f"deliver() succeeds, check() says {error!r}")
