"""Forgetting jobs: what was submitted, and what was answered, goes; that there was something stays.

One transaction for each batch cancels what is open, erases every text of a job, its deliveries and attempts,
and marks the payload for removal. A process that dies before leaves everything, one that dies after leaves
bytes that the next engine, or the next order, removes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence

import sqlalchemy as sa

from conveyor.ledger import rows
from conveyor.ledger.cancels import cancel
from conveyor.ledger.database import Database
from conveyor.ledger.filters import chunks
from conveyor.ledger.health import lock
from conveyor.ledger.records import OPEN, PayloadRecord, PayloadState
from conveyor.ledger.schema import attempts, cleanups, deliveries, health, jobs, payloads, replays
from conveyor.ledger.transitions import in_

FORGOTTEN = "forgotten"
"""The file name of a job of which nothing more is known."""

BATCH = 500
"""Jobs looked at in one question."""

_D, _J, _P = deliveries.c, jobs.c, payloads.c
_JOBS: sa.BindParameter[str] = sa.bindparam("jobs", expanding=True)
_DELIVERIES = sa.select(_D.id).where(_D.job_id.in_(_JOBS))
_PAYLOADS = sa.union(
    sa.select(_J.payload_id).where(_J.id.in_(_JOBS)),
    # What transforms have made of them.
    sa.select(_D.payload_id).where(_D.job_id.in_(_JOBS), _D.payload_id.is_not(None)),
)

_KNOWN = sa.select(_J.id).where(_J.forgotten_at.is_(None))
_TAGGED = (
    sa.select(_J.id, _J.tags)
    .where(_J.id > sa.bindparam("after"), _J.tags != "[]", _J.forgotten_at.is_(None))
    .order_by(_J.id)
    .limit(BATCH)
)
_LOCK_PAYLOADS = sa.select(_P.id).where(_P.id.in_(_PAYLOADS)).order_by(_P.id).with_for_update()
_OPEN = (
    sa.select(_D.id, _D.destination, _D.state, _D.fence, _D.attempt)
    .where(_D.job_id.in_(_JOBS), in_(OPEN))
    .order_by(_D.id)
    .with_for_update()
)
_TEXTS = sa.union_all(
    sa.select(_D.destination, _D.last_error).where(_D.job_id.in_(_JOBS)),
    sa.select(_D.destination, attempts.c.message)
    .join(attempts, attempts.c.delivery_id == _D.id)
    .where(_D.job_id.in_(_JOBS)),
)
_TOLD_OF = (
    sa.update(health)
    .where(health.c.destination == sa.bindparam("b_id"))
    .values(last_error=sa.bindparam("b_error"), block_message=sa.bindparam("b_block"))
)
_OTHER = jobs.alias("other").c
_SESSIONS = (
    sa.select(_J.session_id)
    .where(
        _J.id.in_(_JOBS),
        _J.session_id.is_not(None),
        ~sa.exists().where(_OTHER.session_id == _J.session_id, _OTHER.id.not_in(_JOBS)),
    )
    .distinct()
)
"""Those of which no other job is known: a replay goes on with the rest of a session by its name."""

_REPLAYS = sa.select(replays.c.id, replays.c.wanted).order_by(replays.c.id).with_for_update()
_WANTED = (
    sa.update(replays).where(replays.c.id == sa.bindparam("b_id")).values(wanted=sa.bindparam("b_wanted"))
)
_ERASE_DELIVERIES = (
    sa.update(deliveries)
    .where(_D.job_id.in_(_JOBS))
    .values(path=None, state=None, receipt=None, last_error=None, hold_reason=None, transformed=None)
)
_ERASE_ATTEMPTS = (
    sa.update(attempts)
    .where(attempts.c.delivery_id.in_(_DELIVERIES))
    .values(message=None, hint=None, response=None, reference=None)
)
_DROP_CLEANUPS = sa.delete(cleanups).where(
    cleanups.c.delivery_id.in_(_DELIVERIES), cleanups.c.done_at.is_not(None)
)
_ERASE_JOBS = (
    sa.update(jobs)
    .where(_J.id.in_(_JOBS), _J.forgotten_at.is_(None))
    .values(
        filename=FORGOTTEN,
        media_type="application/octet-stream",
        key=None,
        session_id=None,
        image_id=None,
        image_index=None,
        source=None,
        tags="[]",
        meta="{}",
        trace=None,
        forgotten_at=sa.bindparam("b_now", type_=sa.BigInteger),
    )
)
_ERASE_PAYLOADS = (
    sa.update(payloads)
    .where(_P.id.in_(_PAYLOADS))
    .values(
        digests="{}",
        fingerprint=None,
        # Without it, copies of the encrypted bytes tell nothing either, wherever they are.
        sealed_key=None,
        # Where a submitter keeps a file in place says something of it; in the store a location says nothing.
        location=sa.case((_P.in_place, _P.id), else_=_P.location),
        state=sa.case(
            (_P.state == sa.literal_column("'present'"), PayloadState.REMOVING.value), else_=_P.state
        ),
    )
)
_REMOVING = (
    sa.select(*rows.PAYLOAD_COLUMNS)
    .where(_P.id.in_(_PAYLOADS), _P.state == sa.literal_column("'removing'"))
    .order_by(_P.id)
)


class Forgetting:
    """Finds jobs, and forgets them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(
        self, ids: Collection[str] = (), sessions: Collection[str] = (), tags: Collection[str] = ()
    ) -> list[str]:
        """Ids of jobs, not forgotten yet, that any of these names. A tag is looked for in all jobs."""
        found: set[str] = set()
        with self._database.read() as connection:
            for column, wanted in ((_J.id, sorted(ids)), (_J.session_id, sorted(sessions))):
                for some in chunks(wanted):
                    found.update(connection.execute(_KNOWN.where(column.in_(some))).scalars())
        if tags:
            found.update(self._tagged(frozenset(tags)))
        return sorted(found)

    def _tagged(self, tags: frozenset[str]) -> Iterator[str]:
        after = ""
        while True:
            with self._database.read() as connection:
                some = connection.execute(_TAGGED, {"after": after}).all()
            yield from (row[0] for row in some if not tags.isdisjoint(json.loads(row[1])))
            if len(some) < BATCH:
                return
            after = some[-1][0]

    def forget(self, wanted: Sequence[str], now: int) -> list[PayloadRecord]:
        """Erase these jobs; the payloads whose bytes are now to be removed.

        Deliveries that are open are cancelled, their workers fenced out. What they had begun at a destination
        stays known, encrypted, until it is removed there.

        Args:
            wanted: Job ids; those of jobs that are forgotten already name the bytes that are still there.
            now: Microseconds.
        """
        left: list[PayloadRecord] = []
        for some in chunks(list(wanted)):
            named = {"jobs": list(some)}
            with self._database.write(durable=True) as connection:
                sqlite = connection.dialect.name == "sqlite"
                if sqlite:
                    # Overwrite what is erased in the file, rather than only forget where it lies.
                    connection.exec_driver_sql("PRAGMA secure_delete=ON")
                _erase_from_replays(connection, some)
                connection.execute(_LOCK_PAYLOADS, named)
                cancel(connection, connection.execute(_OPEN, named).all(), now)
                _erase_from_destinations(connection, some)
                for statement in (_ERASE_DELIVERIES, _ERASE_ATTEMPTS, _DROP_CLEANUPS, _ERASE_PAYLOADS):
                    connection.execute(statement, named)
                connection.execute(_ERASE_JOBS, {**named, "b_now": now})
                left.extend(rows.payload_from(row) for row in connection.execute(_REMOVING, named))
                if sqlite:
                    connection.exec_driver_sql("PRAGMA secure_delete=OFF")
        return left


