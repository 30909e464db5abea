"""A sound connector whose destination is a store in memory: the model for connector authors.

It passes every behaviour of the suite, with every capability declared. Two ways to reach its store: ``store``
names one in this process (fast, for tests of the engine), ``url`` a :class:`MemoryServer` on loopback (for
tests that cross processes or need the network to fail).
"""

from __future__ import annotations

import contextlib
import http.client
from typing import Any, Protocol
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from conveyor.contract import (
    AttemptContext,
    Capabilities,
    CheckReport,
    CheckStep,
    ConflictPolicy,
    ConnectorEnv,
    ConnectorSpec,
    DeliveryError,
    ErrorKind,
    Found,
    FoundKind,
    NameRules,
    Options,
    Parcel,
    Receipt,
    State,
    Target,
)
from conveyor.testing.memory_store import (
    PATH_MAX,
    SEGMENT_MAX,
    MemoryStore,
    Stored,
    StoreFault,
    forget_store,
    named_store,
)
from conveyor.testing.memory_wire import MemoryServer, RemoteStore

__all__ = [
    "MEMORY_SPEC",
    "MemoryConnector",
    "MemoryOptions",
    "MemoryServer",
    "MemoryStore",
    "StoreFault",
    "Stored",
    "classify",
    "forget_store",
    "named_store",
]

MAX_SIZE = 1 << 40


class MemoryOptions(Options):
    """Options of the type ``memory``: either ``store`` or ``url``."""

    store: str | None = Field(default=None, description="Name of a store in this process.")
    url: str | None = Field(default=None, description="http://host:port of a memory server.")
    token: SecretStr = Field(default=SecretStr("let-me-in"), description="What the store wants to see.")
    space: str = Field(default="space", description="The place within the store.")
    chunk_size: int = Field(default=256 * 1024, description="Bytes sent at once.", gt=0)


MEMORY_SPEC = ConnectorSpec(
    type="memory",
    summary="A store in memory, for tests",
    factory="conveyor.testing.memory:MemoryConnector",
    options="conveyor.testing.memory:MemoryOptions",
    capabilities=Capabilities(
        atomic=True,
        create_only=True,
        resumable=True,
        find=True,
        digest="sha256",
        max_size=MAX_SIZE,
        names=NameRules(segment_max=SEGMENT_MAX, path_max=PATH_MAX),
    ),
    example="demo:\n  type: memory\n  store: demo\n",
)


class _Store(Protocol):
    def begin(self, upload: str) -> None: ...
    def received(self, upload: str) -> int: ...
    def append(self, upload: str, offset: int, data: bytes) -> int: ...
    def commit(
        self, upload: str, path: str, *, sha256: str | None, delivery_id: str, replace: bool
    ) -> Stored: ...
    def head(self, path: str) -> Stored | None: ...
    def abort(self, upload: str) -> None: ...
    def delete(self, path: str) -> None: ...


class _Local:
    """A store of this process; checks what a server would check at each request."""

    def __init__(self, store: MemoryStore, token: str, space: str) -> None:
        self._store = store
        self._access = (token, space)

    def __getattr__(self, name: str) -> Any:
        self._store.enter(*self._access)
        return getattr(self._store, name)


