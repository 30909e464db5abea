"""All that a connector may import from Conveyor.

A connector puts one file into one kind of destination. It is synchronous, it is used by one thread at a
time, and it decides nothing about retries: it classifies what went wrong (:class:`DeliveryError`), the
engine decides what follows. Everything in this module is covered by the compatibility promise of
``CONTRACT_VERSION``; nothing else of the engine is.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeAlias, runtime_checkable

from conveyor.faults import AttemptCancelled, DeliveryError, ErrorKind, Scope
from conveyor.oauth.contract import AccountQuestion, OAuthProvider, Rotation, Token, TokenSource, Trouble
from conveyor.paths.names import LengthUnit, NameRules

if TYPE_CHECKING:
    from conveyor.config.options import Options as Options
    from conveyor.network import Network
    from conveyor.oauth.options import OAuthOptions as OAuthOptions

__all__ = [
    "CONTRACT_VERSION",
    "AccountQuestion",
    "AttemptCancelled",
    "AttemptContext",
    "Buffers",
    "Capabilities",
    "CheckReport",
    "CheckStep",
    "ConflictPolicy",
    "Connector",
    "ConnectorEnv",
    "ConnectorSpec",
    "DeliveryError",
    "ErrorKind",
    "Found",
    "FoundKind",
    "Json",
    "LengthUnit",
    "Log",
    "Memory",
    "NameRules",
    "OAuthOptions",
    "OAuthProvider",
    "Options",
    "Parcel",
    "PreparesPlace",
    "Receipt",
    "Rotation",
    "Scope",
    "ServerKey",
    "State",
    "Target",
    "Token",
    "TokenSource",
    "Trouble",
    "TrustsServer",
]

CONTRACT_VERSION = 1
"""Raised when a change breaks connectors that were written against the number before."""

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"
"""What JSON can say; all that state and memory may hold."""

State: TypeAlias = Mapping[str, Json]
"""What a delivery remembers between attempts: upload id, session URL, chosen name, temporary name."""


class ConflictPolicy(enum.StrEnum):
    """What happens when the destination already holds something under the path."""

    RENAME = "rename"
    OVERWRITE = "overwrite"
    SKIP = "skip"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a connector promises. Declared: tested by the suite. Not declared: refused before any I/O.

    Attributes:
        atomic: A reader never sees a part of the file under the final name.
        create_only: ``fail``, ``skip`` and ``rename`` rest on the server's own precondition.
        resumable: A half-sent file is continued from ``context.state`` by another worker.
        find: ``find`` is implemented.
        digest: Name of the digest the destination is asked to verify or report (``"sha256"``, ``"md5"`` …).
        digests: Further digests that submission must compute for this connector: names of ``hashlib``,
            ``quickxor`` (OneDrive's) or ``dropbox`` (its ``content_hash``).
        conflicts: The policies it carries out.
        max_size: Largest file in bytes.
        names: Which names are legal there.
        concurrency: Default number of simultaneous attempts per destination.
        places: Deliveries to one path replace each other, as files do. False for messages (webhook, mail),
            of which each counts.
        deletes: ``check`` and ``abandon`` can remove what was written (a webhook cannot).
        observable: The suite can look at what arrived by a second route, by path.
    """

    atomic: bool = False
    create_only: bool = False
    resumable: bool = False
    find: bool = False
    digest: str | None = None
    digests: tuple[str, ...] = ()
    conflicts: frozenset[ConflictPolicy] = frozenset(ConflictPolicy)
    max_size: int | None = None
    names: NameRules = field(default_factory=NameRules)
    concurrency: int = 8
    places: bool = True
    deletes: bool = True
    observable: bool = True


