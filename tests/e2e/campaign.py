"""The crash campaign: engines killed at random while they deliver, then an independent look at everything.

The checker reads the destinations' own files and requests and holds them against the ledger.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Protocol

from conveyor.clock import SystemClock, micros
from conveyor.delivery.cleaner import LEASE
from conveyor.delivery.context import LATE
from conveyor.delivery.identity import serving
from conveyor.delivery.parts import Parts
from conveyor.installation import Installation
from conveyor.intake import Item
from conveyor.ledger.records import OPEN, AttemptOutcome, DeliveryRecord, Filter, Status
from e2e.kit import Place, until

ENGINES = 2


class Held(Protocol):
    """What a destination holds, seen by a second route."""

    def __call__(self) -> Mapping[str, str]:
        """SHA-256 by path or key; everything that is there, leftovers included."""


@dataclass
class Findings:
    """What the checker found. All but ``repeated`` must be empty."""

    deliveries: int = 0
    kills: int = 0
    seconds: float = 0.0
    unfinished: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    """Files that no receipt names: a second copy, a temporary file."""
    gaps: list[str] = field(default_factory=list)
    early: list[str] = field(default_factory=list)
    lost_attempts: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    """Deliveries by destination and status."""
    repeated: int = 0
    """Webhook posts beyond one per delivery, all under the same delivery id."""

    @property
    def wrong(self) -> dict[str, list[str]]:
        """What must not be."""
        names = ("unfinished", "lost", "corrupt", "strangers", "gaps", "early")
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    def __str__(self) -> str:
        return (
            f"{self.deliveries} deliveries, {self.kills} SIGKILLs, {self.seconds:.0f} s: "
            f"lost {len(self.lost)}, corrupt {len(self.corrupt)}, unfinished {len(self.unfinished)}, "
            f"second copies or leftovers {len(self.strangers)}, gaps in the record {len(self.gaps)}, "
            f"early retries {len(self.early)}, attempts lost to a kill {self.lost_attempts}, "
            f"webhooks posted again {self.repeated}"
        )


def content(number: int, seed: int) -> bytes:
    """A file that no other number has."""
    return random.Random(f"{seed}/{number}").randbytes(200 + number % 4000)


def submit(place: Place, files: int, seed: int) -> dict[str, str]:
    """Submit ``files`` files to all destinations; returns the SHA-256 by job id."""
    with place.open() as installation:
        names = [destination.id for destination in installation.source.list()]
        items = [
            Item(content(number, seed), to=names, filename=f"photo-{number:05d}.jpg")
            for number in range(files)
        ]
        submitted = installation.submitter().submit_many(items)
    return {
        answer.job_id: hashlib.sha256(content(number, seed)).hexdigest()
        for number, answer in enumerate(submitted)
    }


def run(place: Place, *, kills: int, seed: int, pause: tuple[float, float] = (0.4, 1.5)) -> tuple[int, float]:
    """Keep engines running, killing one at random, until all kills are done and nothing is open.

    Returns:
        Kills and seconds.
    """
    chance = random.Random(seed)
    began = time.monotonic()
    engines = [place.start() for _ in range(ENGINES)]
    done = 0
    next_kill = time.monotonic() + 1.5
    with place.open() as installation:

        def settled() -> bool:
            nonlocal done, next_kill
            if done < kills and time.monotonic() >= next_kill:
                victim = chance.randrange(ENGINES)
                os.killpg(engines[victim].pid, signal.SIGKILL)
                engines[victim].wait()
                engines[victim] = place.start()
                done += 1
                next_kill = time.monotonic() + chance.uniform(*pause)
            return done == kills and not installation.ledger.deliveries.open_count()

        def listening() -> bool:
            """Each engine is far enough to take SIGTERM as an order: the last kill may be a moment ago."""
            known = {worker.pid for worker in serving(installation.ledger.workers.all(), 0)}
            return known >= {engine.pid for engine in engines}

        until(settled, "everything is final", patience=600.0)
        until(listening, "the engines know their ledger")
    for engine in engines:
        engine.send_signal(signal.SIGTERM)
    for engine in engines:
        assert engine.wait(30) == 0, place.log()[-2000:]
    return done, time.monotonic() - began


def check(
    place: Place,
    digests: Mapping[str, str],
    held: Mapping[str, Held],
    posts: Mapping[str, Counter[str]],
    *,
    cancelled: Set[str] = frozenset(),
) -> Findings:
    """Compare ledger and destinations.

    Args:
        place: Where the ledger is.
        digests: What was submitted, by job.
        held: What each destination with files holds.
        posts: For each webhook, how often each delivery id was accepted.
        cancelled: Deliveries that an operator cancelled: their files may be there or not, never twice.
    """
    found = Findings()
    with place.open() as installation:
        _abandon_late(installation)
        records = installation.ledger.deliveries.find(Filter(), limit=10**9)
        found.deliveries = len(records)
        expected: dict[str, set[str]] = {name: set() for name in held}
        there = {name: look() for name, look in held.items()}
        for record in records:
            found.statuses[f"{record.destination} {record.status}"] += 1
            _attempts(found, installation.ledger.deliveries.attempts(record.id), record)
            if record.status in OPEN:
                found.unfinished.append(record.id)
            elif record.id in cancelled and record.status is Status.CANCELLED:
                if record.path is not None and record.destination in held:
                    expected[record.destination].add(record.path)
            elif record.status is not Status.DELIVERED:
                found.lost.append(f"{record.id}: {record.status} {record.last_error}")
            elif record.destination in held:
                _place(found, record, there[record.destination], digests[record.job_id])
                expected[record.destination].add(_path(record))
            else:
                times = posts[record.destination][record.id]
                if not times:
                    found.lost.append(f"{record.id}: never posted")
                found.repeated += max(0, times - 1)
        for name, paths in expected.items():
            found.strangers += [f"{name}: {path}" for path in there[name] if path not in paths]
    return found


def _abandon_late(installation: Installation) -> None:
    """Do now what the engine does some minutes from now: abandon what dead workers may have begun since."""
    later = _Later()
    parts = Parts(installation.workshop(), installation.worker_settings(), later)
    try:
        while parts.cleaner.step():
            later.ahead += LEASE
    finally:
        parts.pool.close()


class _Later(SystemClock):
    """The machine's clock, ahead."""

    def __init__(self) -> None:
        self.ahead = LATE

    def now(self) -> int:
        return super().now() + micros(self.ahead)


def _path(record: DeliveryRecord) -> str:
    receipt: Mapping[str, Any] = record.receipt or {}
    return str(receipt["path"])


def _place(found: Findings, record: DeliveryRecord, there: Mapping[str, str], digest: str) -> None:
    path = _path(record)
    if path not in there:
        found.lost.append(f"{record.id}: {record.destination} has no {path}")
    elif there[path] != digest:
        found.corrupt.append(f"{record.id}: {path}")


def _attempts(found: Findings, attempts: list[Any], record: DeliveryRecord) -> None:
    if [attempt.attempt for attempt in attempts] != list(range(1, record.attempt + 1)):
        found.gaps.append(f"{record.id}: {[a.attempt for a in attempts]} of {record.attempt}")
    for before, after in itertools.pairwise(attempts):
        same = before.cycle == after.cycle  # a replay is due at once
        if same and before.next_attempt_at is not None and after.started_at < before.next_attempt_at:
            found.early.append(f"{record.id}: attempt {after.attempt}")
    for attempt in attempts:
        if attempt.outcome is AttemptOutcome.RUNNING:
            found.gaps.append(f"{record.id}: attempt {attempt.attempt} never ended")
        found.lost_attempts += attempt.outcome is AttemptOutcome.LOST
