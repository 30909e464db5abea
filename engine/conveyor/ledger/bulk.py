"""Replays in bulk: a row with the filter and, for each destination, how far it has come.

Nothing is turned when one is begun: a hundred thousand deliveries cost one count. Then any process feeds it,
a batch at a time, as long as few of its deliveries wait: they stand behind what is submitted meanwhile
(:mod:`conveyor.ledger.ranks`), and a destination that is held keeps no more than that. The place in the order
of submission moves in the transaction that turns the batch: no crash turns a delivery twice, or forgets one.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from conveyor import ids
from conveyor.contract import ErrorKind
from conveyor.ledger import flow
from conveyor.ledger.database import Database
from conveyor.ledger.filters import conditions
from conveyor.ledger.orders import LOCK_PAYLOADS, LOOK
from conveyor.ledger.records import OPEN, Filter, Flow, Status
from conveyor.ledger.replays import Replay
from conveyor.ledger.schema import deliveries, replay_parts, replays
from conveyor.ledger.transitions import in_

if TYPE_CHECKING:
    from conveyor.clock import Clock

BATCH = 200
"""Deliveries turned in one transaction at most."""

WAITING = 400
"""Deliveries of one replay that wait or run at one destination at most."""

BURST = 1.0
"""Seconds' worth of a replay's rate that may be turned at once: it is fed twice a second."""

_D, _P, _R = deliveries.c, replay_parts.c, replays.c
_DONE_BEFORE = sa.or_(_D.finished_at.is_(None), _D.finished_at <= sa.bindparam("began"))
_OF_IT = _P.replay == sa.bindparam("replay")
_BY_STATUS = (
    sa.select(_D.replay, _D.destination, _D.status, sa.func.count())
    .where(_D.replay.in_(sa.bindparam("ids", expanding=True)))
    .group_by(_D.replay, _D.destination, _D.status)
)
_OPEN_OF_IT = (
    sa.select(_D.destination, sa.func.count())
    .where(_D.replay == sa.bindparam("replay"), in_(OPEN))
    .group_by(_D.destination)
)


class ReplayState(enum.StrEnum):
    """Where a replay in bulk stands."""

    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Matching:
    """Deliveries that a filter matches, of one destination and status."""

    destination: str
    status: Status
    count: int


@dataclass(frozen=True, slots=True)
class ReplayPart:
    """What a replay in bulk has come to at one destination.

    Attributes:
        matched: When it was begun.
        turned: Put in line again so far; ``skipped``: looked at and left alone.
        done: Nothing is left to be looked at.
        statuses: Of what was turned, by status.
    """

    destination: str
    matched: int
    turned: int
    skipped: int
    done: bool
    statuses: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ReplayRecord:
    """A replay in bulk. Times are microseconds, ``rate`` deliveries a second."""

    id: str
    state: ReplayState
    created_at: int
    finished_at: int | None
    rate: float | None
    wanted: Filter
    parts: tuple[ReplayPart, ...]


class Bulk:
    """Replays in bulk."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def matching(self, wanted: Filter) -> list[Matching]:
        """What a filter matches now, by destination and status."""
        statement = (
            sa.select(_D.destination, _D.status, sa.func.count())
            .where(*conditions(wanted))
            .group_by(_D.destination, _D.status)
            .order_by(_D.destination, _D.status)
        )
        with self._database.read() as connection:
            return [Matching(row[0], Status(row[1]), row[2]) for row in connection.execute(statement)]

    def begin(
        self,
        wanted: Filter,
        now: int,
        *,
        matching: Iterable[Matching] | None = None,
        force: bool = False,
        new_id: bool = False,
        to: tuple[str, str] | None = None,
        rate: float | None = None,
    ) -> str:
        """Begin one; returns its id.

        Args:
            wanted: Which deliveries, of those that exist now.
            now: Microseconds.
            matching: What :meth:`matching` has just said of them, where that was asked before.
            force, new_id, to: As of :meth:`conveyor.ledger.orders.Orders.replay`.
            rate: Deliveries a second at most, over all destinations.
        """
        matched: dict[str, int] = {}
        for each in self.matching(wanted) if matching is None else matching:
            matched[each.destination] = matched.get(each.destination, 0) + each.count
        ident = ids.new("rpl", self._clock)
        options = {"force": force, "new_id": new_id, "to": to, "rate": rate}
        row = {
            "id": ident,
            "created_at": now,
            "wanted": json.dumps(_plain(wanted)),
            "options": json.dumps(options),
        }
        parts = [
            {"replay": ident, "destination": name, "matched": count}
            for name, count in sorted(matched.items())
        ]
        with self._database.write(durable=True) as connection:
            connection.execute(sa.insert(replays), row)
            if parts:
                connection.execute(sa.insert(replay_parts), parts)
        return ident

    def all(self, only: str | None = None) -> list[ReplayRecord]:
        """All replays in bulk, the newest first; the one of id ``only``."""
        asked = sa.select(replays).order_by(_R.id.desc())
        if only is not None:
            asked = asked.where(_R.id == only)
        with self._database.read() as connection:
            found = connection.execute(asked).all()
            names = [row.id for row in found]
            parts = connection.execute(
                sa.select(replay_parts).where(_P.replay.in_(names)).order_by(_P.destination)
            ).all()
            counts = connection.execute(_BY_STATUS, {"ids": names}).all()
        return [_record(row, parts, counts) for row in found]

    def steer(self, ident: str, to: ReplayState, now: int) -> bool:
        """Pause, continue or cancel one; False when it has ended. What is in line already stays there."""
        ended = to in (ReplayState.DONE, ReplayState.CANCELLED)
        leaves = (ReplayState.RUNNING.value, ReplayState.PAUSED.value)
        change = sa.update(replays).where(_R.id == ident, _R.state.in_(leaves))
        with self._database.write(durable=True) as connection:
            found = connection.execute(change.values(state=to.value, finished_at=now if ended else None))
            return found.rowcount == 1

    def running(self) -> list[str]:
        """Ids of those that are to be fed, the oldest first."""
        with self._database.read() as connection:
            asked = sa.select(_R.id).where(_R.state == sa.literal_column("'running'")).order_by(_R.id)
            return list(connection.execute(asked).scalars())

    def hungry(self) -> bool:
        """Whether one could be fed at once: something is left, and few of its deliveries wait."""
        for ident in self.running():
            with self._database.read() as connection:
                options = connection.execute(sa.select(_R.options).where(_R.id == ident)).scalar_one()
                if any(_rooms(connection, ident, options).values()):
                    return True
        return False

    def feed(self, ident: str, now: int, expires: Callable[[str], int]) -> int:
        """Turn the next batch at each destination where few wait; ends the replay when nothing is left.

        Args:
            ident: The replay.
            now: Microseconds.
            expires: When a delivery to a destination, replayed now, expires.

        Returns:
            How many deliveries are in line again.
        """
        with self._database.read() as connection:
            row = connection.execute(sa.select(replays).where(_R.id == ident)).first()
            if row is None or row.state != ReplayState.RUNNING:
                return 0
            rooms = _rooms(connection, ident, row.options)
            found = [(part, _candidates(connection, row, part, room)) for part, room in rooms.items() if room]
            over = not rooms and not connection.execute(_OPEN_OF_IT, {"replay": ident}).first()
        turned = sum(self._turn(row, part, candidates, now, expires) for part, candidates in found)
        if over:
            self.steer(ident, ReplayState.DONE, now)
        return turned

    def _turn(
        self, row: Any, part: Any, found: Sequence[Any], now: int, expires: Callable[[str], int]
    ) -> int:
        options = json.loads(row.options)
        to = None if options["to"] is None else tuple(options["to"])
        order = Replay(
            self._clock, now, expires, force=options["force"], new_id=options["new_id"], to=to, bulk=row.id
        )
        here = sa.and_(_P.replay == row.id, _P.destination == part.destination)
        with self._database.write(durable=True) as connection:
            state = connection.execute(
                sa.select(_R.state).where(_R.id == row.id).with_for_update()
            ).scalar_one()
            place = connection.execute(sa.select(_P.after_id).where(here)).scalar_one()
            if state != ReplayState.RUNNING or place != part.after_id:
                return 0  # paused meanwhile, or somebody else was faster
            room = len(found)
            bucket = None if options["rate"] is None else _bucket(connection, row.id, options["rate"], now)
            if bucket is not None:
                room = min(room, bucket.room() or 0)
            some = found[:room]
            if found and not some:
                return 0
            names = [each.id for each in some]
            connection.execute(LOCK_PAYLOADS, {"ids": names})
            look = LOOK.where(*conditions(_unplain(row.wanted))).with_for_update(of=deliveries)
            rows = connection.execute(look, {"ids": names}).all()
            refused = order.refused(connection, rows)
            chosen = order.carry_out(connection, [each for each in rows if each.id not in refused])
            if bucket is not None:
                for _ in chosen:
                    bucket.take(0)
                flow.store(connection, [bucket])
            moved = {"after_at": some[-1].created_at, "after_id": some[-1].id} if some else {"done": True}
            counted = {
                "turned": _P.turned + len(chosen),
                "skipped": _P.skipped + len(some) - len(chosen),
            }
            connection.execute(sa.update(replay_parts).where(here).values(**moved, **counted))
        return len(chosen)


