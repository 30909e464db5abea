"""Workers: one row per process, its lease, and what becomes of its claims when it dies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import sqlalchemy as sa

from conveyor.contract import ErrorKind
from conveyor.ledger.cleanups import enqueue
from conveyor.ledger.database import Database, upsert
from conveyor.ledger.records import AttemptOutcome, Lost, Status, WorkerRecord
from conveyor.ledger.schema import attempts, deliveries, workers
from conveyor.ledger.transitions import Move, is_, move

_LOST = "the worker died or froze during the attempt"

_W, _D = workers.c, deliveries.c
_FIELDS = tuple(field.name for field in fields(WorkerRecord))
_ALL = sa.select(*(workers.c[name] for name in _FIELDS)).order_by(_W.started_at, _W.id)
_LOCK_ALL = _ALL.with_for_update(skip_locked=True)
_ONE = _W.id == sa.bindparam("b_id")
_BEAT = sa.update(workers).where(_ONE).values(lease_until=sa.bindparam("b_until"))
_DRAIN = sa.update(workers).where(_ONE).values(draining=sa.true())
_REMOVE = sa.delete(workers).where(_ONE)
_FULL_LEASE = sa.bindparam("b_now", type_=sa.BigInteger) + _W.lease
_AHEAD = sa.select(_W.id).where(_W.lease_until > _FULL_LEASE).limit(1)
_CUT = sa.update(workers).where(_W.lease_until > _FULL_LEASE).values(lease_until=_FULL_LEASE)
_HELD = sa.select(_D.id, _D.fence).where(_D.worker == sa.bindparam("b_id"), is_(Status.DELIVERING))

_CLAIMS_COLUMNS = (
    _D.id, _D.destination, _D.worker, _D.attempt, _D.fence, _D.lost_in_a_row, _D.state, _D.updated_at,
)  # fmt: skip
_ORPHANED = (is_(Status.DELIVERING), _D.worker.not_in(sa.select(_W.id)))
_ORPHANS_EXIST = sa.select(_D.id).where(*_ORPHANED).limit(1)
_ORPHANS = sa.select(*_CLAIMS_COLUMNS).where(*_ORPHANED).order_by(_D.id).with_for_update(of=deliveries)
_LOST_VALUES = {
    "lost_in_a_row": sa.bindparam("b_lost"),
    "last_error": sa.bindparam("b_message"),
    "last_error_kind": ErrorKind.WORKER_LOST.value,
}
_REAP = move(Move.REAP).values(**_LOST_VALUES, next_attempt_at=sa.bindparam("b_next"), look_first=sa.true())
_REAP_FAIL = move(Move.REAP_FAIL).values(**_LOST_VALUES, state=sa.null())
_END_ATTEMPT = (
    sa.update(attempts)
    .where(attempts.c.delivery_id == sa.bindparam("b_id"), attempts.c.attempt == sa.bindparam("b_attempt"))
    .values(
        outcome=AttemptOutcome.LOST.value,
        finished_at=sa.bindparam("b_now"),
        kind=ErrorKind.WORKER_LOST.value,
        message=sa.bindparam("b_message"),
        follows=sa.bindparam("b_follows"),
        next_attempt_at=sa.bindparam("b_next"),
    )
)


class Workers:
    """Registration, heartbeat and reaping."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def register(self, worker: WorkerRecord) -> None:
        """Enter a worker. Its lease is ``lease_until - started_at`` long and covers all its claims."""
        row = {name: getattr(worker, name) for name in _FIELDS}
        row["lease"] = max(worker.lease_until - worker.started_at, 1)
        with self._database.write(quiet=True) as connection:
            upsert(connection, workers, [row])

    def beat(self, worker_id: str, lease_until: int) -> frozenset[tuple[str, int]] | None:
        """Renew the lease.

        Returns:
            The claims that this worker still holds, as (delivery id, fence): what is missing was cancelled
            or replayed. None: the worker was reaped; it must stop all its attempts and register anew.
        """
        with self._database.write(quiet=True) as connection:
            if connection.execute(_BEAT, {"b_id": worker_id, "b_until": lease_until}).rowcount == 0:
                return None
            found = connection.execute(_HELD, {"b_id": worker_id})
            return frozenset((row[0], row[1]) for row in found)

    def drain(self, worker_id: str) -> None:
        """Note that the worker takes no more work and will leave."""
        with self._database.write(quiet=True) as connection:
            connection.execute(_DRAIN, {"b_id": worker_id})

    def retire(self, worker_id: str) -> None:
        """Remove a worker that has given everything back; what it still holds counts as lost."""
        with self._database.write(quiet=True) as connection:
            connection.execute(_REMOVE, {"b_id": worker_id})

    def all(self) -> list[WorkerRecord]:
        """All workers, the eldest first, expired ones included."""
        with self._database.read() as connection:
            return [_worker(row) for row in connection.execute(_ALL)]

    def reap(
        self,
        now: int,
        *,
        dead: Callable[[WorkerRecord], bool],
        delay: Callable[[int], int | None],
        trust_leases: bool = True,
    ) -> list[Lost]:
        """Free the claims of workers whose lease ran out or that are known to be dead.

        The fence of each claim is raised, so that the worker, should it wake up, can write nothing. Claims
        whose worker is not registered at all are freed too. A lease that reaches further than one lease from
        now was given before the clock was set back: it is cut to one lease from now.

        Args:
            now: Microseconds.
            dead: Whether a worker is known to be dead before its lease runs out.
            delay: Microseconds from the beginning of the n-th attempt lost in a row to the next one, which is
                due at once when they have passed; None to give up: WORKER_LOST.
            trust_leases: Whether an expired lease counts. Not for a process that was itself out of contact.

        Returns:
            What was freed.
        """

        def gone(worker: WorkerRecord) -> bool:
            return (trust_leases and _overdue(worker, now)) or dead(worker)

        with self._database.read() as connection:
            some = [_worker(row) for row in connection.execute(_ALL)]
            orphans = connection.execute(_ORPHANS_EXIST).first() is not None
            ahead = connection.execute(_AHEAD, {"b_now": now}).first() is not None
        if ahead:
            with self._database.write(quiet=True) as connection:
                connection.execute(_CUT, {"b_now": now})
        if not orphans and not any(gone(worker) for worker in some):
            return []
        with self._database.write() as connection:
            lost = [worker for worker in map(_worker, connection.execute(_LOCK_ALL).all()) if gone(worker)]
            if lost:
                connection.execute(_REMOVE, [{"b_id": worker.id} for worker in lost])
            return _free(connection, connection.execute(_ORPHANS).all(), delay, now)