class MemoryConnector:
    """Implements :class:`conveyor.contract.Connector`."""

    def __init__(self, options: MemoryOptions, env: ConnectorEnv) -> None:
        self._options = options
        self._env = env
        self._remote: RemoteStore | None = None
        token = options.token.get_secret_value()
        if options.url is not None:
            parts = urlsplit(options.url)
            host, port = parts.hostname or "", parts.port or 80
            self._remote = RemoteStore(lambda left: env.network.dial(host, port, left), token, options.space)
        self._store: _Store = self._remote or _Local(
            named_store(options.store or "default"), token, options.space
        )

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        """Upload, resumable; then commit by the conflict policy."""
        if parcel.size > MAX_SIZE:
            raise DeliveryError(ErrorKind.TOO_LARGE, f"{parcel.size} bytes are more than fit")
        try:
            with context.phase("connect"):
                self._limit(context)
                upload, offset = self._open_upload(parcel, context)
            with context.phase("transfer"):
                self._send(parcel, upload, offset, context)
        except (StoreFault, OSError, http.client.HTTPException) as error:
            raise classify(error) from None
        with context.phase("commit"):
            return self._commit(parcel, target, upload, context)

    def find(self, parcel: Parcel, target: Target, context: AttemptContext) -> Found:
        """Look under the saved name, else under the target's."""
        path = str(context.state.get("name") or target.path)
        try:
            self._limit(context)
            stored = self._store.head(path)
        except (StoreFault, OSError, http.client.HTTPException) as error:
            raise classify(error) from None
        if stored is None:
            return Found(FoundKind.ABSENT)
        if stored.delivery_id == parcel.delivery_id and stored.sha256 == parcel.digests["sha256"]:
            return Found(FoundKind.MINE, _receipt(stored, path, target))
        if stored.sha256 == parcel.digests["sha256"]:
            return Found(FoundKind.SAME_BYTES, _receipt(stored, path, target))
        return Found(FoundKind.OTHER)

    def abandon(self, state: State, context: AttemptContext) -> None:
        """Abort the upload that a dead delivery left."""
        upload = state.get("upload")
        if upload is None:
            return
        try:
            self._limit(context)
            self._store.abort(str(upload))
        except (StoreFault, OSError, http.client.HTTPException) as error:
            raise classify(error) from None

    def check(self, context: AttemptContext) -> CheckReport:
        """Write a canary, verify it, delete it."""
        canary, path = "check-" + self._env.destination, f".conveyor-check-{self._env.destination}"
        empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        try:
            self._limit(context)
            self._store.begin(canary)
            self._store.append(canary, 0, b"")
            self._store.commit(canary, path, sha256=empty, delivery_id="", replace=True)
            self._store.delete(path)
        except (StoreFault, OSError, http.client.HTTPException) as error:
            raise classify(error) from None
        return CheckReport((CheckStep("login", done=True), CheckStep("write, verify, delete", done=True)))

    def close(self) -> None:
        """Drop the connection."""
        if self._remote is not None:
            self._remote.close()

    def _limit(self, context: AttemptContext) -> None:
        context.check()
        if self._remote is not None:
            self._remote.timeout = min(30.0, context.remaining())

    def _open_upload(self, parcel: Parcel, context: AttemptContext) -> tuple[str, int]:
        """The upload of an earlier attempt with what it holds, or a new one, saved before it exists."""
        saved = context.state.get("upload")
        if saved is not None:
            try:
                return str(saved), self._store.received(str(saved))
            except StoreFault as fault:
                if fault.code != "NoSuchUpload":
                    raise
        upload = f"{parcel.delivery_id}-{context.fence}"
        context.save(upload=upload)
        self._store.begin(upload)
        return upload, 0

    def _send(self, parcel: Parcel, upload: str, offset: int, context: AttemptContext) -> None:
        with parcel.open() as source, self._env.buffers.chunk(self._options.chunk_size) as buffer:
            source.seek(offset)
            while offset < parcel.size:
                data = _read(source, buffer)
                if not data:
                    raise DeliveryError(ErrorKind.SOURCE, f"the payload ended after {offset} bytes")
                self._limit(context)
                offset = self._store.append(upload, offset, data)
                context.progress(len(data))
        context.uploaded()

    def _commit(self, parcel: Parcel, target: Target, upload: str, context: AttemptContext) -> Receipt:
        replace = target.conflict is ConflictPolicy.OVERWRITE
        for number in range(10_000):
            path = target.numbered(number)
            if target.conflict is ConflictPolicy.RENAME:
                context.save(name=path)
            try:
                stored = self._publish(parcel, path, upload, context, replace=replace)
            except StoreFault as fault:
                if fault.code == "WrongDigest":
                    self._forget(upload, context)
                if fault.code != "Exists":
                    raise classify(fault) from None
                receipt = self._taken(parcel, target, path, upload)
                if receipt is not None:
                    return receipt
            else:
                return _receipt(stored, path, target)
        raise DeliveryError(ErrorKind.CONFLICT, "ten thousand names are taken")

    def _forget(self, upload: str, context: AttemptContext) -> None:
        """The upload holds wrong bytes: no later attempt may continue it."""
        with contextlib.suppress(StoreFault, OSError, http.client.HTTPException):
            self._store.abort(upload)
        context.save(upload=None)

    def _publish(
        self, parcel: Parcel, path: str, upload: str, context: AttemptContext, *, replace: bool
    ) -> Stored:
        context.before_commit()
        self._limit(context)
        try:
            return self._store.commit(
                upload,
                path,
                sha256=parcel.digests["sha256"],
                delivery_id=parcel.delivery_id,
                replace=replace,
            )
        except (OSError, http.client.HTTPException):
            raise DeliveryError(ErrorKind.UNKNOWN_OUTCOME, "no answer to the commit") from None

    def _taken(self, parcel: Parcel, target: Target, path: str, upload: str) -> Receipt | None:
        """The name is taken: perhaps by ourselves, else by the policy; None tries the next name."""
        try:
            stored = self._store.head(path)
            mine = stored is not None and stored.delivery_id == parcel.delivery_id
            if not mine and target.conflict is ConflictPolicy.RENAME:
                return None
            self._store.abort(upload)
        except (StoreFault, OSError, http.client.HTTPException) as error:
            raise classify(error) from None
        if stored is not None and mine:
            return _receipt(stored, path, target)
        if target.conflict is ConflictPolicy.SKIP:
            return Receipt(reference=path, path=path, skipped=True, verified="none")
        raise DeliveryError(ErrorKind.CONFLICT, f"{path} exists")


