"""Removal of payloads in two steps, the row first, the bytes after: no row promises bytes that are gone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from conveyor.ledger import rows
from conveyor.ledger.database import Database
from conveyor.ledger.filters import chunks
from conveyor.ledger.records import OPEN, PayloadRecord, PayloadState, Status
from conveyor.ledger.schema import deliveries, jobs, payloads
from conveyor.ledger.transitions import in_, is_

_D, _P = deliveries.c, payloads.c
_PRESENT = _P.state == sa.literal_column("'present'")
_REMOVING = _P.state == sa.literal_column("'removing'")
_IDS = _P.id.in_(sa.bindparam("ids", expanding=True))

_OF_JOB = _D.job_id == jobs.c.id
_OPEN = sa.exists().where(_OF_JOB, in_(OPEN))
_FAILED = sa.exists().where(_OF_JOB, sa.not_(is_(Status.DELIVERED)))
_LAST = sa.select(sa.func.max(_D.finished_at)).where(_OF_JOB).scalar_subquery()
_ENDED = sa.func.coalesce(_LAST, jobs.c.created_at)
OVERDUE = (
    sa.not_(_OPEN),
    sa.case(
        (_FAILED, sa.bindparam("failed", type_=sa.BigInteger)),
        else_=sa.bindparam("delivered", type_=sa.BigInteger),
    )
    > _ENDED,
)
"""Of ``jobs``: none of its deliveries is open, and the last one ended before its bound.

Takes the parameters ``delivered``, for jobs that were delivered everywhere, and ``failed``.
"""

_CANDIDATES = (
    sa.select(_P.id)
    .join(jobs, jobs.c.payload_id == _P.id)
    .where(_PRESENT, jobs.c.created_at < sa.bindparam("youngest"), *OVERDUE)
    .limit(sa.bindparam("room"))
)
_MADE = deliveries.alias("made")
"""Whose transforms made the payload."""
_CANDIDATES_MADE = (
    sa.select(_P.id)
    .join(_MADE, _MADE.c.payload_id == _P.id)
    .join(jobs, jobs.c.id == _MADE.c.job_id)
    .where(_PRESENT, jobs.c.created_at < sa.bindparam("youngest"), *OVERDUE)
    .limit(sa.bindparam("room"))
)
_LOCK = sa.select(_P.id).where(_IDS, _PRESENT).order_by(_P.id).with_for_update()
_BEGIN = (
    sa.update(payloads)
    .where(
        _IDS,
        _PRESENT,
        sa.or_(
            sa.exists().where(jobs.c.payload_id == _P.id, *OVERDUE),
            sa.exists().where(_MADE.c.payload_id == _P.id, _MADE.c.job_id == jobs.c.id, *OVERDUE),
        ),
    )
    .values(state=PayloadState.REMOVING.value)
)
_ALL_REMOVING = sa.select(*rows.PAYLOAD_COLUMNS).where(_REMOVING).order_by(_P.id)
_SOME_REMOVING = _ALL_REMOVING.where(_IDS)
_FINISH = sa.update(payloads).where(_IDS, _REMOVING).values(state=PayloadState.REMOVED.value, sealed_key=None)
_NOBODYS = sa.delete(payloads).where(
    _IDS,
    _P.state == sa.literal_column("'removed'"),
    ~sa.exists().where(jobs.c.payload_id == _P.id),
    ~sa.exists().where(_D.payload_id == _P.id),
)
"""Results of transforms that others have taken the place of: no job takes them, or their digests, along."""

_KNOWN = sa.select(_P.location).where(
    _P.location.in_(sa.bindparam("locations", expanding=True)), _P.state != sa.literal_column("'removed'")
)
_STORED = (_PRESENT, sa.not_(_P.in_place))
_SEALING = sa.select(sa.func.count(_P.sealed_key), sa.func.count() - sa.func.count(_P.sealed_key)).where(
    *_STORED
)
_OLDEST_KEY = sa.select(_P.sealed_key).where(*_STORED, _P.sealed_key.is_not(None)).order_by(_P.id).limit(1)


@dataclass(frozen=True, slots=True)
class Sealing:
    """Of the payloads in the store, which are encrypted at rest.

    Attributes:
        sealed: How many are.
        plain: How many are not.
        oldest: The encrypted data key of the oldest that is, the likeliest to lie under a key that is gone.
    """

    sealed: int
    plain: int
    oldest: bytes | None = field(repr=False)


class Payloads:
    """Which payloads may go, are going, and are still spoken for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin_removal(
        self, now: int, delivered_before: int, failed_before: int, limit: int
    ) -> list[PayloadRecord]:
        """Mark payloads for removal: present → removing. Their bytes may be unlinked afterwards.

        A payload goes only when no delivery of its job is open; the bounds are for the final status of the
        last one.

        Args:
            now: Microseconds; a job is never younger than its bounds.
            delivered_before: Bound for jobs of which every delivery was delivered.
            failed_before: Bound for all others.
            limit: At most so many.
        """
        bounds = {"delivered": delivered_before, "failed": failed_before}
        youngest = min(now, max(delivered_before, failed_before))
        with self._database.read() as connection:
            values = {**bounds, "youngest": youngest, "room": limit}
            some_of = [connection.execute(each, values).scalars() for each in (_CANDIDATES, _CANDIDATES_MADE)]
            candidates = sorted({ident for found in some_of for ident in found})
        begun: list[PayloadRecord] = []
        for some in chunks(candidates):
            with self._database.write(durable=True) as connection:
                # Locked first, judged second: a replay locks the same row before it opens a delivery.
                locked = list(connection.execute(_LOCK, {"ids": some}).scalars())
                connection.execute(_BEGIN, {"ids": locked, **bounds})
                found = connection.execute(_SOME_REMOVING, {"ids": locked})
                begun.extend(rows.payload_from(row) for row in found)
        return begun

    def removing(self) -> list[PayloadRecord]:
        """Payloads marked for removal whose bytes may still be there: what a crash left half done."""
        with self._database.read() as connection:
            return [rows.payload_from(row) for row in connection.execute(_ALL_REMOVING)]

    def finish_removal(self, ids: Sequence[str]) -> None:
        """The bytes are gone, and with them the data key of encrypted ones: removing → removed."""
        with self._database.write() as connection:
            for some in chunks(sorted(ids)):
                connection.execute(_FINISH, {"ids": some})
                connection.execute(_NOBODYS, {"ids": some})

    def sealing(self) -> Sealing:
        """How many payloads of the store are encrypted, how many are not, and a data key to try."""
        with self._database.read() as connection:
            sealed, plain = connection.execute(_SEALING).one()
            oldest = connection.execute(_OLDEST_KEY).scalar()
        return Sealing(sealed, plain, None if oldest is None else bytes(oldest))

    def known(self, locations: Collection[str]) -> set[str]:
        """Those locations that a payload row still speaks for; files elsewhere are orphans."""
        found: set[str] = set()
        with self._database.read() as connection:
            for some in chunks(list(locations)):
                found.update(connection.execute(_KNOWN, {"locations": some}).scalars())
        return found
