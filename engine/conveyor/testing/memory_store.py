"""A small object store in memory, the service behind :mod:`conveyor.testing.memory`.

It behaves as the better real ones do: uploads are sessions that show nothing until they are committed, a
commit may demand that the name is free and that the digest is right, both atomically.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

SEGMENT_MAX = 255
PATH_MAX = 1024


class StoreFault(Exception):
    """The store says no, as a service would: a status, a code, perhaps a delay in seconds.

    Args:
        status: As HTTP has it.
        code: A word for the reason.
        retry_after: Seconds to wait.
        received: Bytes that the upload holds, with ``WrongOffset``.
    """

    def __init__(
        self, status: int, code: str, *, retry_after: float | None = None, received: int | None = None
    ) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.retry_after = retry_after
        self.received = received


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as the store shows it."""

    size: int
    sha256: str
    delivery_id: str
    version: str
    chunks: tuple[bytes, ...] = field(repr=False, default=())

    @property
    def data(self) -> bytes:
        """The whole object."""
        return b"".join(self.chunks)


@dataclass(slots=True)
class _Upload:
    chunks: list[bytes] = field(default_factory=list)
    size: int = 0


class MemoryStore:
    """Objects by path, uploads by id; every call may meet the fault that a test has set.

    Args:
        token: What a client must show.
        space: The one place (bucket, container) that exists.
        capacity: Bytes that fit; None for no limit.

    Attributes:
        fault: Raised by every call of a client while set.
    """

    def __init__(
        self, *, token: str = "let-me-in", space: str = "space", capacity: int | None = None
    ) -> None:
        self.token = token
        self.space = space
        self.capacity = capacity
        self.fault: StoreFault | None = None
        self._lock = threading.RLock()
        self._objects: dict[str, Stored] = {}
        self._uploads: dict[str, _Upload] = {}
        self._versions = itertools.count(1)

    def enter(self, token: str, space: str) -> None:
        """What every request passes first: the set fault, the token, the space."""
        if self.fault is not None:
            raise self.fault
        if token != self.token:
            raise StoreFault(401, "BadToken")
        if space != self.space:
            raise StoreFault(404, "NoSuchSpace")

    def begin(self, upload: str) -> None:
        """Open an upload under the client's own id; opening it again changes nothing."""
        with self._lock:
            self._uploads.setdefault(upload, _Upload())

    def received(self, upload: str) -> int:
        """Bytes the upload holds."""
        with self._lock:
            return self._upload(upload).size

    def append(self, upload: str, offset: int, data: bytes) -> int:
        """Add bytes at the end; returns the upload's new size."""
        with self._lock:
            held = self._upload(upload)
            if offset != held.size:
                raise StoreFault(409, "WrongOffset", received=held.size)
            if self.capacity is not None and self.used + len(data) > self.capacity:
                raise StoreFault(507, "Full")
            held.chunks.append(bytes(data))
            held.size += len(data)
            return held.size

    def commit(
        self, upload: str, path: str, *, sha256: str | None, delivery_id: str, replace: bool
    ) -> Stored:
        """Make the upload visible, if its digest (when given) is right and the name free or replaceable."""
        with self._lock:
            held = self._upload(upload)
            _check_path(path)
            if not replace and path in self._objects:
                raise StoreFault(412, "Exists")
            digest = hashlib.sha256()
            for chunk in held.chunks:
                digest.update(chunk)
            if sha256 not in (None, digest.hexdigest()):
                raise StoreFault(422, "WrongDigest")
            version = f"v{next(self._versions)}"
            stored = Stored(held.size, digest.hexdigest(), delivery_id, version, tuple(held.chunks))
            self._objects[path] = stored
            del self._uploads[upload]
            return stored

    def head(self, path: str) -> Stored | None:
        """What stands under ``path``."""
        with self._lock:
            return self._objects.get(path)

    def abort(self, upload: str) -> None:
        """Forget an upload; one that is not there is forgotten already."""
        with self._lock:
            self._uploads.pop(upload, None)

    def delete(self, path: str) -> None:
        """Remove an object, if it is there."""
        with self._lock:
            self._objects.pop(path, None)

    # The second route: what tests look through, past tokens and faults.

    @property
    def used(self) -> int:
        """Bytes held, uploads included."""
        with self._lock:
            held = sum(item.size for item in self._objects.values())
            return held + sum(item.size for item in self._uploads.values())

    def paths(self) -> set[str]:
        """Names of all objects."""
        with self._lock:
            return set(self._objects)

    def uploads(self) -> set[str]:
        """Ids of uploads that are neither committed nor aborted."""
        with self._lock:
            return set(self._uploads)

    def put(self, path: str, data: bytes) -> None:
        """Place a stranger's object."""
        with self._lock:
            digest = hashlib.sha256(data).hexdigest()
            self._objects[path] = Stored(len(data), digest, "", f"v{next(self._versions)}", (data,))

    def wipe(self) -> None:
        """Forget everything, faults too."""
        with self._lock:
            self._objects.clear()
            self._uploads.clear()
            self.fault = None
            self.capacity = None

    @contextmanager
    def failing(self, fault: StoreFault) -> Iterator[None]:
        """Answer every request with ``fault``."""
        self.fault = fault
        try:
            yield
        finally:
            self.fault = None

    @contextmanager
    def limited(self, capacity: int) -> Iterator[None]:
        """Hold no more than ``capacity`` bytes."""
        self.capacity = capacity
        try:
            yield
        finally:
            self.capacity = None

    def _upload(self, upload: str) -> _Upload:
        held = self._uploads.get(upload)
        if held is None:
            raise StoreFault(404, "NoSuchUpload")
        return held


def _check_path(path: str) -> None:
    segments = path.split("/")
    if len(path.encode()) > PATH_MAX or any(len(segment.encode()) > SEGMENT_MAX for segment in segments):
        raise StoreFault(400, "NameTooLong")
    if any(segment in ("", ".", "..") for segment in segments):
        raise StoreFault(400, "BadName")


_named: dict[str, MemoryStore] = {}
_named_lock = threading.Lock()


def named_store(name: str) -> MemoryStore:
    """The store of this process by that name, made on first use: what ``store: NAME`` means."""
    with _named_lock:
        return _named.setdefault(name, MemoryStore())


def forget_store(name: str) -> None:
    """Drop a named store and what it holds."""
    with _named_lock:
        _named.pop(name, None)