def _rooms(connection: sa.Connection, ident: str, options: str) -> dict[Any, int]:
    """The parts at which something is left, and how many may be turned there now."""
    waiting = {row[0]: row[1] for row in connection.execute(_OPEN_OF_IT, {"replay": ident})}
    to = json.loads(options)["to"]
    asked = sa.select(replay_parts).where(_OF_IT, sa.not_(_P.done))
    return {
        part: max(0, min(BATCH, WAITING - waiting.get(part.destination if to is None else to[0], 0)))
        for part in connection.execute(asked, {"replay": ident})
    }


def _candidates(connection: sa.Connection, row: Any, part: Any, room: int) -> Sequence[Any]:
    """The next deliveries in the order of their submission; none when there are no more."""
    here, place = sa.tuple_(_D.created_at, _D.id), (part.after_at or 0, part.after_id or "")
    asked = (
        sa.select(_D.id, _D.created_at)
        .where(
            _D.destination == part.destination,
            *conditions(_unplain(row.wanted)),
            _D.created_at <= row.created_at,
            _DONE_BEFORE,
            here > sa.tuple_(sa.literal(place[0], sa.BigInteger), sa.literal(place[1], sa.Text)),
        )
        .order_by(_D.created_at, _D.id)
        .limit(room)
    )
    return connection.execute(asked, {"began": row.created_at}).all()


