"""Claims: which destinations have work, and taking it under a lease.

A claim is one transaction for a whole round. It re-checks pause and block under the lock of the destination's
row, counts what is leased against the cap, takes the earliest due rows, and writes the attempt rows with it.
Where the cap is far away it does so in another order: what it has taken is looked at, under the lock, before
it commits.
A million rows that wait for later cost nothing: each step walks a partial index from its beginning.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import sqlalchemy as sa

from conveyor.ledger import flow, ranks, rows
from conveyor.ledger.database import Database
from conveyor.ledger.health import KNOWN, LOCK, known_from, lock
from conveyor.ledger.prepared import Prepared, among, ask_together, run_together, together
from conveyor.ledger.records import AttemptOutcome, Claimed, DueDestination, Health, Placement, Status, Wanted
from conveyor.ledger.schema import attempts, deliveries, health, jobs, payloads, workers
from conveyor.ledger.transitions import Move, is_, move

_D = deliveries.c

ROOMY = 4
"""A cap of so many times what is wanted is far away."""

_Room: TypeAlias = tuple[Wanted, int, bool]
"""How many may be taken of what is wanted, and whether that is a probe."""


def _due_statement() -> sa.Select[Any]:
    """Walk from destination to destination through the index, never over their rows (loose index scan)."""
    pending = is_(Status.PENDING)
    first = sa.select(sa.func.min(_D.destination).label("destination")).where(pending)
    walk = first.cte("walk", recursive=True)
    following = (
        sa.select(sa.func.min(_D.destination))
        .where(pending, _D.destination > walk.c.destination)
        .scalar_subquery()
    )
    walk = walk.union_all(sa.select(following).where(walk.c.destination.is_not(None)))
    earliest = (
        sa.select(sa.func.min(_D.next_attempt_at))
        .where(pending, _D.destination == walk.c.destination)
        .scalar_subquery()
    )
    return (
        sa.select(walk.c.destination, earliest, *rows.HEALTH_COLUMNS, ranks.lowest(walk.c.destination))
        .select_from(walk.outerjoin(health, health.c.destination == walk.c.destination))
        .where(walk.c.destination.is_not(None))
    )


_DUE = Prepared(_due_statement())

_REGISTERED = Prepared(
    sa.select(workers.c.id).where(workers.c.id == sa.bindparam("worker")).with_for_update(read=True)
)

RUNNING = Prepared(
    sa.select(_D.destination, sa.func.count())
    .where(is_(Status.DELIVERING), among(_D.destination, "ids"))
    .group_by(_D.destination)
)
"""How many of each destination are leased."""

EARLIEST = (_D.next_attempt_at,)
"""The order in which a destination's due deliveries are taken."""


def is_due() -> tuple[sa.ColumnElement[bool], ...]:
    """Pending and due at the parameter ``now``."""
    return is_(Status.PENDING), _D.next_attempt_at <= sa.bindparam("now")


def these_due() -> tuple[sa.ColumnElement[bool], ...]:
    """Of the parameter ``ids`` those that are pending and due at ``now``, found by nothing but their id.

    A server without statistics yet would rather read all that is due; what is computed has no index. Only
    pending deliveries have a due time.
    """
    return among(_D.id, "ids"), _D.next_attempt_at + 0 <= sa.bindparam("now", type_=sa.BigInteger)


_ROWS = (
    sa.select(
        *rows.JOB_COLUMNS,
        _D.id,
        _D.fence,
        _D.attempt,
        _D.cycle,
        _D.failures,
        _D.lost_in_a_row,
        _D.throttled_since,
        _D.path,
        _D.conflict,
        _D.state,
        _D.look_first,
        _D.held_since,
        _D.transformed,
        _D.next_attempt_at,
        rows.RESULTS_KEY,
    )
    .select_from(deliveries)
    .join(jobs, jobs.c.id == _D.job_id)
    .join(payloads, payloads.c.id == jobs.c.payload_id)
    .order_by(*EARLIEST)
    .limit(sa.bindparam("room"))
    .offset(0)  # or SQLite's dialect would ask for a parameter of its own
    .with_for_update(skip_locked=True, of=deliveries)
)

_TAKE = Prepared(_ROWS.where(*is_due(), _D.destination == sa.bindparam("destination")))
_TAKE_THESE = Prepared(_ROWS.where(*these_due(), _D.destination.concat("") == sa.bindparam("destination")))

