"""The glue between one connector and the suite: where it delivers to, and how to look there otherwise."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias, cast

from conveyor.contract import ConflictPolicy, Connector, ConnectorEnv, ConnectorSpec, DeliveryError, Target
from conveyor.testing.harness import make_env, with_tokens

Overrides: TypeAlias = Mapping[str, Any]
"""Options that replace some of the bench's."""

Ability: TypeAlias = "Overrides | Callable[[], AbstractContextManager[Overrides]]"
"""Options under which the destination fails in a certain way; or what brings it about while it is entered."""


class Observer(ABC):
    """Looks at a destination by a second route: the server's own files, another client. Never the connector.

    Paths are as in ``Target.path``: relative to the destination's base, ``/`` between levels.
    """

    @abstractmethod
    def read(self, path: str) -> bytes | None:
        """The bytes that a reader gets there; None when there is no file."""

    @abstractmethod
    def names(self) -> set[str]:
        """Paths of all files that anybody can see, temporary ones too."""

    @abstractmethod
    def wipe(self) -> None:
        """Remove everything, what ``leftovers`` tells included."""

    def put(self, path: str, data: bytes) -> None:
        """Place a stranger's file, with the folders above it. Optional.

        Raises:
            LookupError: The observer cannot; the suite delivers one through the connector instead.
        """
        raise LookupError("this observer only looks")

    def leftovers(self) -> set[str]:
        """What is kept there unseen: parts, uploads that were not finished. Optional."""
        return set()

    def sha256(self, path: str) -> str | None:
        """Hex digest of what a reader gets there."""
        data = self.read(path)
        return None if data is None else hashlib.sha256(data).hexdigest()


class FolderObserver(Observer):
    """Looks into the folder that a server serves.

    Args:
        root: What the destination's base is on disk.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, path: str) -> bytes | None:
        """The file's bytes."""
        try:
            return (self.root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def names(self) -> set[str]:
        """All files below the root."""
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*") if not path.is_dir()}

    def put(self, path: str, data: bytes) -> None:
        """Write a file, owned as the root is."""
        owner = self.root.stat()
        missing = [folder for folder in (self.root / path).parents if not folder.exists()]
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(data)
        for made in (*missing, self.root / path):
            shutil.chown(made, owner.st_uid, owner.st_gid)

    def wipe(self) -> None:
        """Empty the root."""
        for path in self.root.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)  # the server may be removing it too

    def sha256(self, path: str) -> str | None:
        """Digest of the file, read in blocks."""
        try:
            with (self.root / path).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None


