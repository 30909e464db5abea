"""The destinations of the simulation: a store with atomic, create-only commits, and a webhook without any.

Each request is a step before and after, so that a worker may die or freeze between what the destination did
and what it hears of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from conveyor.contract import (
    AttemptContext,
    Capabilities,
    CheckReport,
    ConnectorEnv,
    ConnectorSpec,
    DeliveryError,
    ErrorKind,
    Found,
    FoundKind,
    Options,
    Parcel,
    Receipt,
    State,
    Target,
)
from conveyor.testing.memory_store import MemoryStore, StoreFault

if TYPE_CHECKING:
    from simulation.fibers import Hub

Trouble = Callable[[], None]


def _fault(status: int, code: str, retry_after: float | None = None) -> Trouble:
    def act() -> None:
        raise StoreFault(status, code, retry_after=retry_after)

    return act


def _cut() -> None:
    raise ConnectionResetError("cut")


TROUBLES: dict[str, Trouble] = {
    "cut": _cut,
    "server error": _fault(500, "Broken"),
    "throttled": _fault(429, "SlowDown", 3.0),
    "throttled, no delay": _fault(503, "SlowDown"),
    "token": _fault(401, "BadToken"),
    "space": _fault(404, "NoSuchSpace"),
    "full": _fault(507, "Full"),
}


class Trials:
    """What the next requests meet: before they are served, or instead of their answer."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.waiting: list[tuple[str, bool]] = []

    def add(self, trouble: str, *, after: bool, count: int) -> None:
        self.waiting += [(trouble, after)] * count

    def __call__(self, serve: Callable[[], Any]) -> Any:
        self.hub.touch()
        trouble = self.waiting.pop(0) if self.waiting else None
        if trouble is not None and not trouble[1]:
            TROUBLES[trouble[0]]()
        answer = serve()
        self.hub.touch()
        if trouble is not None:
            _cut()
        return answer


class SteppedStore(MemoryStore):
    """A memory store whose requests are steps."""

    def __init__(self, hub: Hub) -> None:
        super().__init__()
        self.trials = Trials(hub)

    def begin(self, upload: str) -> None:
        self.trials(lambda: super(SteppedStore, self).begin(upload))

    def received(self, upload: str) -> int:
        return int(self.trials(lambda: super(SteppedStore, self).received(upload)))

    def append(self, upload: str, offset: int, data: bytes) -> int:
        return int(self.trials(lambda: super(SteppedStore, self).append(upload, offset, data)))

    def commit(self, upload: str, path: str, *, sha256: str | None, delivery_id: str, replace: bool) -> Any:
        return self.trials(
            lambda: super(SteppedStore, self).commit(
                upload, path, sha256=sha256, delivery_id=delivery_id, replace=replace
            )
        )

    def head(self, path: str) -> Any:
        return self.trials(lambda: super(SteppedStore, self).head(path))

    def stored(self, path: str) -> Any:
        """What stands there, by the second route."""
        return super().head(path)

    def abort(self, upload: str) -> None:
        self.trials(lambda: super(SteppedStore, self).abort(upload))


class Hooks:
    """What a webhook's receiver has accepted."""

    def __init__(self, hub: Hub) -> None:
        self.trials = Trials(hub)
        self.posts: Counter[str] = Counter()

    def accept(self, delivery_id: str) -> None:
        self.posts[delivery_id] += 1


_hooks: dict[str, Hooks] = {}


def install(name: str, hooks: Hooks) -> None:
    """What connectors with ``name`` in their options post to."""
    _hooks[name] = hooks


class HookOptions(Options):
    """Options of the type ``hook``."""

    name: str = "hook"


HOOK_SPEC = ConnectorSpec(
    type="hook",
    summary="A webhook of the simulation",
    factory="simulation.places:HookConnector",
    options="simulation.places:HookOptions",
    capabilities=Capabilities(observable=False),
)


class HookConnector:
    """Sends again under the same id where it does not know: all that a webhook allows."""

    def __init__(self, options: HookOptions, env: ConnectorEnv) -> None:
        self._hooks = _hooks[options.name]

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        context.progress(parcel.size)
        context.before_commit()
        try:
            self._hooks.trials(lambda: self._hooks.accept(parcel.delivery_id))
        except StoreFault as fault:
            kind = ErrorKind.THROTTLED if fault.status in (429, 503) else ErrorKind.TRANSIENT
            raise DeliveryError(kind, str(fault), retry_after=fault.retry_after) from None
        except OSError:
            raise DeliveryError(ErrorKind.UNKNOWN_OUTCOME, "no answer") from None
        return Receipt(parcel.delivery_id, size=parcel.size)

    def find(self, parcel: Parcel, target: Target, context: AttemptContext) -> Found:
        return Found(FoundKind.UNSURE)

    def abandon(self, state: State, context: AttemptContext) -> None:
        """Nothing is left behind."""

    def check(self, context: AttemptContext) -> CheckReport:
        return CheckReport(())

    def close(self) -> None:
        """Nothing is open."""
