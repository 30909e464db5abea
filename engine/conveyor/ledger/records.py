"""What goes into the ledger and comes out of it, as plain frozen values. Times are microseconds UTC."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from conveyor.breaker import NOTHING, UNBROKEN, BreakerPolicy, Recent, Streak
from conveyor.clock import SECOND
from conveyor.contract import ConflictPolicy, ErrorKind, Parcel


class Status(enum.StrEnum):
    """A delivery's stored status. ``held`` and ``retrying`` are derived, never stored."""

    PENDING = "pending"
    DELIVERING = "delivering"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = frozenset({Status.PENDING, Status.DELIVERING})
"""Statuses of a delivery that is not yet final."""


class AttemptOutcome(enum.StrEnum):
    """How one attempt ended; RUNNING while it has not."""

    RUNNING = "running"
    DELIVERED = "delivered"
    FAILED = "failed"
    LOST = "lost"
    GIVEN_BACK = "given_back"
    PUT_OFF = "put_off"
    """A hook let no attempt be made now."""
    CANCELLED = "cancelled"


class PayloadState(enum.StrEnum):
    """A payload is removed in two steps, so that no crash leaves a row that promises bytes."""

    PRESENT = "present"
    REMOVING = "removing"
    REMOVED = "removed"


class BlockReason(enum.StrEnum):
    """Why a destination is not served. Stored with the destination, shown as ``state_reason``."""

    THROTTLED = "throttled"
    NEEDS_LOGIN = "needs_login"
    QUOTA = "quota"
    CONFIG = "config_error"
    DEACTIVATED = "deactivated"
    BREAKER = "breaker"


@dataclass(frozen=True, slots=True)
class PayloadRecord:
    """Where a job's bytes lie. ``location`` is relative to the store, or absolute when ``in_place``."""

    id: str
    location: str
    in_place: bool
    size: int
    digests: Mapping[str, str]
    fingerprint: str | None = None
    """``size:mtime_ns:inode`` of an in-place file at submission; an object's version in a bucket."""
    state: PayloadState = PayloadState.PRESENT
    sealed_key: bytes | None = field(default=None, repr=False)
    """The key that its bytes are encrypted with in the store, encrypted itself; None: they are not."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One submitted file with its metadata."""

    id: str
    created_at: int
    filename: str
    media_type: str
    payload: PayloadRecord
    key: str | None = None
    session_id: str | None = None
    image_id: str | None = None
    image_index: int | None = None
    source: str | None = None
    tags: tuple[str, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict)
    forgotten_at: int | None = None
    """When all but this tombstone was erased."""
    trace: Mapping[str, str] = field(default_factory=dict)
    """Where its submission stands in a trace: W3C's ``traceparent`` and ``tracestate``; empty without one."""

    def parcel(self, delivery_id: str, open: Callable[[], BinaryIO]) -> Parcel:  # noqa: A002
        """The job as connectors and plugins see it; ``open`` gives a fresh stream of its bytes."""
        return Parcel(
            delivery_id=delivery_id,
            job_id=self.id,
            filename=self.filename,
            size=self.payload.size,
            media_type=self.media_type,
            digests=self.payload.digests,
            submitted_at=self.created_at / SECOND,
            open=open,
            session_id=self.session_id,
            image_id=self.image_id,
            image_index=self.image_index,
            source=self.source,
            tags=self.tags,
            meta=self.meta,
        )


@dataclass(frozen=True, slots=True)
class Transformed:
    """What transforms made for a delivery.

    Attributes:
        by: Their names, in order.
        payload: The result; None when they changed nothing.
        media_type: Of the result; None likewise.
    """

    by: tuple[str, ...]
    payload: PayloadRecord | None = None
    media_type: str | None = None


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """One destination of a job that is being submitted."""

    id: str
    destination: str
    type: str
    expires_at: int
    next_attempt_at: int
    priority: int = 0
    """From 0 to 9; the higher one first, see :mod:`conveyor.ledger.ranks`."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A job to be stored with its deliveries, in one transaction."""

    job: JobRecord
    deliveries: tuple[NewDelivery, ...]


@dataclass(frozen=True, slots=True)
class Submitted:
    """The job that now stands in the ledger; ``created`` is False when the key had been used before."""

    job_id: str
    deliveries: Mapping[str, str]
    """Delivery id by destination id."""
    created: bool


