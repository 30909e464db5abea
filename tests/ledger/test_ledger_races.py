"""Threads and processes at once: no delivery twice, no cap exceeded, no outcome of a stranger."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from conveyor.clock import SECOND
from conveyor.ledger.claims import ROOMY
from conveyor.ledger.records import AttemptOutcome, Filter, Status

RACER = Path(__file__).with_name("racer.py")


def _together(*actions: Callable[[], Any]) -> list[Any]:
    """Run all at once, each in its thread; their results, or the first error."""
    gate = threading.Barrier(len(actions))

    def run(action: Callable[[], Any]) -> Any:
        gate.wait(30)
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        return [future.result(120) for future in [pool.submit(run, action) for action in actions]]


def _submit(kit: Any, count: int) -> list[str]:
    items = [kit.submission("a") for _ in range(count)]
    kit.ledger.submissions.submit(items)
    return [item.deliveries[0].id for item in items]


def _check_record(kit: Any, ids: Iterable[str]) -> None:
    """Attempts are numbered without gap, and ended unless the delivery is being delivered."""
    for ident in ids:
        record = kit.ledger.deliveries.get(ident)
        attempts = kit.ledger.deliveries.attempts(ident)
        assert [a.attempt for a in attempts] == list(range(1, record.attempt + 1))
        fences = [a.fence for a in attempts]
        assert fences == sorted(set(fences))
        running = [a for a in attempts if a.outcome is AttemptOutcome.RUNNING]
        assert len(running) == (record.status is Status.DELIVERING), (record, attempts)
        delivered = [a for a in attempts if a.outcome is AttemptOutcome.DELIVERED]
        if record.status is Status.DELIVERED:
            assert delivered[-1:] == attempts[-1:]


@pytest.mark.parametrize("cap", [7, ROOMY * 3])
def test_threads_share_the_work_within_the_cap(kit: Any, cap: int) -> None:
    ids = _submit(kit, 120)
    taken: list[str] = []

    def work(name: str) -> None:
        kit.worker(name)
        while kit.ledger.claims.due(kit.now):
            held = kit.claim(worker=name, limit=3, cap=cap)
            running = kit.ledger.deliveries.counts(Filter(statuses=frozenset({Status.DELIVERING})))
            assert running.get(Status.DELIVERING, 0) <= cap
            taken.extend(claimed.delivery_id for claimed in held)
            assert kit.record(*(kit.report(claimed) for claimed in held)) == set()

    _together(*(lambda n=n: work(f"w{n}") for n in range(6)))
    assert sorted(taken) == sorted(ids)
    _check_record(kit, ids)


def test_one_job_per_key_however_many_submit_it(kit: Any) -> None:
    first = kit.job(key="k")

    def submit(number: int) -> Any:
        job = replace(first, id=f"job_race{number}", payload=replace(first.payload, id=f"pay_race{number}"))
        return kit.ledger.submissions.submit([kit.submission("a", "b", job=job)])[0]

    answers = _together(*(lambda n=n: submit(n) for n in range(8)))
    assert sum(answer.created for answer in answers) == 1
    assert len({answer.job_id for answer in answers}) == 1
    assert len(kit.ledger.deliveries.find(Filter(), limit=99)) == 2


def test_two_that_share_keys_in_other_orders_are_both_answered(kit: Any) -> None:
    for again in range(5):
        jobs = [kit.job(key=f"{again}/{number}") for number in range(64)]

        def submit(order: Sequence[Any], who: str) -> Any:
            own = [
                replace(job, id=job.id + who, payload=replace(job.payload, id=job.payload.id + who))
                for job in order
            ]
            return kit.ledger.submissions.submit([kit.submission("a", job=job) for job in own])

        forwards, backwards = _together(
            lambda jobs=jobs: submit(jobs, "x"), lambda jobs=jobs: submit(jobs[::-1], "y")
        )
        assert [one.job_id for one in forwards] == [one.job_id for one in backwards[::-1]]


def test_an_outcome_and_the_reaper_never_both_count(kit: Any) -> None:
    kit.worker("slow")
    ids = _submit(kit, 40)
    held = kit.claim(worker="slow", limit=40, cap=40)
    results = _together(
        lambda: [ident for c in held for ident in kit.record(kit.report(c))],
        lambda: kit.ledger.workers.reap(kit.now, dead=lambda w: True, delay=lambda n: 0),
    )
    fenced_out, lost = set(results[0]), {item.delivery_id for item in results[1]}
    assert fenced_out == lost
    for ident in ids:
        assert kit.status(ident) is (Status.PENDING if ident in lost else Status.DELIVERED)
    _check_record(kit, ids)


def test_orders_amid_work_leave_a_sound_record(kit: Any) -> None:
    ids = _submit(kit, 30)
    kit.worker("w0")

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(25):
            held = kit.claim(worker="w0", limit=5, cap=30)
            status = chance.choice([Status.DELIVERED, Status.FAILED, Status.PENDING])
            extra = {"next_attempt_at": kit.now} if status is Status.PENDING else {}
            kit.record(*(kit.report(c, status, **extra) for c in held[1:]))
            kit.ledger.claims.give_back([(c.delivery_id, c.fence) for c in held[:1]], kit.now)

    def order(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(15):
            some = tuple(chance.sample(ids, 10))
            if chance.random() < 0.5:
                kit.replay(*some, force=True)
            else:
                kit.ledger.orders.cancel(Filter(ids=some), now=kit.now)

    _together(*(lambda s=s: work(s) for s in range(3)), *(lambda s=s: order(s) for s in range(10, 12)))
    _check_record(kit, ids)


def test_removal_and_replay_never_both_win(kit: Any) -> None:
    kit.worker()
    ids = _submit(kit, 60)
    kit.record(*(kit.report(c) for c in kit.claim(limit=60, cap=60)))
    kit.clock.advance(10)
    bound = kit.now

    def remove() -> list[str]:
        removed: list[str] = []
        while some := kit.ledger.payloads.begin_removal(kit.now, bound, bound, 7):
            removed += [payload.id for payload in some]
        return removed

    def replay() -> list[str]:
        done: list[str] = []
        for ident in reversed(ids):
            done += kit.replay(ident, force=True).done
        return done

    removed, replayed = _together(remove, replay)
    jobs = {kit.ledger.deliveries.get(ident).job.payload.id for ident in replayed}
    assert not jobs & set(removed)
    assert len(removed) + len(replayed) == len(ids)


def _racer(kit: Any, name: str, *more: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(RACER), kit.url, name, "a", "6", *map(str, more)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_processes_share_the_work_and_a_killed_one_loses_nothing(kit: Any) -> None:
    kit.clock.set_wall(1_700_000_000)
    ids = _submit(kit, 150)
    victim = _racer(kit, "victim", 3)
    assert victim.stdout is not None
    held = [victim.stdout.readline().split()[0] for _ in range(3)]
    others = [_racer(kit, f"w{n}") for n in range(2)]
    victim.kill()
    victim.communicate()
    lost = kit.ledger.workers.reap(kit.now, dead=lambda w: w.id == "victim", delay=lambda n: 0)
    assert {item.delivery_id for item in lost} >= set(held)
    outputs = [other.communicate(timeout=60) for other in others]
    assert [other.returncode for other in others] == [0, 0], outputs
    taken = [line.split()[0] for out, _ in outputs for line in out.splitlines()]
    late = _racer(kit, "late")  # what was freed after the others had seen nothing left
    taken += [line.split()[0] for line in late.communicate(timeout=60)[0].splitlines()]
    assert sorted(taken) == sorted(ids)
    assert kit.ledger.deliveries.counts(Filter()) == {Status.DELIVERED: 150}
    _check_record(kit, ids)


def test_a_status_that_the_machine_does_not_know_cannot_be_stored(kit: Any) -> None:
    (ident,) = kit.submit("a")
    for change in (
        "status = 'lost'",
        "status = 'delivered'",
        "status = 'delivering', next_attempt_at = NULL",
        "next_attempt_at = NULL",
        "worker = 'w'",
    ):
        statement = sa.text(f"UPDATE deliveries SET {change} WHERE id = :id")
        try:
            with kit.ledger.database.write() as connection:
                connection.execute(statement, {"id": ident})
        except sa.exc.IntegrityError:
            continue
        raise AssertionError(f"stored: {change}")
    assert kit.status(ident) is Status.PENDING
    assert kit.now + SECOND > kit.ledger.deliveries.get(ident).next_attempt_at
