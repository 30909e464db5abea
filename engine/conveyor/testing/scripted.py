"""A connector that does what a test tells it, attempt by attempt."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from conveyor.contract import (
    AttemptContext,
    Capabilities,
    CheckReport,
    ConnectorEnv,
    ConnectorSpec,
    DeliveryError,
    Found,
    FoundKind,
    Options,
    Parcel,
    Receipt,
    State,
    Target,
)

Act = Receipt | BaseException | Found | Callable[[Parcel, Target, AttemptContext], Receipt] | None
"""What one call does: return a receipt, raise an error, call a function; None succeeds."""


@dataclass
class Script:
    """What the connectors of one destination do, and a record of what they were asked.

    Attributes:
        acts: For ``deliver``, in order; when empty, it succeeds.
        finds: Answers of ``find``, in order; when empty, UNSURE.
        calls: ``(method, delivery id or "", path or "")`` as they happened.
        opened: Connectors made; ``closed``: connectors closed.
    """

    acts: deque[Act] = field(default_factory=deque)
    finds: deque[Found | DeliveryError] = field(default_factory=deque)
    abandons: deque[DeliveryError | None] = field(default_factory=deque)
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    abandoned: list[State] = field(default_factory=list)
    opened: int = 0
    closed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def then(self, *acts: Act) -> Script:
        """Add acts for the next deliveries."""
        self.acts.extend(acts)
        return self

    def deliveries(self) -> int:
        """How often ``deliver`` was called."""
        return sum(1 for call in self.calls if call[0] == "deliver")


_scripts: dict[str, Script] = {}


def script(name: str) -> Script:
    """The script of the destination with ``script: name`` in its options, made on first use."""
    return _scripts.setdefault(name, Script())


def forget_scripts(names: Iterable[str] | None = None) -> None:
    """Start over: these scripts, or all."""
    for name in list(_scripts) if names is None else names:
        _scripts.pop(name, None)


class ScriptedOptions(Options):
    """Options of the type ``scripted``."""

    script: str = "default"
    place: str = "here"


SCRIPTED_SPEC = ConnectorSpec(
    type="scripted",
    summary="Does what a test tells it",
    factory="conveyor.testing.scripted:ScriptedConnector",
    options="conveyor.testing.scripted:ScriptedOptions",
    capabilities=Capabilities(find=True, atomic=True, create_only=True, observable=False),
)


class ScriptedConnector:
    """Implements :class:`conveyor.contract.Connector`."""

    def __init__(self, options: ScriptedOptions, env: ConnectorEnv) -> None:
        self._script = script(options.script)
        with self._script.lock:
            self._script.opened += 1

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        """The next act."""
        with self._script.lock:
            self._script.calls.append(("deliver", parcel.delivery_id, target.path))
            act = self._script.acts.popleft() if self._script.acts else None
        if isinstance(act, BaseException):
            raise act
        if callable(act):
            return act(parcel, target, context)
        if isinstance(act, Receipt):
            return act
        context.progress(parcel.size)
        context.before_commit()
        return Receipt(target.path, size=parcel.size, verified="size", path=target.path)

    def find(self, parcel: Parcel, target: Target, context: AttemptContext) -> Found:
        """The next answer."""
        with self._script.lock:
            self._script.calls.append(("find", parcel.delivery_id, target.path))
            answer = self._script.finds.popleft() if self._script.finds else Found(FoundKind.UNSURE)
        if isinstance(answer, DeliveryError):
            raise answer
        return answer

    def abandon(self, state: State, context: AttemptContext) -> None:
        """Note what was abandoned."""
        with self._script.lock:
            self._script.calls.append(("abandon", "", ""))
            answer = self._script.abandons.popleft() if self._script.abandons else None
            if answer is None:
                self._script.abandoned.append(dict(state))
        if answer is not None:
            raise answer

    def check(self, context: AttemptContext) -> CheckReport:
        """Nothing to check."""
        return CheckReport(())

    def close(self) -> None:
        """Count."""
        with self._script.lock:
            self._script.closed += 1
