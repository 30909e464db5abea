"""Rates and caps that claims share: held over any number of workers, by the ledger's clock."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from conveyor.clock import SECOND
from conveyor.ledger import prepared
from conveyor.ledger.flow import BURST
from conveyor.ledger.records import Flow, Wanted

TEN = Flow("destination:a", rate=10.0)


class Paced:
    """What a dispatcher is told."""

    def __init__(self, kit: Any) -> None:
        self.kit = kit
        self.until: dict[str, int] = {}

    def __call__(self, destination: str, until: int) -> None:
        self.until[destination] = until

    def seconds(self, destination: str = "a") -> float:
        return (self.until[destination] - self.kit.now) / SECOND


class Noting:
    """A driver's connection, noting what it executes."""

    def __init__(self, connection: sa.Connection, asked: list[str]) -> None:
        self.driver: Any = connection.connection.driver_connection
        self.pipeline = getattr(self.driver, "pipeline", None)
        self.asked = asked

    def execute(self, text: str, values: Any) -> Any:
        self.asked.append(text)
        return self.driver.execute(text, values)

    def executemany(self, text: str, rows: Any) -> Any:
        self.asked.append(text)
        return self.driver.executemany(text, rows)


@pytest.fixture
def paced(kit: Any) -> Paced:
    kit.worker()
    kit.worker("other")
    return Paced(kit)


def fill(kit: Any, count: int, *destinations: str, size: int = 10) -> None:
    items = []
    for _ in range(count):
        job = kit.job()
        job = replace(job, payload=replace(job.payload, size=size))
        items.append(kit.submission(*(destinations or ("a",)), job=job))
    kit.ledger.submissions.submit(items)


def claim(kit: Any, *wanted: Wanted, paced: Any = lambda *_: None, worker: str = "worker") -> list[str]:
    found = kit.ledger.claims.claim(worker, wanted, kit.now, paced=paced)
    return [claimed.destination for claimed in found]


def test_a_rate_holds_over_two_workers_and_is_told(kit: Any, clock: Any, paced: Paced) -> None:
    fill(kit, 100)
    want = kit.want(limit=50, cap=100, flows=(TEN,))
    # A quarter of a second's worth at once, then one each tenth of a second, whoever asks.
    assert len(claim(kit, want, paced=paced)) == 2
    assert claim(kit, want, worker="other") == []
    assert paced.seconds() == pytest.approx(0.05, abs=1e-5)
    taken = 2
    for turn in range(40):
        clock.advance(0.05)
        taken += len(claim(kit, want, worker=("worker", "other")[turn % 2]))
    assert taken == pytest.approx(2 + 20, abs=1)


@pytest.mark.parametrize("rate", [3.0, 40.0])
def test_over_time_a_rate_is_used_and_never_exceeded(kit: Any, clock: Any, paced: Paced, rate: float) -> None:
    fill(kit, 400)
    want = kit.want(limit=50, cap=10_000, flows=(replace(TEN, rate=rate),))
    dice, begun, taken = random.Random(7), kit.now, 0
    while (passed := (kit.now - begun) / SECOND) < 100 / max(rate, 10):
        taken += len(claim(kit, want, paced=paced))
        assert taken <= max(1.0, rate * BURST) + passed * rate + 1e-3
        clock.advance(min(paced.seconds(), dice.choice([0.03, 0.2])) if "a" in paced.until else 0.03)
        paced.until.clear()
    assert taken >= passed * rate - max(1.0, rate * BURST) - 1


def test_bytes_are_paid_for_before_the_next_one_goes(kit: Any, clock: Any, paced: Paced) -> None:
    fill(kit, 10, size=5_000)
    want = kit.want(limit=10, flows=(Flow("destination:a", byte_rate=1_000),))
    # However large: what is larger than the rate has to go too.
    assert len(claim(kit, want, paced=paced)) == 1
    assert paced.seconds() == pytest.approx(5 - BURST)
    clock.advance(4.7)
    assert claim(kit, want) == []
    clock.advance(0.1)
    assert len(claim(kit, want)) == 1


def test_small_files_go_together_up_to_a_quarter_of_a_second(kit: Any, paced: Paced) -> None:
    fill(kit, 50, size=1_000)
    want = kit.want(limit=50, cap=50, flows=(Flow("destination:a", byte_rate=10_000),))
    assert len(claim(kit, want)) == 3


def test_an_edited_rate_counts_at_once(kit: Any, clock: Any, paced: Paced) -> None:
    fill(kit, 5, size=10**9)
    slow, fast = (kit.want(limit=1, flows=(Flow("destination:a", byte_rate=r),)) for r in (1_000, 10**9))
    assert len(claim(kit, slow, paced=paced)) == 1
    assert paced.seconds() > 10**5
    assert claim(kit, fast, paced=paced) == []
    assert paced.seconds() < 1
    clock.advance(1)
    assert len(claim(kit, fast)) == 1


