"""How records are written as rows and read back. JSON is compact text; positions are fixed here, once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

import sqlalchemy as sa

from conveyor.breaker import NOTHING, Recent, Streak
from conveyor.contract import ConflictPolicy, ErrorKind
from conveyor.ledger.records import (
    AttemptOutcome,
    AttemptRecord,
    Block,
    BlockReason,
    DeliveryRecord,
    Health,
    JobRecord,
    PayloadRecord,
    PayloadState,
    Placement,
    Status,
    Transformed,
)
from conveyor.ledger.schema import attempts, deliveries, health, jobs, payloads

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def dump(value: object) -> str:
    """Compact JSON text."""
    return _encode(value)


def dump_map(value: Mapping[str, Any] | None) -> str | None:
    """Compact JSON text of a mapping; None for none or an empty one."""
    return _encode(dict(value)) if value else None


def load(text: str | None) -> Any:
    """What :func:`dump` wrote; None for none."""
    return None if text is None else json.loads(text)


def load_map(text: str | None) -> dict[str, Any]:
    """What :func:`dump_map` wrote; empty for none."""
    return {} if text is None or text == "{}" else json.loads(text)


# A job with its payload -------------------------------------------------------------------------------------

JOB_COLUMNS: tuple[sa.ColumnElement[Any], ...] = (
    jobs.c.id,
    jobs.c.created_at,
    jobs.c.filename,
    jobs.c.media_type,
    jobs.c.key,
    jobs.c.session_id,
    jobs.c.image_id,
    jobs.c.image_index,
    jobs.c.source,
    jobs.c.tags,
    jobs.c.meta,
    jobs.c.forgotten_at,
    jobs.c.trace,
    payloads.c.id,
    payloads.c.location,
    payloads.c.in_place,
    payloads.c.size,
    payloads.c.digests,
    payloads.c.fingerprint,
    payloads.c.state,
    payloads.c.sealed_key,
)
"""What a query must select, in this order and first, for :func:`job_from`."""

WIDTH = len(JOB_COLUMNS)

PAYLOAD_COLUMNS = JOB_COLUMNS[13:]


def payload_from(row: Sequence[Any]) -> PayloadRecord:
    """Read ``PAYLOAD_COLUMNS``."""
    ident, location, in_place, size, digests, fingerprint, state, sealed_key = row
    return PayloadRecord(
        ident,
        location,
        bool(in_place),
        size,
        load_map(digests),
        fingerprint,
        PayloadState(state),
        _bytes(sealed_key),
    )


def _bytes(value: Any) -> bytes | None:
    """What the driver gives for a binary column."""
    return None if value is None else bytes(value)


def job_from(row: Sequence[Any]) -> JobRecord:
    """Read ``JOB_COLUMNS``."""
    (ident, created, filename, media, key, session, image, index, source, tags, meta, *more) = row[:13]
    forgotten, trace = more
    return JobRecord(
        id=ident,
        created_at=created,
        filename=filename,
        media_type=media,
        payload=payload_from(row[13:WIDTH]),
        key=key,
        session_id=session,
        image_id=image,
        image_index=index,
        source=source,
        tags=() if tags == "[]" else tuple(json.loads(tags)),
        meta=load_map(meta),
        forgotten_at=forgotten,
        trace=load_map(trace),
    )


def payload_row(payload: PayloadRecord) -> dict[str, Any]:
    """The row of a payload that is being submitted."""
    return {
        "id": payload.id,
        "location": payload.location,
        "in_place": payload.in_place,
        "size": payload.size,
        "digests": _encode(dict(payload.digests)),
        "fingerprint": payload.fingerprint,
        "sealed_key": payload.sealed_key,
    }


def job_row(job: JobRecord) -> dict[str, Any]:
    """The row of a job that is being submitted."""
    return {
        "id": job.id,
        "created_at": job.created_at,
        "filename": job.filename,
        "media_type": job.media_type,
        "payload_id": job.payload.id,
        "key": job.key,
        "session_id": job.session_id,
        "image_id": job.image_id,
        "image_index": job.image_index,
        "source": job.source,
        "tags": _encode(list(job.tags)) if job.tags else "[]",
        "meta": _encode(dict(job.meta)) if job.meta else "{}",
        "trace": dump_map(job.trace),
    }


def dump_transformed(made: Transformed) -> str:
    """What transforms made, as JSON text. The result's data key stays in its own row, where keys rotate."""
    payload = None if made.payload is None else payload_row(made.payload)
    if payload is not None:
        del payload["sealed_key"]
    return _encode({"by": list(made.by), "payload": payload, "media_type": made.media_type})