@dataclass(frozen=True)
class Bench:
    """Everything the suite needs to know about one connector at one server.

    What is None cannot be tested here: the tests that need it are skipped, counted and printed with the
    reason that ``unavailable`` gives. An ability that a declared capability needs may only be absent
    with a reason.

    Attributes:
        spec: The connector's spec.
        options: Its options as YAML would give them, secrets in clear; must be JSON.
        observer: The second route; None only where the capability ``observable`` is not declared.
        address: Host and port of the server, for the fault proxy.
        through: ``(host, port)`` → options under which the connector talks to that address instead.
        wrong_credentials: Options (or a context manager that makes the trouble and yields options) under
            which a delivery meets a refused login.
        missing_place: The same for a place that does not exist.
        full: The same for a place that is full.
        forbidden: The same for a place where writing is forbidden.
        throttle: ``seconds`` → context manager in which the service asks to wait that long.
        sdk_exceptions: Makes an instance of every exception class that the SDK can raise.
        classify: The connector's function from such an exception to a ``DeliveryError``.
        unavailable: Reason by the name of the ability that this bench lacks.
        exempt: Reason by the name of a test that this *server* (not the connector) cannot pass.
        large: Bytes that take more than two parts or chunks.
        big: Bytes of the delivery whose peak memory is measured.
        memory_limit: Most extra memory in bytes that it may take.
        quiet: Seconds of silence after which the fault proxy takes the server's answer for complete.
        stall_deadline: Seconds that an attempt gets at a server that falls silent.
        release_time: Seconds within which ``close`` has released sockets and threads.
        expected: Error kinds by ability, where the service cannot tell them as the suite expects.
        env: Makes the connector's environment; loopback allowed by default.
        tokens: For types with a sign-in: access tokens of the account, used one after the other as the
            service rejects them. After the last one the login counts as revoked.
    """

    spec: ConnectorSpec
    options: Mapping[str, Any]
    observer: Observer | None = None
    address: tuple[str, int] | None = None
    through: Callable[[str, int], Overrides] | None = None
    wrong_credentials: Ability | None = None
    missing_place: Ability | None = None
    full: Ability | None = None
    forbidden: Ability | None = None
    throttle: Callable[[float], AbstractContextManager[Overrides]] | None = None
    sdk_exceptions: Callable[[], Iterable[BaseException]] | None = None
    classify: Callable[[Any], DeliveryError] | None = None
    unavailable: Mapping[str, str] = field(default_factory=dict)
    exempt: Mapping[str, str] = field(default_factory=dict)
    large: int = (3 << 20) + 17
    big: int = 128 << 20
    memory_limit: int = 64 << 20
    quiet: float = 0.25
    release_time: float = 8.0
    stall_deadline: float = 2.0
    expected: Mapping[str, frozenset[str]] = field(default_factory=dict)
    env: Callable[[], ConnectorEnv] = make_env
    tokens: tuple[str, ...] = field(default=(), repr=False)

    @property
    def eyes(self) -> Observer:
        """The observer, where there must be one."""
        if self.observer is None:
            raise LookupError("this bench has no observer")
        return self.observer

    @cached_property
    def default_conflict(self) -> ConflictPolicy:
        """The policy for tests that are about something else."""
        declared = self.spec.capabilities.conflicts
        for policy in (ConflictPolicy.RENAME, ConflictPolicy.OVERWRITE, ConflictPolicy.FAIL):
            if policy in declared:
                return policy
        return ConflictPolicy.SKIP if declared else ConflictPolicy.OVERWRITE

    def target(self, path: str = "inbox/photo.jpg", conflict: ConflictPolicy | None = None) -> Target:
        """A target, by the default policy unless one is given."""
        return Target(path, conflict or self.default_conflict)

    def raw_options(self, overrides: Overrides | None = None) -> dict[str, Any]:
        """The options in clear, presets and overrides included."""
        return {**self.spec.presets, **self.options, **(overrides or {})}

    def validated(self, overrides: Overrides | None = None) -> Any:
        """An instance of the connector's option model."""
        return load(self.spec.options).model_validate(self.raw_options(overrides))

    @contextmanager
    def connector(self, overrides: Overrides | None = None) -> Iterator[Connector]:
        """An open connector, closed afterwards."""
        env = with_tokens(self.env(), self.tokens)
        made = cast(Connector, load(self.spec.factory)(self.validated(overrides), env))
        with contextlib.closing(made):
            yield made

    def secrets(self, overrides: Overrides | None = None) -> set[str]:
        """The tokens, and every secret among the options, as the option model marks them."""
        found = {*self.tokens, *_secret_texts(self.validated(overrides))}
        return {text for text in found if len(text) > 3}

    @contextmanager
    def trouble(self, ability: str) -> Iterator[Overrides]:
        """Enter the ability of that name; yields options to use."""
        held: Ability | None = getattr(self, ability)
        if held is None:
            raise LookupError(f"this bench has no {ability}")
        if callable(held):
            with held() as overrides:
                yield overrides
        else:
            yield held


def load(place: str) -> Any:
    """The object at ``"module:name"``."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def _secret_texts(value: Any) -> Iterator[str]:
    from pydantic import BaseModel, SecretBytes, SecretStr

    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, SecretBytes):
        yield value.get_secret_value().decode(errors="replace")
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secret_texts(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _secret_texts(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _secret_texts(item)
