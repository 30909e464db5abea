"""The engine's side of an attempt, in memory: what a connector is handed in a test."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from conveyor.contract import (
    AttemptCancelled,
    ConnectorEnv,
    DeliveryError,
    ErrorKind,
    Json,
    State,
    Token,
    TokenSource,
)
from conveyor.testing.clock import FakeClock
from conveyor.testing.parcels import make_parcel
from conveyor.testing.ports import free_port

if TYPE_CHECKING:
    from conveyor.network import Network

__all__ = [
    "FakeClock",
    "HarnessContext",
    "LogRecorder",
    "SimpleBuffers",
    "SimpleMemory",
    "SimpleTokens",
    "free_port",
    "loopback_network",
    "make_env",
    "make_parcel",
    "with_tokens",
]


class LogRecorder:
    """A ``Log`` that keeps what it is told, as ``(level, event, fields)``."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, object]]] = []

    def debug(self, event: str, **fields: object) -> None:
        """Keep a line."""
        self.lines.append(("debug", event, fields))

    def info(self, event: str, **fields: object) -> None:
        """Keep a line."""
        self.lines.append(("info", event, fields))

    def warning(self, event: str, **fields: object) -> None:
        """Keep a line."""
        self.lines.append(("warning", event, fields))


class SimpleBuffers:
    """Chunk memory from a budget, as the engine lends it."""

    def __init__(self, budget: int = 64 << 20) -> None:
        self._free = budget
        self._budget = budget
        self._changed = threading.Condition()

    @contextmanager
    def chunk(self, size: int) -> Iterator[memoryview]:
        """Borrow ``size`` bytes; blocks until the budget has them."""
        if size > self._budget:
            raise ValueError(f"{size} bytes are more than the whole budget of {self._budget}")
        with self._changed:
            while self._free < size:
                self._changed.wait()
            self._free -= size
        try:
            yield memoryview(bytearray(size))
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()


