"""A schedule of faults made from a seed, and carrying it out on real processes."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from conveyor.delivery.identity import serving
from conveyor.errors import LedgerError
from conveyor.ledger.records import OPEN, Filter, Status
from conveyor.receiver.receiver import Answer
from e2e.campaign import ENGINES
from e2e.kit import Place, until

PROCESS_FAULTS = ("kill", "freeze past the lease", "cancel", "replay what failed", "edit the config")
FROZEN = 8.0
"""Seconds of SIGSTOP: more than the lease of 5 s."""


@dataclass(frozen=True)
class Fault:
    """What happens, so many seconds after the beginning."""

    at: float
    what: str
    victim: int


@dataclass
class Done:
    """What was carried out."""

    counts: Counter[str] = field(default_factory=Counter)
    cancelled: set[str] = field(default_factory=set)
    seconds: float = 0.0


def unavailable() -> Answer:
    """One 503."""
    return Answer(status=503)


def schedule(seed: int, seconds: float, names: Sequence[str]) -> list[Fault]:
    """The faults of a seed: one every second or two, kills most of all."""
    chance = random.Random(seed)
    plan: list[Fault] = []
    at = 1.5
    while at < seconds:
        what = chance.choice(["kill", *names])
        plan.append(Fault(at, what, chance.randrange(ENGINES)))
        at += chance.uniform(0.7, 2.0)
    return plan


class _Carrying:
    def __init__(self, place: Place, actions: Mapping[str, Callable[[], None]], seed: int) -> None:
        self.place, self.actions, self.chance = place, actions, random.Random(f"{seed}/orders")
        self.engines = [place.start() for _ in range(ENGINES)]
        self.frozen: dict[int, float] = {}
        self.done = Done()

    def carry_out(self, fault: Fault) -> None:
        self.done.counts[fault.what] += 1
        if fault.what in self.actions:
            self.actions[fault.what]()
        elif fault.what == "kill":
            self.thaw(fault.victim)
            os.killpg(self.engines[fault.victim].pid, signal.SIGKILL)
            self.engines[fault.victim].wait()
            self.engines[fault.victim] = self.place.start()
        elif fault.what == "freeze past the lease":
            os.killpg(self.engines[fault.victim].pid, signal.SIGSTOP)
            self.frozen.setdefault(fault.victim, time.monotonic() + FROZEN)
        elif fault.what == "edit the config":
            self.place.path.write_text(self.place.path.read_text() + "\n")
        else:
            self.order(fault.what)

    def order(self, what: str) -> None:
        with self.place.open() as installation:
            ledger = installation.ledger
            now = ledger.clock.now()
            if what == "cancel":
                some = ledger.deliveries.find(Filter(statuses=OPEN), limit=50)
                if some:
                    chosen = self.chance.choice(some).id
                    self.done.cancelled |= set(ledger.orders.cancel(Filter(ids=(chosen,)), now=now).done)
            else:
                failed = Filter(statuses=frozenset({Status.FAILED}))
                ledger.orders.replay(failed, now=now, expires=lambda _: now + 86400 * 1_000_000)

    def thaw(self, number: int) -> None:
        if self.frozen.pop(number, None) is not None:
            os.killpg(self.engines[number].pid, signal.SIGCONT)

    def thaw_due(self) -> None:
        now = time.monotonic()
        for number in [number for number, end in self.frozen.items() if end <= now]:
            self.thaw(number)


def run(place: Place, plan: Sequence[Fault], actions: Mapping[str, Callable[[], None]], *, seed: int) -> Done:
    """Carry the plan out, then wait until everything is final and stop the engines in good order."""
    carrying = _Carrying(place, actions, seed)
    began = time.monotonic()
    left = list(plan)

    def settled() -> bool:
        carrying.thaw_due()
        try:
            if left and time.monotonic() - began >= left[0].at:
                carrying.carry_out(left.pop(0))
            if left or carrying.frozen:
                return False
            carrying.order("replay what failed")
            with place.open() as installation:
                return not installation.ledger.deliveries.open_count()
        except LedgerError:
            return False  # the database is being restarted

    until(settled, "everything is final", patience=1800.0)
    with place.open() as installation:
        until(
            lambda: (
                {worker.pid for worker in serving(installation.ledger.workers.all(), 0)}
                >= {engine.pid for engine in carrying.engines}
            ),
            "the engines know their ledger",
        )
    for engine in carrying.engines:
        engine.send_signal(signal.SIGTERM)
    for engine in carrying.engines:
        assert engine.wait(30) == 0, place.log()[-2000:]
    carrying.done.seconds = time.monotonic() - began
    return carrying.done