def _bucket(connection: sa.Connection, ident: str, rate: float, now: int) -> flow.Bucket:
    limit = Flow(f"replay:{ident}", rate=rate)
    ((_, *stored),) = flow.lock(connection, {limit.name: limit})
    return flow.Bucket(limit, (stored[0] or now, stored[1], stored[2]), 0, now, burst=BURST)


def _record(row: Any, parts: Iterable[Any], counts: Iterable[Any]) -> ReplayRecord:
    statuses: dict[str, dict[str, int]] = {}
    for replay, destination, status, count in counts:
        if replay == row.id:
            statuses.setdefault(destination, {})[status] = count
    own = tuple(
        ReplayPart(
            part.destination,
            part.matched,
            part.turned,
            part.skipped,
            bool(part.done),
            statuses.get(part.destination, {}),
        )
        for part in parts
        if part.replay == row.id
    )
    # What goes to another destination instead is counted where it goes.
    own += tuple(
        ReplayPart(name, 0, 0, 0, True, found)
        for name, found in sorted(statuses.items())
        if name not in {part.destination for part in own}
    )
    rate = json.loads(row.options)["rate"]
    state = ReplayState(row.state)
    return ReplayRecord(row.id, state, row.created_at, row.finished_at, rate, _unplain(row.wanted), own)


_SETS = {"statuses": Status, "error_kinds": ErrorKind, "destinations": str, "not_destinations": str,
         "sessions": str, "held": str}  # fmt: skip


def _plain(wanted: Filter) -> dict[str, Any]:
    """A filter as JSON."""
    plain = {field.name: getattr(wanted, field.name) for field in fields(wanted)}
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in plain.items()}


def _unplain(text: str) -> Filter:
    plain = json.loads(text)
    for name, kind in _SETS.items():
        if plain[name] is not None:
            plain[name] = frozenset(kind(each) for each in plain[name])
    return Filter(**{**plain, "ids": tuple(plain["ids"])})