class SimpleMemory:
    """What a destination remembers, in a dictionary; values must be JSON."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, str] = {}

    def get(self, key: str) -> Json:
        """The value, or None."""
        with self._lock:
            text = self._values.get(key)
        return None if text is None else cast(Json, json.loads(text))

    def put_if_absent(self, key: str, value: Json) -> Json:
        """Store ``value`` unless there is one; returns what is stored afterwards."""
        with self._lock:
            return cast(Json, json.loads(self._values.setdefault(key, json.dumps(value))))

    def exchange(self, key: str, expected: Json, value: Json) -> Json:
        """Store ``value`` where ``expected`` is stored; returns what is stored afterwards."""
        with self._lock:
            text = self._values.get(key)
            if text is not None and json.loads(text) == json.loads(json.dumps(expected)):
                self._values[key] = text = json.dumps(value)
            return None if text is None else cast(Json, json.loads(text))

    def forget(self, key: str) -> None:
        """Remove the value."""
        with self._lock:
            self._values.pop(key, None)


def loopback_network() -> Network:
    """A network policy that allows loopback, where test servers live."""
    from conveyor.network import Network

    return Network(allow_private=("127.0.0.0/8", "::1/128"))


class SimpleTokens:
    """A ``TokenSource`` that a test fills: hands out one token until it is rejected, then the next.

    Args:
        values: The tokens. After the last one the login is revoked.
    """

    def __init__(self, *values: str) -> None:
        self._values = values
        self._generation = 1
        self.rejections = 0

    def token(self, min_life: float = 300.0) -> Token:
        """The present token."""
        if self._generation > len(self._values):
            raise DeliveryError(ErrorKind.AUTH_REVOKED, "the login was revoked")
        return Token(self._values[self._generation - 1], self._generation, time.time() + 3600)

    def rejected(self, token: Token) -> Token:
        """The next one, unless ``token`` is an earlier one already."""
        self.rejections += 1
        if token.generation == self._generation:
            self._generation += 1
        return self.token()


def make_env(
    *,
    destination: str = "test",
    network: Network | None = None,
    memory: SimpleMemory | None = None,
    log: LogRecorder | None = None,
    clock: Callable[[], float] = time.time,
    concurrency: int = 8,
    tokens: TokenSource | None = None,
) -> ConnectorEnv:
    """What the engine lends a connector, with a network that allows loopback."""
    return ConnectorEnv(
        destination=destination,
        network=network if network is not None else loopback_network(),
        buffers=SimpleBuffers(),
        memory=memory if memory is not None else SimpleMemory(),
        log=log if log is not None else LogRecorder(),
        clock=clock,
        concurrency=concurrency,
        tokens=tokens,
    )


def with_tokens(env: ConnectorEnv, values: Sequence[str]) -> ConnectorEnv:
    """The environment with a token source of these access tokens; as it is when there are none."""
    return replace(env, tokens=SimpleTokens(*values)) if values else env


class HarnessContext:
    """An ``AttemptContext`` in memory that records what the connector did.

    Args:
        state: What earlier attempts saved.
        attempt, fence: Their numbers.
        deadline: Seconds until the attempt must end.
        fenced_out: The attempt has lost its delivery: ``save`` and ``before_commit`` raise.
        cancel_at: Raise ``AttemptCancelled`` once so many bytes were reported as sent.
        on_save: Called with the whole state once it is kept.
        on_commit: Called at the beginning of ``before_commit``.
        on_progress: Called with the bytes sent so far.
        owns: Asked at ``save`` and ``before_commit``; False means fenced out.

    Attributes:
        sent: Bytes reported by ``progress``.
        commits: Calls of ``before_commit`` that were allowed.
        saves: The states after each ``save``.
        phases: Seconds by phase.
        body_sent: True once ``uploaded`` was called.
    """

    def __init__(
        self,
        state: State | None = None,
        *,
        attempt: int = 1,
        fence: int = 1,
        deadline: float = 60.0,
        fenced_out: bool = False,
        cancel_at: int | None = None,
        on_save: Callable[[State], None] | None = None,
        on_commit: Callable[[], None] | None = None,
        on_progress: Callable[[int], None] | None = None,
        owns: Callable[[], bool] | None = None,
    ) -> None:
        self.attempt = attempt
        self.fence = fence
        self.log = LogRecorder()
        self.fenced_out = fenced_out
        self.sent = 0
        self.commits = 0
        self.saves: list[State] = []
        self.later: list[State] = []
        self.phases: dict[str, float] = {}
        self.body_sent = False
        self._state: dict[str, Any] = json.loads(json.dumps(dict(state or {})))
        self._end = time.monotonic() + deadline
        self._cancel_at = cancel_at
        self._cancelled = threading.Event()
        self._on_save = on_save
        self._on_commit = on_commit
        self._on_progress = on_progress
        self._owns = owns

    @property
    def state(self) -> State:
        """What was saved so far."""
        return dict(self._state)

    def cancel(self) -> None:
        """Make the next call into the context raise ``AttemptCancelled``."""
        self._cancelled.set()

    def save(self, **state: Json) -> None:
        """Merge and keep; must be JSON, as the ledger's."""
        self._must_own("save")
        merged = {**self._state, **json.loads(json.dumps(state))}
        self._state = {key: value for key, value in merged.items() if value is not None}
        self.saves.append(self.state)
        if self._on_save is not None:
            self._on_save(self.state)

    def abandon_later(self, **state: Json) -> None:
        """Remember what is to be abandoned once more."""
        self._must_own("abandon later")
        self.later.append(json.loads(json.dumps(state)))

    def before_commit(self) -> None:
        """Raise when fenced out."""
        if self._on_commit is not None:
            self._on_commit()
        self.check()
        self._must_own("commit")
        self.commits += 1

    def progress(self, count: int) -> None:
        """Count bytes sent."""
        self.sent += count
        if self._on_progress is not None:
            self._on_progress(self.sent)
        if self._cancel_at is not None and self.sent >= self._cancel_at:
            self.cancel()
        self.check()

    def check(self) -> None:
        """Raise when cancelled or past the deadline."""
        if self._cancelled.is_set():
            raise AttemptCancelled("cancelled")
        if time.monotonic() > self._end:
            raise AttemptCancelled("past its deadline")

    def remaining(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self._end - time.monotonic())

    def uploaded(self) -> None:
        """The last body byte is out."""
        self.body_sent = True

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Time a phase."""
        return self._timed(name)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.monotonic() - started

    def _must_own(self, what: str) -> None:
        if self.fenced_out or (self._owns is not None and not self._owns()):
            raise AttemptCancelled(f"fenced out at {what}")