def test_a_clock_set_back_costs_no_more_than_what_was_spent(kit: Any, clock: Any, paced: Paced) -> None:
    fill(kit, 20)
    want = kit.want(limit=20, cap=50, flows=(TEN,))
    assert len(claim(kit, want)) == 2
    with kit.ledger.database.write() as connection:
        # As if it had been charged an hour ahead.
        connection.execute(sa.text("UPDATE flow SET at = at + 3600000000"))
    assert claim(kit, want, paced=paced) == []
    assert paced.seconds() < 0.1
    # It was found out, and is forgotten with the next charge.
    with kit.ledger.database.write() as connection:
        connection.execute(sa.text("UPDATE flow SET attempts = 0"))
    assert len(claim(kit, want)) == 2
    clock.advance(1)
    assert len(claim(kit, want)) == 2


def test_a_connections_cap_counts_all_its_destinations(kit: Any, paced: Paced) -> None:
    fill(kit, 5, "a", "b")
    shared = Flow("connection:office", concurrency=3, members=("a", "b"))
    a, b = (kit.want(name, limit=2, flows=(shared,)) for name in "ab")
    assert claim(kit, a, b) == ["a", "a", "b"]
    assert claim(kit, a, b, worker="other", paced=paced) == []
    assert paced.until == {}  # no matter of time


def test_a_connections_cap_holds_while_two_claim_at_once(kit: Any, paced: Paced) -> None:
    """Each locks the row of another destination: what they share has to be locked too."""
    fill(kit, 60, "a", "b")
    shared = Flow("connection:office", concurrency=3, members=("a", "b"))
    for _ in range(15):
        gate = threading.Barrier(2)

        def take(name: str, worker: str, gate: threading.Barrier = gate) -> Any:
            gate.wait(10)
            want = kit.want(name, limit=3, flows=(shared,))
            return kit.ledger.claims.claim(worker, [want], kit.now)

        with ThreadPoolExecutor(2) as pool:
            ran = [pool.submit(take, "a", "worker"), pool.submit(take, "b", "other")]
            claims = [claimed for each in ran for claimed in each.result(30)]
        assert len(claims) == 3
        kit.record(*(kit.report(claimed) for claimed in claims))


def test_a_connections_rate_is_shared_and_the_own_one_counts_too(kit: Any, clock: Any, paced: Paced) -> None:
    fill(kit, 20, "a", "b")
    shared = Flow("connection:office", rate=8.0)
    a = kit.want("a", cap=50, flows=(Flow("destination:a", rate=1.0), shared))
    b = kit.want("b", cap=50, flows=(shared,))
    taken = []
    for _ in range(40):
        taken += claim(kit, a, b)
        clock.advance(0.25)
    assert taken.count("a") == pytest.approx(10, abs=1)
    assert taken.count("b") == 20
    assert "b" not in taken[30:]


def test_what_was_not_claimed_is_not_charged(kit: Any, paced: Paced) -> None:
    want = kit.want(limit=10, cap=10, flows=(TEN,))
    for _ in range(5):
        assert claim(kit, want) == []
    fill(kit, 10)
    assert len(claim(kit, want)) == 2


def test_without_limits_no_statement_is_spent_on_them(
    kit: Any, paced: Paced, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(kit, 6)
    assert len(claim(kit, kit.want(limit=1))) == 1
    assert len(claim(kit, kit.want(limit=1, flows=(TEN,)))) == 1
    kit.clock.advance(1)
    asked: list[str] = []
    monkeypatch.setattr(prepared, "_driver", lambda connection: Noting(connection, asked))
    assert len(claim(kit, kit.want(limit=2, cap=4))) == 2
    plain = list(asked)
    asked.clear()
    assert len(claim(kit, kit.want(limit=2, cap=6, flows=(TEN,)))) == 2
    assert plain
    assert not any("flow" in statement for statement in plain)
    limited = [statement for statement in asked if "flow" in statement]
    assert len(asked) - len(plain) == len(limited) == 2


def test_a_dispatcher_rings_for_no_more_than_a_rate_lets_through(kit: Any, clock: Any, paced: Paced) -> None:
    fill(kit, 20)
    want = kit.want(limit=10, cap=50, flows=(TEN,))
    first = kit.ledger.wakeups.choose([want], {}, kit.now)["a"][0]
    assert len(first) == 2
    assert kit.ledger.wakeups.choose([want], dict.fromkeys(first, "a"), kit.now)["a"] == ([], True)
    woken = kit.want(limit=2, cap=50, flows=(TEN,), only=tuple(first))
    assert len(claim(kit, woken)) == 2
    assert kit.ledger.wakeups.choose([want], {}, kit.now, paced=paced)["a"] == ([], True)
    assert paced.seconds() == pytest.approx(0.05, abs=1e-5)