@dataclass(frozen=True, slots=True)
class Placement:
    """Path and conflict policy of a cycle, rendered once, at its first claim."""

    path: str
    conflict: ConflictPolicy
    changes: tuple[str, ...] | None = None
    """Why the path is not what the template rendered; None where it was not rendered just now."""


@dataclass(frozen=True, slots=True)
class Flow:
    """A limit that claims of several destinations and workers share."""

    name: str
    """``destination:ID`` or ``connection:ID``."""
    rate: float | None = None
    """Attempts a second."""
    byte_rate: float | None = None
    """Bytes a second."""
    concurrency: int | None = None
    """Leased deliveries of all ``members`` together."""
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many deliveries of one destination a claim may take."""

    destination: str
    limit: int
    cap: int
    revision: str
    place: Callable[[JobRecord, str, int], Placement | None]
    """``(job, delivery_id, cycle)`` → placement; None when it cannot be rendered (the attempt says why)."""
    probe: bool = False
    """The destination is blocked and its probe is due: exactly one, only if nothing of it runs."""
    only: tuple[str, ...] | None = None
    """Take these deliveries, if they are due, and no others: somebody was woken for them."""
    ranked: bool = False
    """Some of its deliveries have a priority."""
    flows: tuple[Flow, ...] = ()
    """What limits it beside ``cap``."""
    asked_at: float = float("-inf")
    """By the monotonic clock, seconds."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this worker holds under ``fence``."""

    delivery_id: str
    destination: str
    job: JobRecord
    fence: int
    attempt: int
    cycle: int
    failures: int
    lost_in_a_row: int
    throttled_since: int | None
    placement: Placement | None
    state: bytes | None
    """Encrypted connector state as last saved, still bound to its endpoint, path and payload."""
    look_first: bool
    """The previous attempt of this cycle ended lost or unknown: ask ``find`` before delivering."""
    revision: str
    started_at: int
    probe: bool = False
    held_since: int | None = None
    """Since when a hook has held it, without a break."""
    transformed: Transformed | None = None
    """What transforms have made of the payload."""
    due_at: int | None = None
    """Since when it was due."""
    asked_at: float = float("-inf")
    """When the ledger was asked for it, by the monotonic clock, seconds."""


@dataclass(frozen=True, slots=True)
class Block:
    """A destination's new block: not served until ``until`` (None: until a person acts), then one probe."""

    reason: BlockReason
    until: int | None
    step: int
    message: str


@dataclass(frozen=True, slots=True)
class AttemptReport:
    """What is written when an attempt ends. Texts are bounded and redacted before they get here."""

    delivery_id: str
    destination: str
    fence: int
    attempt: int
    outcome: AttemptOutcome
    status: Status
    """The delivery's next status: delivered, failed, or pending (``next_attempt_at`` says when)."""
    started_at: int
    finished_at: int
    next_attempt_at: int | None = None
    charged: bool = False
    failures: int = 0
    """The delivery's new count of charged failures in this cycle."""
    lost_in_a_row: int = 0
    throttled_since: int | None = None
    look_first: bool = False
    follows: str = "none"
    """What happens next, for people: ``retry``, ``hold``, ``final``, ``none`` …"""
    kind: ErrorKind | None = None
    message: str | None = None
    hint: str | None = None
    code: str | None = None
    response: str | None = None
    bytes_sent: int = 0
    timings: Mapping[str, float] = field(default_factory=dict)
    receipt: Mapping[str, Any] | None = None
    block: Block | None = None
    """Set when the error blocks the whole destination."""
    clears_block: bool = False
    """Set when the attempt showed that the destination serves again."""
    cleanup: bool = False
    """Final and failed with saved state: something must be abandoned at the destination."""
    shared_with: tuple[tuple[str, str], ...] = ()
    """Further destinations, with their revisions, that the block holds: they use the same account."""
    breaker: BreakerPolicy | None = None
    """The destination's rules; None when the attempt says nothing of the destination."""
    hold_reason: str | None = None
    """Set when a hook holds the delivery."""
    held_since: int | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """What the ledger knows of a destination beside its config."""

    destination: str
    paused_at: int | None = None
    pause_note: str | None = None
    block: Block | None = None
    blocked_since: int | None = None
    block_revision: str | None = None
    last_served: int = 0
    last_delivered_at: int | None = None
    last_failed_at: int | None = None
    last_error: str | None = None
    recent: Recent = NOTHING
    streak: Streak = UNBROKEN