@dataclass(frozen=True, slots=True)
class Parcel:
    """The file to deliver.

    Attributes:
        delivery_id: The same on every attempt of this delivery; what a receiver de-duplicates by.
        job_id: The submitted job.
        filename: The submitted file name, as it came from the sender. Not safe as a path.
        size: Bytes.
        media_type: MIME type, for instance ``image/jpeg``.
        digests: Hex digests by name; ``sha256`` and ``md5`` are always there, then ``Capabilities.digests``.
        submitted_at: Seconds since the epoch, UTC.
        session_id, image_id, source: Metadata of the job; None when not given.
        image_index: The same, a number.
        tags: As submitted, ``key:value`` or bare.
        meta: Further metadata of the job.
        open: Returns a fresh seekable stream at byte 0 for each call. Reading it raises
            ``DeliveryError(SOURCE)`` when the payload is gone, changed or ends early.
    """

    delivery_id: str
    job_id: str
    filename: str
    size: int
    media_type: str
    digests: Mapping[str, str]
    submitted_at: float
    open: Callable[[], BinaryIO]
    session_id: str | None = None
    image_id: str | None = None
    image_index: int | None = None
    source: str | None = None
    tags: tuple[str, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """Where to put it: rendered, made legal for the destination, and the same on every attempt of a cycle.

    Attributes:
        path: From the destination's base, ``/`` between levels: ``2026/photo.jpg``.
        conflict: What to do where the path is taken.
    """

    path: str
    conflict: ConflictPolicy

    @property
    def segments(self) -> tuple[str, ...]:
        """The path's levels; the last one is the file name."""
        return tuple(self.path.split("/"))

    @property
    def name(self) -> str:
        """The file name."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def parents(self) -> tuple[str, ...]:
        """The folders above the file, outermost first."""
        return self.segments[:-1]

    def numbered(self, number: int) -> str:
        """The path that ``rename`` tries next: ``a/photo.jpg`` → ``a/photo (1).jpg`` for 1; itself for 0."""
        if number == 0:
            return self.path
        head, _, name = self.path.rpartition("/")
        stem, dot, ext = name.rpartition(".")
        if not stem:
            stem, dot, ext = name, "", ""
        changed = f"{stem} ({number}){dot}{ext}"
        return f"{head}/{changed}" if head else changed


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the destination holds after success.

    Attributes:
        reference: What finds it again there: a key, an id, a path, a URL without credentials.
        size: Bytes, as the destination reports them where it does.
        digest: ``algorithm:hex`` as the destination reports or has checked it; None where it offers none.
        verified: How it was verified: ``"sha256"``, ``"md5"``, ``"size"``, ``"accepted"`` (2xx only) …
        version: Version id, revision or ETag.
        path: The path actually used, which ``rename`` may have changed.
        renamed: True when ``path`` is not the target's.
        skipped: True when ``skip`` left an existing file in place.
        superseded: True when a later job's file was left in place (set by the engine).
        extra: Further facts worth keeping, small.
    """

    reference: str
    size: int | None = None
    digest: str | None = None
    verified: str = "accepted"
    version: str | None = None
    path: str | None = None
    renamed: bool = False
    skipped: bool = False
    superseded: bool = False
    extra: Mapping[str, Json] = field(default_factory=dict)


class FoundKind(enum.StrEnum):
    """What ``find`` learnt about the target after an attempt with an unknown end."""

    MINE = "mine"
    """Written by this delivery and complete: settles it."""
    SAME_BYTES = "same_bytes"
    """Equal by a strong digest, author unknown: settles it under ``overwrite`` and ``skip``."""
    ABSENT = "absent"
    """Nothing there."""
    OTHER = "other"
    """Something else is there."""
    UNSURE = "unsure"
    """Cannot tell: the engine delivers again."""


@dataclass(frozen=True, slots=True)
class Found:
    """Answer of ``find``; ``receipt`` accompanies MINE and SAME_BYTES."""

    kind: FoundKind
    receipt: Receipt | None = None


@dataclass(frozen=True, slots=True)
class CheckStep:
    """One step of ``check``: what was tried, whether it is permitted there, a word more for the operator."""

    name: str
    done: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What ``check`` did: log in; write, verify and delete a canary where permitted."""

    steps: tuple[CheckStep, ...]


class Log(Protocol):
    """A structured logger bound to the delivery."""

    def debug(self, event: str, **fields: object) -> None: ...
    def info(self, event: str, **fields: object) -> None: ...
    def warning(self, event: str, **fields: object) -> None: ...


class AttemptContext(Protocol):
    """The engine's side of one attempt. All methods may raise :class:`AttemptCancelled`."""

    @property
    def attempt(self) -> int:
        """The attempt's number, from 1, growing over all cycles."""

    @property
    def fence(self) -> int:
        """Grows with every claim; part of each temporary name, so that no two workers share one."""

    @property
    def state(self) -> State:
        """What earlier attempts of this delivery saved; empty when endpoint, path or payload changed."""

    @property
    def log(self) -> Log:
        """A logger bound to the delivery."""

    def save(self, **state: Json) -> None:
        """Merge into ``state`` and commit it, encrypted and fenced, before returning; None removes a key.

        Must precede the server-side effect that it records.
        """

    def abandon_later(self, **state: Json) -> None:
        """Have ``abandon`` called with ``state`` some minutes from now, whatever becomes of the delivery.

        For a temporary file of an earlier attempt that was not found: its worker may have died with the
        request that makes the file still under way. Durable before it returns; once per attempt.
        """

    def before_commit(self) -> None:
        """Call directly before the step that publishes (rename, complete, commit, last byte).

        Re-checks with the ledger that this attempt still owns the delivery, unless it has only just said so,
        so that a frozen worker that wakes up publishes nothing.
        """

    def progress(self, count: int) -> None:
        """Report ``count`` more bytes sent. Call it for every chunk: it feeds the idle limit."""

    def check(self) -> None:
        """Raise when the attempt must stop. ``progress`` does it too."""

    def remaining(self) -> float:
        """Seconds until the attempt's deadline, never negative; use it for timeouts of single calls."""

    def uploaded(self) -> None:
        """The last body byte is out: from here the answer's own time limit counts, not the transfer's."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Time a phase for the record: ``connect``, ``transfer`` or ``commit``."""


class Buffers(Protocol):
    """Chunk memory from one budget per process."""

    def chunk(self, size: int) -> AbstractContextManager[memoryview]:
        """Borrow ``size`` bytes (at most 64 MiB); blocks until the budget has them."""


class Memory(Protocol):
    """What a destination remembers in the ledger across deliveries and processes: host keys, folder ids.

    Kept for ever; under keys that begin with ``folder:`` until it has not been used for 30 days.
    """

    def get(self, key: str) -> Json:
        """The value, or None."""

    def put_if_absent(self, key: str, value: Json) -> Json:
        """Store ``value`` unless there is one; returns what is stored afterwards, atomically."""

    def exchange(self, key: str, expected: Json, value: Json) -> Json:
        """Store ``value`` where ``expected`` is stored; returns what is stored afterwards, atomically."""

    def forget(self, key: str) -> None:
        """Remove the value."""


@dataclass(frozen=True, slots=True)
class ConnectorEnv:
    """What the engine lends a connector for its whole life.

    Attributes:
        destination: The destination's id.
        network: Dials only addresses that the network policy allows. ``dial(host, port, timeout)`` is a
            connected socket, ``tls_context()`` an ``ssl.SSLContext`` with the config's authorities,
            ``pool()`` a urllib3 pool manager; ``conveyor.kit.pools`` and ``conveyor.kit.sessions`` make
            clients of them.
        buffers: Chunk memory.
        memory: The destination's own small store in the ledger.
        log: A logger bound to the destination.
        clock: Seconds since the epoch, UTC.
        concurrency: How many connectors of this destination live in this process at most.
        tokens: Access tokens of the destination's account; None for types without ``ConnectorSpec.oauth``.
    """

    destination: str
    network: Network
    buffers: Buffers
    memory: Memory
    log: Log
    clock: Callable[[], float]
    concurrency: int = 8
    tokens: TokenSource | None = None


class Connector(Protocol):
    """One open connection to one destination. Made by ``factory(options, env)``; no I/O in the constructor.

    All methods raise :class:`DeliveryError` and let :class:`AttemptCancelled` pass; nothing else leaves them.
    """

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        """Put the parcel at the target, verified; or raise and leave nothing visible."""

    def find(self, parcel: Parcel, target: Target, context: AttemptContext) -> Found:
        """Tell whether an earlier attempt of this delivery arrived. Only with the capability ``find``."""

    def abandon(self, state: State, context: AttemptContext) -> None:
        """Remove what a delivery left: parts, temporary files, sessions; never its file. None is success."""

    def check(self, context: AttemptContext) -> CheckReport:
        """Log in and try what ``deliver`` needs; raise what ``deliver`` would raise."""

    def close(self) -> None:
        """Release sockets and threads. Idempotent; never raises."""


@dataclass(frozen=True, slots=True)
class ServerKey:
    """The key that a server shows, for a person to compare.

    Attributes:
        line: What to pin: ``ssh-ed25519 AAAA…``.
        fingerprint: The short form that the server's operator can confirm.
        trusted: True when it is the one trusted already, False when another one is, None when none is yet.
    """

    line: str
    fingerprint: str
    trusted: bool | None = None


@runtime_checkable
class TrustsServer(Protocol):
    """What a connector has beside :class:`Connector` when its server is known by a key, as with SSH.

    ``conveyor trust`` asks for it: it shows the key, and calls :meth:`trust` once a person has confirmed it.
    """

    def host_key(self) -> ServerKey:
        """Connect, send no credential, and tell the key that the server shows now."""

    def trust(self, line: str) -> None:
        """Trust this key from now on, in place of an older one, for every process.

        Raises:
            DeliveryError: CONFIG, when the config pins a key itself, which then decides.
        """


@runtime_checkable
class PreparesPlace(Protocol):
    """What a connector has beside :class:`Connector` when a sign-in is the moment to make or find its folder.

    Some sign-ins see only what the application itself has made: then there is no folder to choose before.
    ``conveyor connect`` calls it, with the new login, for each destination of the account.
    """

    def prepare(self, context: AttemptContext) -> str:
        """Make sure that the configured folder is there and can be written to; create it where it may be.

        Returns:
            Where files will go, for a person: ``folder Conveyor (id 1Zx…)``.

        Raises:
            DeliveryError: CONFIG, when the sign-in does not let it be seen, with a hint what to do.
        """


@dataclass(frozen=True, slots=True)
class ConnectorSpec:
    """How a plugin announces one destination type, without importing its SDK.

    Attributes:
        type: The word in the YAML, for instance ``"s3"``.
        summary: One line for ``conveyor connectors``.
        factory: ``"module:callable"``, imported on the first delivery and called as
            ``factory(options, env) -> Connector``.
        options: ``"module:Model"``, a pydantic model; imported when a destination of this type is
            configured, so its module must not import the SDK.
        capabilities: What it promises.
        extra: The extra of the plugin's own distribution that brings the SDK, for instance ``"s3"``.
        presets: Options implied by an alias type: ``sftp`` is ``ftp`` with ``{"protocol": "sftp"}``.
        contract: The CONTRACT_VERSION it was written against.
        example: A small YAML example for the documentation: the destination's id, its options below it.
        oauth: Name of the :class:`OAuthProvider` whose accounts it uses; its options then derive from
            ``OAuthOptions``, and ``conveyor connect`` signs in.
    """

    type: str
    summary: str
    factory: str
    options: str
    capabilities: Capabilities = field(default_factory=Capabilities)
    extra: str | None = None
    presets: Mapping[str, Any] = field(default_factory=dict)
    contract: int = CONTRACT_VERSION
    example: str = ""
    oauth: str | None = None


Specs: TypeAlias = Iterable[ConnectorSpec]


def __getattr__(name: str) -> Any:
    """The bases of option models, on first use: this module must not import pydantic."""
    if name == "Options":
        from conveyor.config.options import Options

        return Options
    if name == "OAuthOptions":
        from conveyor.oauth.options import OAuthOptions

        return OAuthOptions
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