_CLAIM = Prepared(
    move(Move.CLAIM).values(
        worker=sa.bindparam("b_worker"),
        attempt=sa.bindparam("b_attempt"),
        path=sa.bindparam("b_path"),
        conflict=sa.bindparam("b_conflict"),
        revision=sa.bindparam("b_revision"),
        probe=sa.bindparam("b_probe"),
        hold_reason=sa.null(),
    )
)
_INSERT_ATTEMPT = Prepared(
    sa.insert(attempts).values(
        delivery_id=sa.bindparam("b_id"),
        attempt=sa.bindparam("b_attempt"),
        cycle=sa.bindparam("b_cycle"),
        fence=sa.bindparam("b_fence") + 1,
        worker=sa.bindparam("b_worker"),
        started_at=sa.bindparam("b_now"),
        probe=sa.bindparam("b_probe"),
        revision=sa.bindparam("b_revision"),
    )
)
_SERVED = Prepared(
    sa.update(health)
    .where(health.c.destination == sa.bindparam("b_destination"))
    .values(last_served=sa.bindparam("b_now"))
)

_GIVE_BACK = move(Move.RETRY).values(
    next_attempt_at=sa.bindparam("b_now"), look_first=sa.or_(_D.look_first, sa.bindparam("b_look"))
)
_END_ATTEMPT = (
    sa.update(attempts)
    .where(
        attempts.c.delivery_id == sa.bindparam("b_id"),
        attempts.c.fence == sa.bindparam("b_fence"),
        attempts.c.outcome == AttemptOutcome.RUNNING.value,
    )
    .values(outcome=AttemptOutcome.GIVEN_BACK.value, finished_at=sa.bindparam("b_now"), follows="retry")
)


class Claims:
    """Takes due deliveries for a worker, and gives them back."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, now: int, limit: int | None = None) -> list[DueDestination]:
        """Every destination with pending deliveries, with the time of its earliest one.

        Those that are not due yet, paused or blocked are in it too: the caller sees when to look again.

        Args:
            now: Microseconds. A ``last_served`` beyond it (the clock was set back) counts as never served, so
                that nobody waits behind a time that lies ahead.
            limit: At most so many destinations, the earliest due first.

        Returns:
            Least recently served first when ``limit`` is None.
        """
        with self._database.read() as connection:
            found = _DUE.rows(connection, {})
        answer = [
            DueDestination(row[0], row[1], health_of(row[:-1], now), ranked=row[-1] is not None)
            for row in found
        ]
        if limit is not None:
            answer.sort(key=lambda due: due.next_attempt_at)
            return answer[:limit]
        answer.sort(key=lambda due: due.health.last_served)
        return answer

    def claim(
        self, worker_id: str, wanted: Sequence[Wanted], now: int, *, paced: flow.Paced = lambda *_: None
    ) -> list[Claimed]:
        """Take due deliveries under this worker's lease, in one transaction.

        Args:
            worker_id: A registered worker. One that was reaped or never registered gets nothing.
            wanted: How many of which destinations. ``place`` is called inside the transaction for each
                delivery that has no path yet in its cycle: it must be quick and must not raise.
            now: Microseconds; rows due at or before it are taken.
            paced: Told which destinations have to wait for their rate, and until when.

        Returns:
            What this worker now holds, each with its attempt row written.
        """
        if not wanted:
            return []
        if self._database.remote and all(map(_is_roomy, wanted)):
            with contextlib.suppress(_Crowded):
                return self._claim_ahead(worker_id, wanted, now)
        with self._database.write(quiet=True) as connection:
            ids = [want.destination for want in wanted]
            registered, found, running = ask_together(
                connection,
                [(_REGISTERED, {"worker": worker_id}), (LOCK, {"ids": sorted(ids)}), (RUNNING, {"ids": ids})],
            )
            if not registered:
                return []
            known = known_from(found)
            if len(known) < len(set(ids)):  # not locked yet, and what runs was counted too early
                known, running = lock(connection, ids), RUNNING.rows(connection, {"ids": ids})
            rooms = list(_rooms(wanted, known, {row[0]: row[1] for row in running}, now))
            meters = _meters(connection, [want for want, _, _ in rooms], now, paced)
            if meters is None:
                taken = _take(connection, rooms, now)
            else:
                taken = _take_metered(connection, rooms, now, meters)
            if taken:
                _write(connection, worker_id, taken, now)
                if meters is not None:
                    meters.write(connection)
            return taken

    def _claim_ahead(self, worker_id: str, wanted: Sequence[Wanted], now: int) -> list[Claimed]:
        """Take first and look then whether that was allowed, under a lock that is held for one answer.

        All processes queue for the locks of the destinations. Where the caps are far away nobody need wait
        while another one reads and writes its claims.

        Raises:
            _Crowded: It was not, and nothing was taken.
        """
        ids = sorted({want.destination for want in wanted})
        with self._database.write(quiet=True) as connection:
            rooms = [(want, want.limit, False) for want in wanted]
            asked = _questions(connection, rooms, now)
            registered, found, running, *answers = ask_together(
                connection,
                [
                    (_REGISTERED, {"worker": worker_id}),
                    (KNOWN, {"ids": ids}),
                    (RUNNING, {"ids": ids}),
                    *asked,
                ],
            )
            if not registered:
                return []
            leased = {row[0]: row[1] for row in running}
            for want in wanted:
                leased[want.destination] = leased.get(want.destination, 0) + want.limit
            _expect_room(wanted, known_from(found), leased)
            if taken := _claims(rooms, asked, answers, now):
                names = sorted({claim.destination for claim in taken})
                *_, locked, _, counted = together(
                    connection,
                    [
                        *_writes(worker_id, taken, now),
                        (LOCK, {"ids": names}),
                        (_SERVED, _served(names, now)),
                        (RUNNING, {"ids": names}),
                    ],
                )
                leased = {row[0]: row[1] for row in counted.fetchall()}
                _expect_room(
                    [want for want in wanted if want.destination in leased],
                    known_from(locked.fetchall()),
                    leased,
                )
            return taken

    def give_back(self, items: Iterable[tuple[str, int]], now: int, *, look_first: bool = False) -> None:
        """Return claims uncharged, due at once: shutdown, or the ledger or payload store is away.

        Args:
            items: Delivery ids with the fence under which they are held; others are left alone.
            now: Microseconds.
            look_first: The attempts may have reached the destination: the next ones ask ``find`` first.
        """
        values = [
            {"b_id": ident, "b_fence": fence, "b_now": now, "b_look": look_first}
            for ident, fence in sorted(items)
        ]
        if not values:
            return
        with self._database.write() as connection:
            connection.execute(_GIVE_BACK, values)
            connection.execute(_END_ATTEMPT, values)


class _Crowded(Exception):
    """Room has to be counted under the destinations' locks."""


