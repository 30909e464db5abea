"""What hooks are handed and what they answer; the hooks themselves are in :mod:`conveyor.hookspecs`.

Everything here is covered by the compatibility promise of ``conveyor.contract.CONTRACT_VERSION``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeAlias

from conveyor.contract import Log, Parcel

if TYPE_CHECKING:
    from conveyor.intake import Item
    from conveyor.ledger.records import Submitted

__all__ = [
    "Alert",
    "AttemptEnded",
    "Decision",
    "Delay",
    "DeliveryFinal",
    "DestinationChanged",
    "DestinationProvider",
    "Fail",
    "Hold",
    "Made",
    "PathFilter",
    "PathVariable",
    "PayloadSource",
    "Place",
    "SecretResolver",
    "SourceContext",
    "Transform",
]


@dataclass(frozen=True, slots=True)
class Place:
    """The destination that a hook is asked about.

    Attributes:
        id: Its id in the config.
        type: ``s3``, ``sftp`` …
        labels: Its labels.
    """

    id: str
    type: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fail:
    """Do not deliver: the delivery has ``failed``, uncharged, with this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Do not deliver now: the delivery is ``held``, uncharged, with this reason.

    The hook is asked again, first after 30 s, then after as long as the hold has lasted, at most an hour;
    at once when an operator replays the delivery.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Delay:
    """Deliver later: the delivery is due again in ``seconds`` (0 to 30 days), uncharged."""

    seconds: float
    reason: str


Decision: TypeAlias = Fail | Hold | Delay


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """One attempt, once its outcome stands in the ledger.

    Attributes:
        delivery_id: The delivery.
        destination: The destination's id.
        attempt: Its number, from 1.
        outcome: ``delivered``, ``failed``, ``put_off`` (by a hook) or ``given_back`` (shutdown).
        status: The delivery's status from now on.
        follows: ``none``, ``retry``, ``hold``, ``throttle``, ``delay`` or ``final``.
        charged: Whether it used the budget.
        started_at, finished_at: Seconds since the epoch, UTC.
        next_attempt_at: Likewise; None when there is none.
        bytes_sent: Bytes.
        kind, message: Of the error, redacted; None when there was none.
        receipt: What the destination holds; None when it was not delivered.
    """

    delivery_id: str
    destination: str
    attempt: int
    outcome: str
    status: str
    follows: str
    charged: bool
    started_at: float
    finished_at: float
    next_attempt_at: float | None = None
    bytes_sent: int = 0
    kind: str | None = None
    message: str | None = None
    receipt: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class DeliveryFinal:
    """A delivery that will not be tried again by itself.

    Attributes:
        delivery_id, job_id: Its ids.
        destination: The destination's id.
        status: ``delivered``, ``failed`` or ``cancelled``.
        attempts: Over all cycles.
        kind, message: Why it failed, redacted; None otherwise.
        receipt: What the destination holds; None when it was not delivered.
    """

    delivery_id: str
    job_id: str
    destination: str
    status: str
    attempts: int
    kind: str | None = None
    message: str | None = None
    receipt: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class DestinationChanged:
    """A destination is held, or served again.

    Attributes:
        destination: Its id.
        before, now: Why it is not served: ``paused``, ``needs_login``, ``quota``, ``config_error``,
            ``deactivated``, ``throttled``, ``breaker`` …; None: it is served.
        message: What the destination said, redacted; None where it said nothing.
        at: When this process noticed, seconds since the epoch, UTC.
    """

    destination: str
    before: str | None
    now: str | None
    message: str | None
    at: float


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a person should know.

    Attributes:
        event: ``destination_held``, ``destination_served``, ``delivery_failed`` or ``plugin_failed``.
        subject: The destination's or delivery's id, or the plugin's name.
        reason: The hold's reason, the error's kind, or the hook's name.
        message: In words, redacted.
        cure: What ends it; None where nothing is to be done.
        at: Seconds since the epoch, UTC.
    """

    event: str
    subject: str
    reason: str | None
    message: str
    cure: str | None
    at: float


@dataclass(frozen=True, slots=True)
class PathVariable:
    """A name for path templates: ``{name}``.

    Attributes:
        name: Small letters, digits and ``_``. It cannot replace a built-in one.
        meaning: One line for people.
        read: ``(parcel, place) -> text`` or None. Quick, without I/O, the same for every attempt;
            ``parcel.open`` raises. Whatever it returns cannot climb out of its level.
    """

    name: str
    meaning: str
    read: Callable[[Parcel, Place], str | None]


@dataclass(frozen=True, slots=True)
class PathFilter:
    """A change for path templates: ``{filename!name}``. Quick, without I/O, the same every time."""

    name: str
    meaning: str
    apply: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class SecretResolver:
    """A YAML tag for values that are kept elsewhere: ``password: !vault path/to/secret``.

    Attributes:
        tag: The word after ``!``; not ``file``.
        meaning: One line for people.
        resolve: From the text after the tag to the value. Called whenever the config is read. What it raises
            is a mistake at that line; its text is not shown, since it may quote a secret.
    """

    tag: str
    meaning: str
    resolve: Callable[[str], str]


class DestinationProvider(Protocol):
    """Destinations from elsewhere: a customer database, a service. Safe from many threads."""

    @property
    def name(self) -> str:
        """What problems call it."""

    def revision(self) -> str | int:
        """Changes with every change of a document; asked about once a second, so cheap."""

    def list(self) -> Mapping[str, Mapping[str, Any]]:
        """All documents by destination id, each as the YAML would have it. Taken literally: no ``${…}``."""


class SourceContext(Protocol):
    """The engine's side of a payload source."""

    @property
    def log(self) -> Log:
        """A logger bound to the source."""

    def submit(self, item: Item) -> Submitted:
        """Submit one file; when this returns, it survives a power failure.

        Give it a ``key`` that the same file will have again: a source that dies between this
        and noting that it did submits the file a second time, and gets the first job.
        """

    def wait(self, seconds: float) -> bool:
        """Sleep, at most so long; True when the source must end."""


@dataclass(frozen=True, slots=True)
class PayloadSource:
    """Something that submits files by itself: a watched folder, a mailbox, a queue.

    ``conveyor run`` and ``conveyor worker`` run it in a thread of its own, in one process of all at a time,
    and begin it again, in that process or another, when it ends, raises, or its process dies.

    Attributes:
        name: Unique; what logs and the lease call it.
        run: Submits until ``context.wait`` returns True, then returns. Raising is a failure of the plugin:
            logged, counted, and begun again after a pause that doubles from 1 s to 5 min.
    """

    name: str
    run: Callable[[SourceContext], None]


@dataclass(frozen=True, slots=True)
class Made:
    """What a transform made.

    Attributes:
        media_type: Of the result; None when it is the same.
    """

    media_type: str | None = None


@dataclass(frozen=True, slots=True)
class Transform:
    """Makes other bytes of a payload for the destinations that name it: ``transforms: [name]``.

    Attributes:
        name: The word in the YAML.
        meaning: One line for people.
        apply: ``(parcel, out) -> Made | None``: reads ``parcel.open()``, writes the result to ``out``, a
            seekable binary file. None: nothing to change, whatever was written. It must not hold a whole
            file in memory, and raises ``DeliveryError(REJECTED)`` for a file that it can never take;
            anything else it raises is tried again on the destination's schedule.
        rename: From the submitted file name to the result's, for the path: ``a.heic`` → ``a.jpg``. Quick,
            without I/O, the same every time.
    """

    name: str
    meaning: str
    apply: Callable[[Parcel, BinaryIO], Made | None]
    rename: Callable[[str], str] | None = None
