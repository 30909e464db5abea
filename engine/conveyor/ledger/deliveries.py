"""Looking at deliveries, their attempts and their jobs; and ending those that waited too long."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from conveyor.contract import ErrorKind
from conveyor.ledger import rows, summary
from conveyor.ledger.cleanups import enqueue
from conveyor.ledger.database import Database
from conveyor.ledger.filters import conditions, ordered
from conveyor.ledger.records import (
    OPEN,
    AttemptRecord,
    DeliveryRecord,
    Filter,
    JobRecord,
    Status,
    Tally,
)
from conveyor.ledger.schema import attempts, deliveries, jobs, payloads
from conveyor.ledger.transitions import Move, is_, may_expire, move

_D = deliveries.c
_BY_AGE = (_D.created_at, _D.id)
_ONE = rows.SELECT_DELIVERIES.where(_D.id == sa.bindparam("id"))
_OF_JOB = rows.SELECT_DELIVERIES.where(_D.job_id == sa.bindparam("id")).order_by(*_BY_AGE)
_OF_SESSION = rows.SELECT_DELIVERIES.where(jobs.c.session_id == sa.bindparam("id")).order_by(*_BY_AGE)
_JOB = (
    sa.select(*rows.JOB_COLUMNS)
    .join(payloads, payloads.c.id == jobs.c.payload_id)
    .where(jobs.c.id == sa.bindparam("id"))
)
_ATTEMPTS = (
    sa.select(*rows.ATTEMPT_COLUMNS)
    .where(attempts.c.delivery_id == sa.bindparam("id"))
    .order_by(attempts.c.attempt)
)
_EXPIRED = (
    sa.select(_D.id, _D.fence, _D.destination, _D.state)
    .where(*may_expire(), _D.expires_at <= sa.bindparam("now"))
    .order_by(_D.expires_at)
    .limit(sa.bindparam("room"))
    .with_for_update(skip_locked=True)
)
_MESSAGE = "not delivered before it expired"
_EXPIRE = move(Move.EXPIRE).values(
    state=sa.null(),
    last_error_kind=ErrorKind.EXPIRED.value,
    last_error=sa.case(
        (_D.last_error.is_(None), _MESSAGE), else_=_MESSAGE + "; before that: " + _D.last_error
    ),
)
_NEXT_EXPIRY = sa.select(sa.func.min(_D.expires_at)).where(*may_expire())
_COUNTS = [sa.select(sa.func.count()).where(is_(status)).scalar_subquery() for status in sorted(OPEN)]
_OPEN = sa.select(sum(_COUNTS[1:], _COUNTS[0]))
"""One statement, one moment: what is claimed between two of them would be counted by neither."""

_FAILED_SINCE = (
    sa.select(_D.id)
    .where(is_(Status.FAILED), _D.finished_at.is_not(None), _D.finished_at >= sa.bindparam("since"))
    .limit(1)
)


class Deliveries:
    """Reads of what was submitted and what became of it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(
        self, wanted: Filter, *, limit: int, newest_first: bool = True, after: DeliveryRecord | None = None
    ) -> list[DeliveryRecord]:
        """Deliveries that match, ordered by submission.

        Args:
            wanted: Which; an empty filter matches all.
            limit: At most so many.
            newest_first: The order.
            after: Continue behind this one, the last of the page before.
        """
        place = None if after is None else (after.created_at, after.id)
        statement = rows.SELECT_DELIVERIES.where(*conditions(wanted)).limit(limit)
        with self._database.read() as connection:
            found = connection.execute(ordered(statement, newest_first=newest_first, after=place))
            return [rows.delivery_from(row) for row in found]

    def get(self, delivery_id: str) -> DeliveryRecord | None:
        """One delivery, or None."""
        found = self._list(_ONE, delivery_id)
        return found[0] if found else None

    def starting_with(self, start: str, *, limit: int) -> list[str]:
        """Ids of deliveries and jobs that begin so. Reads an index from end to end: for people, not loops."""
        found: list[str] = []
        with self._database.read() as connection:
            for column in (_D.id, jobs.c.id):
                begins = sa.func.substr(column, 1, len(start)) == start
                found += connection.execute(sa.select(column).where(begins).limit(limit)).scalars()
        return found[:limit]

    def of_job(self, job_id: str) -> list[DeliveryRecord]:
        """All deliveries of a job, those of replays under a new id included, oldest first."""
        return self._list(_OF_JOB, job_id)

    def session(self, session_id: str) -> list[DeliveryRecord]:
        """All deliveries of a session's jobs, oldest first."""
        return self._list(_OF_SESSION, session_id)

    def job(self, job_id: str) -> JobRecord | None:
        """One job, or None."""
        with self._database.read() as connection:
            found = connection.execute(_JOB, {"id": job_id}).first()
        return None if found is None else rows.job_from(found)

    def attempts(self, delivery_id: str) -> list[AttemptRecord]:
        """All attempts that retention has left, oldest first."""
        with self._database.read() as connection:
            return [rows.attempt_from(row) for row in connection.execute(_ATTEMPTS, {"id": delivery_id})]

    def expire(self, now: int, limit: int) -> list[str]:
        """End pending deliveries whose time is over: failed, EXPIRED. Returns at most ``limit`` ids."""
        with self._database.write() as connection:
            found = connection.execute(_EXPIRED, {"now": now, "room": limit}).all()
            if not found:
                return []
            left = [(row[0], row[2], bytes(row[3]), row[1]) for row in found if row[3] is not None]
            enqueue(connection, left, now)
            changes = [{"b_id": row[0], "b_fence": row[1], "b_now": now} for row in found]
            connection.execute(_EXPIRE, changes)
        return [row[0] for row in found]

    def next_expiry(self) -> int | None:
        """When the next pending delivery expires; None when nothing is pending."""
        with self._database.read() as connection:
            soonest: int | None = connection.execute(_NEXT_EXPIRY).scalar()
        return soonest

    def open_count(self) -> int:
        """How many deliveries are pending or delivering."""
        with self._database.read() as connection:
            return int(connection.execute(_OPEN).scalar_one())

    def failed_since(self, since: int) -> bool:
        """Whether a delivery failed at or after ``since`` (microseconds)."""
        with self._database.read() as connection:
            return connection.execute(_FAILED_SINCE, {"since": since}).first() is not None

    def counts(self, wanted: Filter) -> dict[Status, int]:
        """How many match, by status; statuses that have none are missing."""
        statement = sa.select(_D.status, sa.func.count()).where(*conditions(wanted)).group_by(_D.status)
        with self._database.read() as connection:
            return {Status(row[0]): row[1] for row in connection.execute(statement)}

    def summary(self, now: int) -> dict[str, Tally]:
        """Every destination that the ledger has deliveries for, in numbers."""
        with self._database.read() as connection:
            return summary.tallies(connection, now)

    def _list(self, statement: sa.Select[Any], ident: str) -> list[DeliveryRecord]:
        with self._database.read() as connection:
            return [rows.delivery_from(row) for row in connection.execute(statement, {"id": ident})]