def _is_roomy(want: Wanted) -> bool:
    """Whether the cap is far enough away to be looked at afterwards; a probe, and a limit shared with others,
    is looked at before.
    """
    return want.cap >= ROOMY * want.limit and not want.probe and not want.flows


def _expect_room(wanted: Sequence[Wanted], known: Mapping[str, Health], leased: Mapping[str, int]) -> None:
    for want in wanted:
        state = known.get(want.destination)
        if state is None or state.paused_at is not None or state.block is not None:
            raise _Crowded
        if leased.get(want.destination, 0) > want.cap:
            raise _Crowded


def health_of(row: Sequence[Any], now: int) -> Health:
    """A destination's health from a row of its id, something else, and ``rows.HEALTH_COLUMNS``."""
    if row[2] is None:
        return Health(row[0])
    values = list(row[2:])
    if values[9] > now:
        values[9] = 0
    return rows.health_from(values)


def _rooms(
    wanted: Sequence[Wanted], known: Mapping[str, Health], running: Mapping[str, int], now: int
) -> Iterable[_Room]:
    """How many rows of each destination may be taken now, and whether that one is a probe."""
    for want in wanted:
        state = known[want.destination]
        leased = running.get(want.destination, 0)
        if state.paused_at is not None:
            continue
        if state.block is not None:
            until = state.block.until
            if want.probe and leased == 0 and until is not None and until <= now:
                yield want, 1, True
            continue
        room = min(want.limit, want.cap - leased)
        if room > 0:
            yield want, room, False


def _meters(
    connection: sa.Connection, wanted: Sequence[Wanted], now: int, paced: flow.Paced
) -> flow.Meters | None:
    """The rates and shared caps of these claims, locked; None, and no statement, where there are none."""
    flows = flow.flows_of(wanted)
    if not flows:
        return None
    stored = flow.lock(connection, flows)
    members = flow.members_of(list(flows.values()))
    running = {row[0]: row[1] for row in RUNNING.rows(connection, {"ids": members})} if members else {}
    return flow.Meters(flows, stored, running, now, paced)


def _questions(
    connection: sa.Connection, rooms: Sequence[_Room], now: int
) -> list[tuple[Prepared, dict[str, Any]]]:
    return [_question(connection, want, room, now) for want, room, _ in rooms]