def _erase_from_destinations(connection: sa.Connection, some: Sequence[str]) -> None:
    """What a destination is known by, its last error and why it is held, may quote these jobs' errors."""
    texts: dict[str, set[str]] = {}
    for destination, text in connection.execute(_TEXTS, {"jobs": list(some)}):
        if text:
            texts.setdefault(destination, set()).add(text)
    if not texts:
        return
    for name, known in sorted(lock(connection, sorted(texts)).items()):
        block = None if known.block is None else known.block.message
        quoted = [text for text in texts[name] if block is not None and text in block]
        if known.last_error not in texts[name] and not quoted:
            continue
        for text in quoted:
            block = (block or "").replace(text, FORGOTTEN)
        error = None if known.last_error in texts[name] else known.last_error
        connection.execute(_TOLD_OF, {"b_id": name, "b_error": error, "b_block": block})


def _erase_from_replays(connection: sa.Connection, some: Sequence[str]) -> None:
    """A replay is known by what it was asked for, which may name the session of these jobs.

    Before anything else is locked: whoever feeds a replay holds its row, and goes on to payloads.
    """
    found = connection.execute(_REPLAYS).all()
    if not found:
        return
    sessions = set(connection.execute(_SESSIONS, {"jobs": list(some)}).scalars())
    for ident, text in found:
        wanted = json.loads(text)
        if not sessions.isdisjoint(wanted["sessions"]):
            wanted["sessions"] = sorted({FORGOTTEN, *wanted["sessions"]} - sessions)
            connection.execute(_WANTED, {"b_id": ident, "b_wanted": json.dumps(wanted)})