def _worker(row: Sequence[Any]) -> WorkerRecord:
    values = [*row[:-1], bool(row[-1])]
    return WorkerRecord(*values)


def _overdue(worker: WorkerRecord, now: int) -> bool:
    return worker.lease_until <= now


def _free(
    connection: sa.Connection, held: Sequence[Sequence[Any]], delay: Callable[[int], int | None], now: int
) -> list[Lost]:
    freed: list[Lost] = []
    values: list[dict[str, Any]] = []
    for ident, destination, worker, attempt, fence, lost, _, begun in held:
        wait = delay(lost + 1)
        status = Status.FAILED if wait is None else Status.PENDING
        # From the claim on: when the worker was lost nobody knows.
        due = None if wait is None else max(now, min(begun, now) + wait)
        freed.append(Lost(ident, destination, worker, attempt, lost + 1, status, due))
        values.append(
            {
                "b_id": ident,
                "b_fence": fence,
                "b_now": now,
                "b_attempt": attempt,
                "b_lost": lost + 1,
                "b_message": _LOST,
                "b_next": due,
                "b_follows": "final" if wait is None else "retry",
            }
        )
    if not values:
        return []
    failed = {lost.delivery_id for lost in freed if lost.status is Status.FAILED}
    left = [
        (row[0], row[1], bytes(row[6]), row[4]) for row in held if row[0] in failed and row[6] is not None
    ]
    enqueue(connection, left, now)
    for statement, some in (
        (_REAP, [v for v in values if v["b_id"] not in failed]),
        (_REAP_FAIL, [v for v in values if v["b_id"] in failed]),
    ):
        if some:
            connection.execute(statement, some)
    connection.execute(_END_ATTEMPT, values)
    return freed
