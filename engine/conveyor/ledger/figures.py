"""What a monitor is told, by queries whose cost is bounded however much waits or has been delivered.

Due deliveries are counted up to ``MOST`` for each destination; lateness is that of the newest attempts; what
ended is counted once, from one look to the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from conveyor.clock import SECOND
from conveyor.ledger.database import Database
from conveyor.ledger.records import AttemptOutcome, Status
from conveyor.ledger.schema import attempts, cleanups, deliveries, payloads, workers
from conveyor.ledger.transitions import is_, may_expire

MOST = 100_000
"""Due deliveries of one destination are counted up to here."""

TOGETHER = 100
"""Destinations that one statement counts."""

NEWEST = 1_000
"""So many attempts, the last ones, tell how late they begin."""

RECENT = 300 * SECOND
"""Of attempts that began longer ago nobody wants to know whether they were late."""

CLEANUP_OVERDUE = 3600 * SECOND
"""A cleanup that has been due for longer is stuck; a healthy engine takes it within seconds."""

SLACK = 60 * SECOND
"""A claim whose worker's lease ended longer ago is stuck, and what expired longer ago: somebody should have
come."""

_D, _A = deliveries.c, attempts.c
_BEFORE = attempts.alias("the_one_before")
_ENDED = _A.outcome != sa.literal_column(f"'{AttemptOutcome.RUNNING.value}'")

_RUNNING = sa.select(_D.destination, sa.func.count()).where(is_(Status.DELIVERING)).group_by(_D.destination)
_LATE = (
    sa.select(_A.started_at - sa.func.coalesce(_BEFORE.c.next_attempt_at, _D.created_at))
    .join(deliveries, _D.id == _A.delivery_id)
    .outerjoin(_BEFORE, sa.and_(_BEFORE.c.delivery_id == _A.delivery_id, _BEFORE.c.attempt == _A.attempt - 1))
    # The first attempt after a replay was due at a time that nobody wrote down.
    .where(
        _A.started_at > sa.bindparam("since"),
        sa.or_(_A.attempt == 1, _BEFORE.c.next_attempt_at.is_not(None)),
    )
    .order_by(_A.started_at.desc())
    .limit(NEWEST)
)
_OPEN_ID = sa.case((_ENDED, None), else_=_A.delivery_id)
_OPEN_ATTEMPT = sa.case((_ENDED, None), else_=_A.attempt)
_SUMS = (_D.destination, _A.outcome, _A.kind, sa.func.count(), sa.func.sum(_A.bytes_sent))
_BEGAN = (
    sa.select(*_SUMS, _OPEN_ID, _OPEN_ATTEMPT)
    .join(deliveries, _D.id == _A.delivery_id)
    .where(_A.started_at >= sa.bindparam("since"), _A.started_at < sa.bindparam("until"))
    .group_by(_D.destination, _A.outcome, _A.kind, _OPEN_ID, _OPEN_ATTEMPT)
)
_ONE_ENDED = (
    sa.select(_D.destination, _A.outcome, _A.kind, _A.bytes_sent)
    .join(deliveries, _D.id == _A.delivery_id)
    .where(_A.delivery_id == sa.bindparam("delivery"), _A.attempt == sa.bindparam("attempt"), _ENDED)
)
_STILL_THERE = sa.select(_A.attempt).where(
    _A.delivery_id == sa.bindparam("delivery"), _A.attempt == sa.bindparam("attempt")
)
_STUCK: Mapping[str, sa.Select[Any]] = {
    "claim": sa.select(sa.func.count())
    .select_from(deliveries.outerjoin(workers, workers.c.id == _D.worker))
    .where(
        is_(Status.DELIVERING),
        sa.func.coalesce(workers.c.lease_until, _D.updated_at) < sa.bindparam("slack"),
    ),
    "expiry": sa.select(sa.func.count())
    .select_from(deliveries)
    .where(*may_expire(), _D.expires_at < sa.bindparam("slack")),
    "payload": sa.select(sa.func.count())
    .select_from(payloads)
    .where(payloads.c.state == sa.literal_column("'removing'")),
    "cleanup": sa.select(sa.func.count())
    .select_from(cleanups)
    .where(cleanups.c.done_at.is_(None), cleanups.c.next_at < sa.bindparam("overdue")),
}
"""By kind: claims of dead workers, what has expired, payloads half removed, leftovers nobody removes."""


class Ended(NamedTuple):
    """A kind of end of an attempt."""

    destination: str
    outcome: str
    kind: str


@dataclass(slots=True)
class Tracked:
    """What was counted since the start: attempts and their bytes, by how they ended.

    Attributes:
        looked: Attempts that began before are counted, or ``open``. Microseconds.
    """

    looked: int
    counts: dict[Ended, int]
    sent: dict[str, int]
    open: set[tuple[str, int]]

    @classmethod
    def since(cls, now: int) -> Tracked:
        """Nothing yet."""
        return cls(now, {}, {}, set())

    def add(self, ended: Ended, count: int, sent: int) -> None:
        """Count."""
        self.counts[ended] = self.counts.get(ended, 0) + count
        self.sent[ended.destination] = self.sent.get(ended.destination, 0) + sent


class Figures:
    """The ledger in numbers."""

    SETTLED = 2 * SECOND
    """A claim is committed so soon after the time that it bears."""

    SLICE, SLICES = 300 * SECOND, 24
    """A look counts at most so many slices of so much time; the next one goes on."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, destinations: Sequence[str], now: int) -> dict[str, int]:
        """How many deliveries of these destinations are due, each counted up to ``MOST``."""
        found: dict[str, int] = {}
        with self._database.read() as connection:
            for start in range(0, len(destinations), TOGETHER):
                some = destinations[start : start + TOGETHER]
                answer = connection.execute(sa.union_all(*(_due(name, now) for name in some)))
                found.update((row[0], row[1]) for row in answer)
        return found

    def running(self) -> dict[str, int]:
        """How many deliveries of each destination are being delivered."""
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(_RUNNING)}

    def lateness(self, now: int) -> list[int]:
        """Microseconds between due time and begin of the newest attempts, ascending; holds count."""
        with self._database.read() as connection:
            found = connection.execute(_LATE, {"since": now - RECENT}).scalars()
            return sorted(max(0, late) for late in found)

    def stuck(self, now: int) -> dict[str, int]:
        """Rows that somebody should have moved on, by kind; a healthy installation has none."""
        bounds = {"slack": now - SLACK, "overdue": now - CLEANUP_OVERDUE}
        with self._database.read() as connection:
            return {kind: connection.execute(query, bounds).scalar_one() for kind, query in _STUCK.items()}

    def track(self, tracked: Tracked, now: int) -> None:
        """Count attempts that ended since the last look; each once."""
        with self._database.read() as connection:
            for delivery, attempt in sorted(tracked.open):
                key = {"delivery": delivery, "attempt": attempt}
                row = connection.execute(_ONE_ENDED, key).first()
                if row is not None:
                    tracked.open.discard((delivery, attempt))
                    tracked.add(Ended(row[0], row[1], row[2] or ""), 1, row[3])
                elif connection.execute(_STILL_THERE, key).first() is None:
                    tracked.open.discard((delivery, attempt))
            for _ in range(self.SLICES):
                until = min(tracked.looked + self.SLICE, now - self.SETTLED)
                if until <= tracked.looked:
                    return
                rows = connection.execute(_BEGAN, {"since": tracked.looked, "until": until}).all()
                tracked.looked = until
                for destination, outcome, kind, count, sent, delivery, attempt in rows:
                    if delivery is None:
                        tracked.add(Ended(destination, outcome, kind or ""), count, int(sent))
                    else:
                        tracked.open.add((delivery, attempt))


def _due(destination: str, now: int) -> sa.Select[str, int]:
    some = (
        sa.select(_D.next_attempt_at)
        .where(is_(Status.PENDING), _D.destination == destination, _D.next_attempt_at <= now)
        .limit(MOST)
        .subquery()
    )
    return sa.select(sa.literal(destination), sa.func.count()).select_from(some)
