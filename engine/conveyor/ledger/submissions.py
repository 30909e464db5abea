"""Submission: a job, its payload and its deliveries appear together, or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from conveyor.errors import IdempotencyError, LedgerUnavailable
from conveyor.ledger import rows
from conveyor.ledger.database import Database
from conveyor.ledger.records import Submission, Submitted
from conveyor.ledger.schema import deliveries, jobs, payloads

_CHUNK = 500
_RACES = 5

_INSERT_PAYLOAD = sa.insert(payloads)
_INSERT_JOB = sa.insert(jobs)
_INSERT_DELIVERY = sa.insert(deliveries)

_BY_KEY = (
    sa.select(jobs.c.key, jobs.c.id, payloads.c.digests)
    .join(payloads, payloads.c.id == jobs.c.payload_id)
    .where(jobs.c.key.in_(sa.bindparam("keys", expanding=True)))
)
_DELIVERIES_OF = sa.select(deliveries.c.job_id, deliveries.c.destination, deliveries.c.id).where(
    deliveries.c.job_id.in_(sa.bindparam("jobs", expanding=True)), deliveries.c.replay_of.is_(None)
)


class _First:
    """The job that a key already stands for."""

    def __init__(self, job_id: str, sha256: str | None, deliveries: dict[str, str]) -> None:
        self.job_id = job_id
        self.sha256 = sha256
        self.deliveries = deliveries

    def answer(self, item: Submission) -> Submitted:
        sha256 = item.job.payload.digests.get("sha256")
        if sha256 != self.sha256:
            what = "other bytes"
        elif {new.destination for new in item.deliveries} != set(self.deliveries):
            what = "other destinations"
        else:
            return Submitted(self.job_id, self.deliveries, created=False)
        raise IdempotencyError(
            f"the key {item.job.key!r} was used before for {what} (job {self.job_id})",
            cure="send it under another key, or replay the first job",
        )


class Submissions:
    """Stores new jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def submit(self, items: Sequence[Submission]) -> list[Submitted]:
        """Store jobs with their deliveries in one durable transaction.

        Args:
            items: Jobs whose payloads are already safe in the store.

        Returns:
            One answer per item, in order. A key that was used before, with the same SHA-256 and the same
            destinations, answers with the first job and ``created=False``: the caller then removes the new
            payload's bytes.

        Raises:
            IdempotencyError: A key was used before for something else; nothing of ``items`` is stored.
        """
        for _ in range(_RACES):
            try:
                with self._database.write(durable=True) as connection:
                    return _store(connection, items)
            except sa.exc.IntegrityError as error:
                # Another process stored the same key between our look and our insert (PostgreSQL only).
                if not any(item.job.key for item in items):
                    raise
                raced = error
        raise LedgerUnavailable(
            "the same key is being submitted by many at once", cure="try again"
        ) from raced


def _store(connection: sa.Connection, items: Sequence[Submission]) -> list[Submitted]:
    known = _first_jobs(connection, {item.job.key for item in items if item.job.key is not None})
    answers: list[Submitted] = []
    fresh: list[Submission] = []
    for item in items:
        key = item.job.key
        if key is not None and key in known:
            answers.append(known[key].answer(item))
            continue
        stored = {new.destination: new.id for new in item.deliveries}
        if key is not None:
            known[key] = _First(item.job.id, item.job.payload.digests.get("sha256"), stored)
        fresh.append(item)
        answers.append(Submitted(item.job.id, stored, created=True))
    if fresh:
        # In one order for all: two that share keys wait for each other's, one of them, never both.
        _insert(connection, sorted(fresh, key=lambda item: item.job.key or ""))
    return answers


def _insert(connection: sa.Connection, items: Sequence[Submission]) -> None:
    connection.execute(_INSERT_PAYLOAD, [rows.payload_row(item.job.payload) for item in items])
    connection.execute(_INSERT_JOB, [rows.job_row(item.job) for item in items])
    new = list(_delivery_rows(items))
    if new:
        connection.execute(_INSERT_DELIVERY, new)


def _delivery_rows(items: Iterable[Submission]) -> Iterable[Mapping[str, Any]]:
    for item in items:
        job = item.job
        for new in item.deliveries:
            yield {
                "id": new.id,
                "job_id": job.id,
                "destination": new.destination,
                "type": new.type,
                "next_attempt_at": new.next_attempt_at,
                "created_at": job.created_at,
                "updated_at": job.created_at,
                "expires_at": new.expires_at,
                "priority": new.priority,
            }


def _first_jobs(connection: sa.Connection, keys: set[str]) -> dict[str, _First]:
    found: dict[str, _First] = {}
    wanted = sorted(keys)
    for start in range(0, len(wanted), _CHUNK):
        answer = connection.execute(_BY_KEY, {"keys": wanted[start : start + _CHUNK]}).all()
        by_job = {
            job_id: _First(job_id, rows.load_map(digests).get("sha256"), {}) for _, job_id, digests in answer
        }
        if by_job:
            for job_id, destination, delivery_id in connection.execute(
                _DELIVERIES_OF, {"jobs": list(by_job)}
            ):
                by_job[job_id].deliveries[destination] = delivery_id
        found.update({key: by_job[job_id] for key, job_id, _ in answer})
    return found