def transformed_from(text: str | None, sealed_key: Any) -> Transformed | None:
    """What :func:`dump_transformed` wrote, and ``RESULTS_KEY``; None for none."""
    if text is None:
        return None
    found = json.loads(text)
    payload = found["payload"]
    if payload is not None:
        payload = PayloadRecord(
            **{**payload, "digests": json.loads(payload["digests"]), "sealed_key": _bytes(sealed_key)}
        )
    return Transformed(tuple(found["by"]), payload, found["media_type"])


_made = payloads.alias("made")
RESULTS_KEY = sa.select(_made.c.sealed_key).where(_made.c.id == deliveries.c.payload_id).scalar_subquery()
"""Of a delivery: the data key of what its transforms made."""


# A delivery -------------------------------------------------------------------------------------------------

_DELIVERY_COLUMNS = tuple(
    deliveries.c[name]
    for name in (
        "id",
        "job_id",
        "destination",
        "type",
        "status",
        "cycle",
        "attempt",
        "failures",
        "lost_in_a_row",
        "fence",
        "next_attempt_at",
        "created_at",
        "updated_at",
        "finished_at",
        "expires_at",
        "path",
        "conflict",
        "revision",
        "worker",
        "receipt",
        "last_error",
        "last_error_kind",
        "replay_of",
        "priority",
        "hold_reason",
        "transformed",
    )
)

SELECT_DELIVERIES = (
    sa.select(*JOB_COLUMNS, *_DELIVERY_COLUMNS, RESULTS_KEY)
    .select_from(deliveries)
    .join(jobs, jobs.c.id == deliveries.c.job_id)
    .join(payloads, payloads.c.id == jobs.c.payload_id)
)
"""Add conditions and an order; read each row with :func:`delivery_from`."""


def delivery_from(row: Sequence[Any]) -> DeliveryRecord:
    """Read a row of ``SELECT_DELIVERIES``."""
    values = list(row[WIDTH:])
    values[4] = Status(values[4])
    values[16] = values[16] and ConflictPolicy(values[16])
    values[19] = load(values[19])
    values[21] = values[21] and ErrorKind(values[21])
    values[25] = transformed_from(values[25], values.pop())
    values.append(job_from(row))
    return DeliveryRecord(*values)


def placement_from(path: str | None, conflict: str | None) -> Placement | None:
    """The stored placement of a cycle, None before its first attempt."""
    return None if path is None or conflict is None else Placement(path, ConflictPolicy(conflict))


# An attempt -------------------------------------------------------------------------------------------------

ATTEMPT_COLUMNS = tuple(
    attempts.c[name]
    for name in (
        "delivery_id",
        "attempt",
        "cycle",
        "fence",
        "worker",
        "started_at",
        "finished_at",
        "outcome",
        "charged",
        "kind",
        "message",
        "hint",
        "code",
        "response",
        "bytes_sent",
        "timings",
        "reference",
        "revision",
        "follows",
        "next_attempt_at",
    )
)


def attempt_from(row: Sequence[Any]) -> AttemptRecord:
    """Read ``ATTEMPT_COLUMNS``."""
    values = list(row)
    values[7] = AttemptOutcome(values[7])
    values[8] = bool(values[8])
    values[9] = values[9] and ErrorKind(values[9])
    values[15] = load_map(values[15])
    return AttemptRecord(*values)


# A destination's health -------------------------------------------------------------------------------------

HEALTH_COLUMNS = tuple(
    health.c[name]
    for name in (
        "destination",
        "paused_at",
        "pause_note",
        "block_reason",
        "block_until",
        "block_step",
        "block_message",
        "blocked_since",
        "block_revision",
        "last_served",
        "last_delivered_at",
        "last_failed_at",
        "last_error",
        "recent",
        "failing_since",
        "failing_attempts",
    )
)


def health_from(row: Sequence[Any]) -> Health:
    """Read ``HEALTH_COLUMNS``."""
    (name, paused, note, reason, until, step, message, since, revision, served, *rest) = row
    delivered, failed, error, recent, failing, attempts = rest
    block = None if reason is None else Block(BlockReason(reason), until, step, message or "")
    return Health(
        name, paused, note, block, since, revision, served or 0, delivered, failed, error,
        NOTHING if recent is None else Recent(*json.loads(recent)), Streak(failing, attempts),
    )  # fmt: skip


def dump_recent(recent: Recent) -> str | None:
    """As it is stored: its numbers in their order; None for none."""
    return None if recent == NOTHING else _encode(astuple(recent))