def _read(source: Any, buffer: memoryview) -> bytes:
    try:
        count = source.readinto(buffer)
    except OSError:
        raise DeliveryError(ErrorKind.SOURCE, "the payload cannot be read") from None
    return bytes(buffer[:count])


def _receipt(stored: Stored, path: str, target: Target) -> Receipt:
    return Receipt(
        reference=path,
        size=stored.size,
        digest=f"sha256:{stored.sha256}",
        verified="sha256",
        version=stored.version,
        path=path,
        renamed=path != target.path,
    )


_KINDS = {
    "BadToken": (ErrorKind.AUTH_REVOKED, "the store does not know this token", "put the right token in"),
    "NoSuchSpace": (ErrorKind.CONFIG, "there is no such space", "create it, or correct the name"),
    "Forbidden": (ErrorKind.CONFIG, "writing is forbidden there", "ask its owner for the right to write"),
    "Full": (ErrorKind.QUOTA, "the store is full", "make room"),
    "NameTooLong": (ErrorKind.NAME, "the name is too long there", None),
    "BadName": (ErrorKind.NAME, "the name is illegal there", None),
    "WrongDigest": (ErrorKind.INTEGRITY, "the store received other bytes than were sent", None),
    "NoSuchUpload": (ErrorKind.SESSION_LOST, "the upload is gone", None),
    "WrongOffset": (ErrorKind.TRANSIENT, "another attempt writes to the same upload", None),
}


def classify(error: BaseException) -> DeliveryError:
    """What an error of the store or of the network means to the engine."""
    if isinstance(error, StoreFault):
        if error.status in (429, 503):
            return DeliveryError(
                ErrorKind.THROTTLED, "too fast", retry_after=error.retry_after, code=error.status
            )
        kind, message, hint = _KINDS.get(error.code, (ErrorKind.TRANSIENT, "the store failed", None))
        return DeliveryError(kind, message, hint=hint, code=error.status)
    return DeliveryError(ErrorKind.TRANSIENT, f"the connection failed: {type(error).__name__}")