@dataclass(frozen=True, slots=True)
class DueDestination:
    """A destination with at least one pending delivery, with its earliest due time."""

    destination: str
    next_attempt_at: int
    health: Health
    ranked: bool = False
    """Some of its pending deliveries have a priority."""


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """One delivery as listings see it."""

    id: str
    job_id: str
    destination: str
    type: str
    status: Status
    cycle: int
    attempt: int
    failures: int
    lost_in_a_row: int
    fence: int
    next_attempt_at: int | None
    created_at: int
    updated_at: int
    finished_at: int | None
    expires_at: int
    path: str | None
    conflict: ConflictPolicy | None
    revision: str | None
    worker: str | None
    receipt: Mapping[str, Any] | None
    last_error: str | None
    last_error_kind: ErrorKind | None
    replay_of: str | None
    priority: int
    hold_reason: str | None
    """Why a hook holds it, while it is pending."""
    transformed: Transformed | None
    job: JobRecord


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt as ``show`` prints it."""

    delivery_id: str
    attempt: int
    cycle: int
    fence: int
    worker: str
    started_at: int
    finished_at: int | None
    outcome: AttemptOutcome
    charged: bool
    kind: ErrorKind | None
    message: str | None
    hint: str | None
    code: str | None
    response: str | None
    bytes_sent: int
    timings: Mapping[str, float]
    reference: str | None
    revision: str | None
    follows: str | None
    next_attempt_at: int | None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which deliveries a listing, replay or cancel means. Empty fields do not filter.

    ``statuses``, ``held`` and ``retrying`` are alternatives to each other; all else must hold together.
    """

    ids: tuple[str, ...] = ()
    """Delivery or job ids."""
    statuses: frozenset[Status] = frozenset()
    destinations: frozenset[str] = frozenset()
    not_destinations: frozenset[str] = frozenset()
    held: frozenset[str] | None = None
    """Pending deliveries of these destinations, which the caller knows to be held."""
    retrying: bool = False
    """Pending with at least one failure in this cycle."""
    sessions: frozenset[str] = frozenset()
    error_kinds: frozenset[ErrorKind] = frozenset()
    since: int | None = None
    until: int | None = None
    """Bounds of the delivery's creation, microseconds, ``since`` inclusive, ``until`` exclusive."""


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """A process that holds leases. Its one lease covers all its claims."""

    id: str
    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    pid_start: str
    threads: int
    started_at: int
    lease_until: int
    draining: bool = False


@dataclass(frozen=True, slots=True)
class Cleanup:
    """Something that a dead delivery left at its destination, to be abandoned."""

    id: str
    delivery_id: str
    destination: str
    state: bytes
    attempts: int
    fence: int


@dataclass(frozen=True, slots=True)
class CleanupRecord:
    """A cleanup as ``show`` prints it; ``done_at`` is None while it is still to be tried."""

    id: str
    delivery_id: str
    destination: str
    attempts: int
    created_at: int
    next_at: int | None
    done_at: int | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Lost:
    """A claim that the reaper took from a dead worker."""

    delivery_id: str
    destination: str
    worker: str
    attempt: int
    lost_in_a_row: int
    status: Status
    """pending, or failed when it was lost too often."""
    next_attempt_at: int | None


@dataclass(frozen=True, slots=True)
class Tally:
    """One destination in numbers, for ``conveyor status``."""

    destination: str
    pending: int = 0
    delivering: int = 0
    retrying: int = 0
    """Of the pending ones, those with a failure in this cycle."""
    held_by_hooks: int = 0
    """Of the pending ones, those that a plugin's hook holds."""
    delivered: int = 0
    failed: int = 0
    cancelled: int = 0
    delivered_last_day: int = 0
    failed_last_day: int = 0
    oldest_pending: int | None = None
    """Submission time of the oldest pending delivery."""
    next_due: int | None = None


@dataclass(frozen=True, slots=True)
class OrderResult:
    """What a replay or a cancel did."""

    matched: int
    done: tuple[str, ...]
    skipped: Mapping[str, str]
    """Reason by delivery id."""
