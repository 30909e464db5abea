"""Limits that all workers share beside a destination's cap: rates, and the cap of a connection.

A rate is a token bucket. Its row holds what has been spent and is not made up for yet, in attempts and in
bytes; that wears off at the configured rate, by the server's clock. It is read and charged in the transaction
of the claim, under a lock, so that the rate holds over any number of processes and machines. A row knows
nothing of rates: an edited rate counts at once, and a clock that was set back costs nothing but the time
that it lost. Where nothing sets a limit no statement is run.

Bytes are charged by the size of the file when an attempt is claimed: a large one is let through when the
bucket is not in debt, and the next one waits until its bytes are paid for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from conveyor.clock import SECOND
from conveyor.ledger.database import insert_missing
from conveyor.ledger.prepared import Prepared, among
from conveyor.ledger.records import Flow, Wanted
from conveyor.ledger.schema import flow

BURST = 0.25
"""Seconds. What was not used within this time is lost: so much may go at once."""

MILLION = 1_000_000
"""Attempts are stored in millionths, since a slow rate wears off less than one at a time."""

Paced = Callable[[str, int], None]
"""Told a destination and the time at which its rate allows more, microseconds."""

_ROWS = sa.select(flow.c.name, flow.c.at, flow.c.attempts, flow.c.bytes).where(among(flow.c.name, "names"))
LOOK = Prepared(_ROWS)
_LOCK = Prepared(_ROWS.order_by(flow.c.name).with_for_update())
_CHARGE = Prepared(
    sa.update(flow)
    .where(flow.c.name == sa.bindparam("b_name"))
    .values(at=sa.bindparam("b_at"), attempts=sa.bindparam("b_attempts"), bytes=sa.bindparam("b_bytes"))
)


def flows_of(wanted: Sequence[Wanted]) -> dict[str, Flow]:
    """All limits of these claims, by name."""
    return {each.name: each for want in wanted for each in want.flows}


def members_of(flows: Sequence[Flow]) -> list[str]:
    """The destinations whose leased deliveries have to be counted."""
    return sorted({name for each in flows if each.concurrency is not None for name in each.members})


class Bucket:
    """One flow while claims are made.

    Args:
        flow: The limit.
        stored: ``at``, ``attempts`` and ``bytes`` of its row.
        running: How many deliveries of its members are leased.
        now: Microseconds.
        burst: Seconds' worth that may go at once.
    """

    __slots__ = ("_attempts", "_burst", "_bytes", "_flow", "_now", "_running", "charged")

    def __init__(
        self, flow: Flow, stored: tuple[int, int, int], running: int, now: int, *, burst: float = BURST
    ) -> None:
        at, attempts, spent = stored
        passed = max(0, now - at) / SECOND
        self._flow = flow
        self._running = running
        self._now = now
        self._burst = burst
        self._attempts = max(0.0, attempts / MILLION - passed * (flow.rate or 0.0))
        self._bytes = max(0.0, spent - passed * (flow.byte_rate or 0.0))
        self.charged = False

    def room(self) -> int | None:
        """How many deliveries it lets through now; None for any number."""
        flow = self._flow
        rooms: list[int] = []
        if flow.rate is not None:
            # A millionth is what rounding may have cost.
            rooms.append(math.floor(max(1.0, flow.rate * self._burst) - self._attempts + 1 / MILLION))
        if flow.concurrency is not None:
            rooms.append(flow.concurrency - self._running)
        if flow.byte_rate is not None and self._bytes > flow.byte_rate * self._burst:
            rooms.append(0)
        return max(0, min(rooms)) if rooms else None

    def opens_at(self) -> int | None:
        """When its rates let something through; None when that is now, or no matter of time."""
        flow = self._flow
        waits = [0.0]
        if flow.rate is not None:
            waits.append((self._attempts + 1 - max(1.0, flow.rate * self._burst)) / flow.rate)
        if flow.byte_rate is not None:
            waits.append((self._bytes - flow.byte_rate * self._burst) / flow.byte_rate)
        wait = math.ceil(max(waits) * SECOND)
        return self._now + wait if wait > 0 else None

    def take(self, size: int) -> None:
        """Charge one delivery of ``size`` bytes."""
        self._running += 1
        self._attempts += 1
        self._bytes += size
        self.charged = True

    def row(self) -> dict[str, Any]:
        """What is stored of it."""
        flow = self._flow
        return {
            "b_name": flow.name,
            "b_at": self._now,
            # What no rate wears off would add up for ever, and count when one is set.
            "b_attempts": math.ceil(self._attempts * MILLION) if flow.rate else 0,
            "b_bytes": math.ceil(self._bytes) if flow.byte_rate else 0,
        }


class Meters:
    """The buckets that a round of claims goes through.

    Args:
        flows: By name.
        stored: Rows of name, ``at``, ``attempts``, ``bytes``.
        running: Leased deliveries by destination, of all members.
        now: Microseconds.
        paced: Told who has to wait for a rate, and until when.
    """

    def __init__(
        self,
        flows: dict[str, Flow],
        stored: Sequence[Sequence[Any]],
        running: dict[str, int],
        now: int,
        paced: Paced,
    ) -> None:
        rows = {row[0]: (row[1], row[2], row[3]) for row in stored}
        self._paced = paced
        self._buckets = {
            name: Bucket(
                each, rows.get(name, (now, 0, 0)), sum(running.get(member, 0) for member in each.members), now
            )
            for name, each in flows.items()
        }

    def room(self, want: Wanted, already: int = 0) -> int:
        """How many of a destination may go now.

        Args:
            want: The destination.
            already: How many are on their way that have not been charged yet.
        """
        room = want.limit + already
        for bucket in self._of(want):
            its = bucket.room()
            room = room if its is None else min(room, its)
        if room <= already:
            self._wait(want)
        return max(0, room - already)

    def take(self, want: Wanted, size: int) -> bool:
        """Charge one delivery; False when a rate or a shared cap has no room for it."""
        buckets = self._of(want)
        open_ = all(bucket.room() != 0 for bucket in buckets)
        if open_:
            for bucket in buckets:
                bucket.take(size)
        self._wait(want)
        return open_

    def write(self, connection: sa.Connection) -> None:
        """Store what was charged."""
        store(connection, [bucket for _, bucket in sorted(self._buckets.items())])

    def _of(self, want: Wanted) -> list[Bucket]:
        return [self._buckets[each.name] for each in want.flows]

    def _wait(self, want: Wanted) -> None:
        times = [at for bucket in self._of(want) if (at := bucket.opens_at()) is not None]
        if times:
            self._paced(want.destination, max(times))


def store(connection: sa.Connection, buckets: Sequence[Bucket]) -> None:
    """Store what was charged."""
    charged = [bucket.row() for bucket in buckets if bucket.charged]
    if charged:
        _CHARGE.run_each(connection, charged)


def lock(connection: sa.Connection, flows: dict[str, Flow]) -> Sequence[Sequence[Any]]:
    """Lock the rows of flows, after those of the destinations, in one order for all; makes missing ones.

    Those that only have a cap too: who claims for another destination of the account is not held off by the
    lock of this one's row.
    """
    names = sorted(flows)
    found = _LOCK.rows(connection, {"names": names})
    if len(found) < len(names):
        known = {row[0] for row in found}
        insert_missing(connection, flow, [{"name": name} for name in names if name not in known])
        found = _LOCK.rows(connection, {"names": names})
    return found