def _question(
    connection: sa.Connection, want: Wanted, room: int, now: int
) -> tuple[Prepared, dict[str, Any]]:
    """What asks for the rows to take, and locks them; of a destination with priorities it names them."""
    values: dict[str, Any] = {"destination": want.destination, "now": now, "room": room}
    only = want.only
    if only is None and want.ranked:
        only = tuple(ranks.first(lambda asked, of: asked.rows(connection, of), want.destination, now, room))
    if only is None:
        return _TAKE, values
    return _TAKE_THESE, {**values, "ids": list(only)}


def _take(
    connection: sa.Connection, rooms: Sequence[_Room], now: int, meters: flow.Meters | None = None
) -> list[Claimed]:
    """Take from these destinations, asking for all of them together."""
    asked = _questions(connection, rooms, now)
    return _claims(rooms, asked, ask_together(connection, asked), now, meters)


def _claims(
    rooms: Sequence[_Room],
    asked: Sequence[tuple[Prepared, Mapping[str, Any]]],
    answers: Sequence[Sequence[Sequence[Any]]],
    now: int,
    meters: flow.Meters | None = None,
) -> list[Claimed]:
    """The claims of what was asked for and answered."""
    taken: list[Claimed] = []
    for (want, _, probe), (_, values), found in zip(rooms, asked, answers, strict=True):
        taken.extend(_taken(_ordered(want, values, found), want, probe, now, meters))
    return taken


def _ordered(
    want: Wanted, values: Mapping[str, Any], found: Sequence[Sequence[Any]]
) -> Sequence[Sequence[Any]]:
    """Rows in the order in which they were to be taken."""
    if want.only is not None or not want.ranked:
        return found
    place = {ident: number for number, ident in enumerate(values["ids"])}
    return sorted(found, key=lambda row: place[row[rows.WIDTH]])


def _take_metered(
    connection: sa.Connection, rooms: Sequence[_Room], now: int, meters: flow.Meters
) -> list[Claimed]:
    """Take from one destination after the other: what one takes may leave less for the next."""
    taken: list[Claimed] = []
    for want, room, probe in rooms:
        if room := min(room, meters.room(want)):
            taken.extend(_take(connection, [(want, room, probe)], now, meters))
    return taken


def _taken(
    found: Sequence[Sequence[Any]], want: Wanted, probe: bool, now: int, meters: flow.Meters | None
) -> Iterable[Claimed]:
    """The claims of rows, as far as the meters let them through."""
    for row in found:
        counts, place = row[rows.WIDTH : rows.WIDTH + 7], row[rows.WIDTH + 7 :]
        ident, fence, attempt, cycle, failures, lost, throttled = counts
        path, conflict, state, look, held, made, due, results_key = place
        job = rows.job_from(row)
        if meters is not None and not meters.take(want, job.payload.size):
            return
        placement = rows.placement_from(path, conflict)
        yield Claimed(
            delivery_id=ident,
            destination=want.destination,
            job=job,
            fence=fence + 1,
            attempt=attempt + 1,
            cycle=cycle,
            failures=failures,
            lost_in_a_row=lost,
            throttled_since=throttled,
            placement=placement or want.place(job, ident, cycle),
            state=None if state is None else bytes(state),
            look_first=bool(look),
            revision=want.revision,
            started_at=now,
            probe=probe,
            held_since=held,
            transformed=rows.transformed_from(made, results_key),
            due_at=due,
            asked_at=want.asked_at,
        )


def _write(connection: sa.Connection, worker_id: str, taken: Sequence[Claimed], now: int) -> None:
    names = sorted({claim.destination for claim in taken})
    run_together(connection, [*_writes(worker_id, taken, now), (_SERVED, _served(names, now))])


def _writes(
    worker_id: str, taken: Sequence[Claimed], now: int
) -> list[tuple[Prepared, list[dict[str, Any]]]]:
    values = [_claim_row(worker_id, claim, claim.placement, now) for claim in taken]
    return [(_CLAIM, values), (_INSERT_ATTEMPT, values)]


def _served(names: Sequence[str], now: int) -> list[dict[str, Any]]:
    return [{"b_destination": name, "b_now": now} for name in names]


def _claim_row(worker_id: str, claim: Claimed, placement: Placement | None, now: int) -> dict[str, Any]:
    return {
        "b_id": claim.delivery_id,
        "b_fence": claim.fence - 1,
        "b_now": now,
        "b_worker": worker_id,
        "b_attempt": claim.attempt,
        "b_cycle": claim.cycle,
        "b_path": None if placement is None else placement.path,
        "b_conflict": None if placement is None else placement.conflict.value,
        "b_revision": claim.revision,
        "b_probe": claim.probe,
    }
