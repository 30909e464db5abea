"""What the ledger forgets: attempts of deliveries that have long been final, and at last whole jobs."""

from __future__ import annotations

import sqlalchemy as sa

from conveyor.ledger.database import Database
from conveyor.ledger.payloads import OVERDUE
from conveyor.ledger.records import Status
from conveyor.ledger.schema import attempts, cleanups, deliveries, jobs, payloads
from conveyor.ledger.transitions import is_

_A, _D = attempts.c, deliveries.c
_BEFORE = sa.case(
    (is_(Status.DELIVERED), sa.bindparam("delivered", type_=sa.BigInteger)),
    else_=sa.bindparam("failed", type_=sa.BigInteger),
)
_OLD = (
    sa.select(_A.started_at, _A.delivery_id, _A.attempt, _D.finished_at < _BEFORE)
    .join(deliveries, _D.id == _A.delivery_id)
    .where(
        _A.started_at >= sa.bindparam("after", type_=sa.BigInteger),
        sa.tuple_(_A.started_at, _A.delivery_id, _A.attempt)
        > sa.tuple_(
            sa.bindparam("after", type_=sa.BigInteger),
            sa.bindparam("after_id", type_=sa.Text),
            sa.bindparam("after_attempt", type_=sa.BigInteger),
        ),
        _A.started_at < sa.bindparam("youngest", type_=sa.BigInteger),
        _D.finished_at < sa.bindparam("youngest", type_=sa.BigInteger),
    )
    .order_by(_A.started_at, _A.delivery_id, _A.attempt)
    .limit(sa.bindparam("room"))
)
_DELETE = sa.delete(attempts).where(
    _A.delivery_id == sa.bindparam("b_id"), _A.attempt == sa.bindparam("b_attempt")
)

_JOBS: sa.BindParameter[str] = sa.bindparam("jobs", expanding=True)
_PAYLOADS: sa.BindParameter[str] = sa.bindparam("payloads", expanding=True)
_ENDED = (
    sa.select(_D.finished_at, _D.id, _D.job_id)
    .where(
        _D.finished_at < sa.bindparam("youngest", type_=sa.BigInteger),
        sa.tuple_(_D.finished_at, _D.id)
        > sa.tuple_(sa.bindparam("after", type_=sa.BigInteger), sa.bindparam("after_id", type_=sa.Text)),
    )
    .order_by(_D.finished_at, _D.id)
    .limit(sa.bindparam("room"))
)
_DELIVERIES = sa.select(_D.id).where(_D.job_id.in_(_JOBS))
_LEFTOVERS = sa.exists().where(
    _D.job_id == jobs.c.id, cleanups.c.delivery_id == _D.id, cleanups.c.done_at.is_(None)
)
_RESULTS = sa.select(_D.payload_id).where(_D.job_id.in_(_JOBS), _D.payload_id.is_not(None))
_MADE = payloads.alias("made")
_RESULT_THERE = sa.exists().where(
    _D.job_id == jobs.c.id, _MADE.c.id == _D.payload_id, _MADE.c.state != sa.literal_column("'removed'")
)
_GOING = (
    sa.select(jobs.c.id, jobs.c.payload_id)
    .join(payloads, payloads.c.id == jobs.c.payload_id)
    .where(
        jobs.c.id.in_(_JOBS),
        payloads.c.state == sa.literal_column("'removed'"),
        *OVERDUE,
        sa.not_(_LEFTOVERS),
        sa.not_(_RESULT_THERE),
    )
    .order_by(payloads.c.id)
    .with_for_update(of=payloads)
)
_GO = (
    sa.delete(attempts).where(attempts.c.delivery_id.in_(_DELIVERIES)),
    sa.delete(cleanups).where(cleanups.c.delivery_id.in_(_DELIVERIES)),
    sa.delete(deliveries).where(_D.job_id.in_(_JOBS)),
    sa.delete(jobs).where(jobs.c.id.in_(_JOBS)),
)
_GO_PAYLOADS = sa.delete(payloads).where(
    payloads.c.id.in_(_PAYLOADS), ~sa.exists().where(jobs.c.payload_id == payloads.c.id)
)

Place = tuple[int, str]
"""A place in the order in which deliveries ended."""


AttemptPlace = tuple[int, str, int]
"""A place in the order in which attempts began."""

FIRST_ATTEMPT: AttemptPlace = (-1, "", 0)
"""Before all."""


class Retention:
    """Deletes in small batches, so that no writer waits long."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def attempts(
        self, delivered_before: int, failed_before: int, limit: int, after: AttemptPlace = FIRST_ATTEMPT
    ) -> tuple[int, AttemptPlace | None]:
        """Delete attempts of deliveries that became final before these bounds.

        Attempts of open deliveries stay, however old. A delivery that is replayed meanwhile loses attempts of
        earlier cycles only, which were due to go anyway.

        Args:
            delivered_before: Bound for deliveries that arrived, microseconds.
            failed_before: Bound for failed and cancelled ones.
            limit: Attempts looked at.
            after: Where the last look ended.

        Returns:
            How many attempts went, and where to go on; None at the end.
        """
        bounds = {"delivered": delivered_before, "failed": failed_before}
        start = dict(zip(("after", "after_id", "after_attempt"), after, strict=True))
        youngest = max(delivered_before, failed_before)
        with self._database.read() as connection:
            found = connection.execute(_OLD, {**bounds, **start, "youngest": youngest, "room": limit}).all()
        going = [{"b_id": row[1], "b_attempt": row[2]} for row in found if row[3]]
        if going:
            with self._database.write() as connection:
                connection.execute(_DELETE, going)
        return len(going), (found[-1][0], found[-1][1], found[-1][2]) if len(found) == limit else None

    def jobs(
        self, delivered_before: int, failed_before: int, limit: int, after: Place = (-1, "")
    ) -> tuple[int, Place | None]:
        """Delete jobs that ended before these bounds, with their deliveries and all that belongs to them.

        A job goes only when its payload is gone, no delivery of it is open, and nothing of it is still to be
        removed at a destination. Its key may be used again afterwards.

        Args:
            delivered_before: Bound for jobs of which every delivery was delivered, microseconds.
            failed_before: Bound for all others.
            limit: Deliveries looked at.
            after: Where the last look ended.

        Returns:
            How many jobs went, and where to go on; None at the end.
        """
        bounds = {"delivered": delivered_before, "failed": failed_before}
        start = {"youngest": max(delivered_before, failed_before), "after": after[0], "after_id": after[1]}
        with self._database.read() as connection:
            found = connection.execute(_ENDED, {**start, "room": limit}).all()
        if not found:
            return 0, None
        named = sorted({row[2] for row in found})
        with self._database.write() as connection:
            # Whoever replays locks the payload's row before it opens a delivery.
            going = connection.execute(_GOING, {**bounds, "jobs": named}).all()
            if going:
                gone = {"jobs": [row[0] for row in going]}
                results = list(connection.execute(_RESULTS, gone).scalars())
                for statement in _GO:
                    connection.execute(statement, gone)
                connection.execute(_GO_PAYLOADS, {"payloads": [*(row[1] for row in going), *results]})
        last = found[-1]
        return len(going), (last[0], last[1]) if len(found) == limit else None
