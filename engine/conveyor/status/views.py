"""Jobs, deliveries and attempts as API and ``--json`` show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from conveyor import tracing
from conveyor.clock import micros
from conveyor.ledger.records import OPEN, AttemptRecord, DeliveryRecord, JobRecord, PayloadState, Status
from conveyor.status.reasons import Standing
from conveyor.status.times import iso

if TYPE_CHECKING:
    from conveyor.config.settings import PayloadRetention
    from conveyor.config.sources import DestinationSource


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """One delivery. Times are ISO 8601 UTC.

    Attributes:
        status: ``pending``, ``delivering``, ``delivered``, ``failed``, ``cancelled`` or ``held``.
        state_reason: Why it waits: ``queued``, ``retrying``, ``paused``, ``needs_login`` …; None when it
            does not.
        cure: What ends a hold.
        transformed: What transforms made of the file: ``by``, and ``payload``, ``size``, ``digests`` and
            ``media_type`` of the result; None without any.
        hold_reason: Which plugin holds it, and why; None unless one does.
        attempts: Over all cycles. ``failures``: charged in this cycle, of ``budget``.
        replayable_until: Until when its bytes are kept at least; None while it is open, and for ever.
    """

    id: str
    job_id: str
    destination: str
    destination_type: str
    status: str
    state_reason: str | None
    cure: str | None
    attempts: int
    failures: int
    budget: int | None
    cycle: int
    created_at: str | None
    next_attempt_at: str | None
    finished_at: str | None
    expires_at: str | None
    last_error: str | None
    last_error_kind: str | None
    hold_reason: str | None
    transformed: Mapping[str, Any] | None
    path: str | None
    conflict: str | None
    receipt: Mapping[str, Any] | None
    replayable: bool
    replayable_until: str | None
    replay_of: str | None
    priority: int
    filename: str
    session_id: str | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class JobStatus:
    """One job with its deliveries.

    Attributes:
        trace_id: Its trace, in hex, where it was submitted under OpenTelemetry.
    """

    id: str
    created_at: str | None
    filename: str
    media_type: str
    size: int
    digests: Mapping[str, str]
    session_id: str | None
    image_id: str | None
    image_index: int | None
    source: str | None
    tags: tuple[str, ...]
    meta: Mapping[str, str]
    key: str | None
    forgotten_at: str | None
    trace_id: str | None
    deliveries: tuple[DeliveryStatus, ...]

    @property
    def final(self) -> bool:
        """Nothing more will happen by itself."""
        return all(d.status in ("delivered", "failed", "cancelled") for d in self.deliveries)

    @property
    def delivered(self) -> bool:
        """Everything has arrived."""
        return all(d.status == "delivered" for d in self.deliveries)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Viewer:
    """Makes views from records.

    Args:
        source: The configured destinations.
        standing: Status and reason.
        retention: How long bytes are kept.
    """

    def __init__(self, source: DestinationSource, standing: Standing, retention: PayloadRetention) -> None:
        self._source = source
        self._standing = standing
        self._retention = retention

    def delivery(self, record: DeliveryRecord) -> DeliveryStatus:
        """One delivery."""
        status, reason = self._standing.of(record)
        destination = self._source.get(record.destination)
        budget = None if destination is None else destination.retry.budget
        return DeliveryStatus(
            id=record.id,
            job_id=record.job_id,
            destination=record.destination,
            destination_type=record.type,
            status=status,
            state_reason=reason,
            cure=self._standing.cure(record),
            attempts=record.attempt,
            failures=record.failures,
            budget=budget,
            cycle=record.cycle,
            created_at=iso(record.created_at),
            next_attempt_at=iso(record.next_attempt_at) if status == Status.PENDING else None,
            finished_at=iso(record.finished_at),
            expires_at=iso(record.expires_at) if record.status in OPEN else None,
            last_error=record.last_error,
            last_error_kind=record.last_error_kind,
            hold_reason=record.hold_reason if record.status is Status.PENDING else None,
            transformed=_transformed(record),
            path=record.path,
            conflict=record.conflict,
            receipt=record.receipt,
            replayable=record.job.payload.state is PayloadState.PRESENT,
            replayable_until=self._replayable_until(record),
            replay_of=record.replay_of,
            priority=record.priority,
            filename=record.job.filename,
            session_id=record.job.session_id,
        )

    def job(self, job: JobRecord, deliveries: Iterable[DeliveryRecord]) -> JobStatus:
        """One job."""
        return JobStatus(
            id=job.id,
            created_at=iso(job.created_at),
            filename=job.filename,
            media_type=job.media_type,
            size=job.payload.size,
            digests=dict(job.payload.digests),
            session_id=job.session_id,
            image_id=job.image_id,
            image_index=job.image_index,
            source=job.source,
            tags=job.tags,
            meta=dict(job.meta),
            key=job.key,
            forgotten_at=iso(job.forgotten_at),
            trace_id=tracing.trace_id(job.trace),
            deliveries=tuple(self.delivery(record) for record in deliveries),
        )

    def _replayable_until(self, record: DeliveryRecord) -> str | None:
        if record.finished_at is None or record.job.payload.state is not PayloadState.PRESENT:
            return None
        delivered = record.status is Status.DELIVERED
        kept = self._retention.delivered if delivered else self._retention.failed
        return None if kept is None else iso(record.finished_at + micros(kept))


def _transformed(record: DeliveryRecord) -> dict[str, Any] | None:
    made = record.transformed
    if made is None:
        return None
    shown: dict[str, Any] = {"by": list(made.by), "media_type": made.media_type, "payload": None}
    if made.payload is not None:
        result = made.payload
        shown |= {"payload": result.id, "size": result.size, "digests": dict(result.digests)}
    return shown


def attempt_view(attempt: AttemptRecord) -> dict[str, Any]:
    """One attempt, for JSON."""
    shown = asdict(attempt)
    for name in ("started_at", "finished_at", "next_attempt_at"):
        shown[name] = iso(shown[name])
    return shown


def attempt_views(attempts: Sequence[AttemptRecord]) -> list[dict[str, Any]]:
    """All attempts of a delivery, for JSON."""
    return [attempt_view(attempt) for attempt in attempts]
