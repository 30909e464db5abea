"""The checker of a campaign: the destinations' own files and requests, held against the ledger."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Protocol

from conveyor.clock import SystemClock, micros
from conveyor.delivery.cleaner import LEASE
from conveyor.delivery.context import LATE
from conveyor.delivery.parts import Parts
from conveyor.installation import Installation
from conveyor.ledger.records import OPEN, AttemptOutcome, DeliveryRecord, Filter, Status
from e2e import witness
from e2e.kit import Place

UNTOLD = "never named by anybody"
"""Ends the name of an upload that was begun, and whose id reached nobody who could have saved it."""

WRONG = {
    "unfinished": "not final in the end",
    "lost": "counted as delivered and not there, or given up",
    "corrupt": "there with other bytes",
    "strangers": "files that no receipt names: second copies, temporary files, open uploads",
    "gaps": "attempts that are missing or never ended",
    "early": "attempts before the time they were due",
    "twice": "attempts that began or ended more than once",
}
"""What must not be, each with what it means."""


class Held(Protocol):
    """What a destination holds, seen by a second route."""

    def __call__(self) -> Mapping[str, str]:
        """SHA-256 by path or key; everything that is there, leftovers included."""


@dataclass
class Findings:
    """What the checker found, each with its destination in front. What :data:`WRONG` names must be empty."""

    deliveries: int = 0
    kills: int = 0
    seconds: float = 0.0
    unfinished: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    early: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    trouble: str = ""
    """Why the run did not end in good order."""
    lost_attempts: int = 0
    attempts: Counter[str] = field(default_factory=Counter)
    """By destination."""
    statuses: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Deliveries by destination and status."""
    repeats: Counter[str] = field(default_factory=Counter)
    """Posts beyond one per delivery by webhook, all under the same delivery id."""
    untold: Counter[str] = field(default_factory=Counter)
    """Uploads by destination that a service has begun while its answer, the one place that names them, was
    lost. The service ends them by itself; nobody else can."""

    @property
    def wrong(self) -> dict[str, list[str]]:
        """What must not be."""
        found = {name: getattr(self, name) for name in WRONG if getattr(self, name)}
        return {**found, **({"trouble": [self.trouble]} if self.trouble else {})}

    @property
    def repeated(self) -> int:
        """Posts beyond one per delivery."""
        return self.repeats.total()

    def table(self) -> str:
        """Each destination's counts, a line each, below a heading."""
        heading = ["destination", "delivered", "cancelled", "attempts", "posted again", "untold", *WRONG]
        rows = [heading]
        for name in sorted({name for name, _ in self.statuses}):
            counts = [self.statuses[name, "delivered"], self.statuses[name, "cancelled"]]
            counts += [self.attempts[name], self.repeats[name], self.untold[name]]
            counts += [sum(each.startswith(f"{name}: ") for each in getattr(self, what)) for what in WRONG]
            rows.append([name, *map(str, counts)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(map(str.rjust, row, widths)) for row in rows)

    def __str__(self) -> str:
        return (
            f"{self.deliveries} deliveries, {self.kills} SIGKILLs, {self.seconds:.0f} s: "
            f"lost {len(self.lost)}, corrupt {len(self.corrupt)}, unfinished {len(self.unfinished)}, "
            f"second copies or leftovers {len(self.strangers)}, gaps in the record {len(self.gaps)}, "
            f"early retries {len(self.early)}, attempts recorded twice {len(self.twice)}, "
            f"attempts lost to a kill {self.lost_attempts}, webhooks posted again {self.repeated}, "
            f"uploads that nobody was told of {self.untold.total()}"
        )


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
        noted = witness.notes(installation.config.settings)
        records = installation.ledger.deliveries.find(Filter(), limit=10**9)
        found.deliveries = len(records)
        expected: dict[str, set[str]] = {name: set() for name in held}
        there = {name: look() for name, look in held.items()}
        for record in records:
            found.statuses[record.destination, str(record.status)] += 1
            _attempts(found, installation.ledger.deliveries.attempts(record.id), record, noted)
            name = f"{record.destination}: {record.id}"
            if record.status in OPEN:
                found.unfinished.append(f"{name} {record.status} {record.last_error}")
            elif record.id in cancelled and record.status is Status.CANCELLED:
                if record.path is not None and record.destination in held:
                    expected[record.destination].add(record.path)
            elif record.status is not Status.DELIVERED:
                found.lost.append(f"{name} {record.status} {record.last_error}")
            elif record.destination in held:
                _place(found, record, there[record.destination], digests[record.job_id])
                expected[record.destination].add(_path(record))
            else:
                times = posts[record.destination][record.id]
                if not times:
                    found.lost.append(f"{name} never posted")
                found.repeats[record.destination] += max(0, times - 1)
        for name, paths in expected.items():
            others = [path for path in there[name] if path not in paths]
            found.untold[name] = sum(path.endswith(UNTOLD) for path in others)
            found.strangers += [f"{name}: {path}" for path in others if not path.endswith(UNTOLD)]
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
        found.lost.append(f"{record.destination}: {record.id} {path} is not there")
    elif there[path] != digest:
        found.corrupt.append(f"{record.destination}: {record.id} {path}")


def _attempts(
    found: Findings,
    attempts: list[Any],
    record: DeliveryRecord,
    noted: Mapping[tuple[str, int], witness.Note] | None,
) -> None:
    name = f"{record.destination}: {record.id}"
    found.attempts[record.destination] += len(attempts)
    if [attempt.attempt for attempt in attempts] != list(range(1, record.attempt + 1)):
        found.gaps.append(f"{name} {[a.attempt for a in attempts]} of {record.attempt}")
    for before, after in itertools.pairwise(attempts):
        if before.cycle != after.cycle or before.next_attempt_at is None:
            continue  # a replay is due at once
        note = None if noted is None else noted.get((record.id, after.attempt))
        began = [after.started_at, *(at + witness.ROUNDED for at in (note.begun if note else ()))]
        if min(began) < before.next_attempt_at:
            found.early.append(f"{name} attempt {after.attempt}")
    for attempt in attempts:
        if attempt.outcome is AttemptOutcome.RUNNING:
            found.gaps.append(f"{name} attempt {attempt.attempt} never ended")
        found.lost_attempts += attempt.outcome is AttemptOutcome.LOST
        if noted is not None:
            note = noted.get((record.id, attempt.attempt), witness.Note((), ()))
            if len(note.begun) != 1 or len(note.ended) > 1:
                found.twice.append(f"{name} attempt {attempt.attempt}: {len(note.begun)} begun, {note.ended}")
