"""Trying out destinations, several at a time: what ``conveyor test`` does before it prints."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from conveyor.contract import (
    AttemptCancelled,
    CheckReport,
    CheckStep,
    Connector,
    DeliveryError,
    Log,
    PreparesPlace,
)
from conveyor.delivery.cleaner import CleanupContext
from conveyor.errors import answered, undeclared

if TYPE_CHECKING:
    from conveyor.config import Destination
    from conveyor.delivery.environment import Opener
    from conveyor.installation import Installation

AT_ONCE = 8
"""Destinations tried out at a time."""

GRACE = 5.0
"""Seconds beyond the deadline after which a hanging SDK is not waited for."""


@dataclass
class Outcome:
    """How one destination stood the test.

    Attributes:
        seconds: How long it took.
        phases: Seconds by phase (``connect`` …), where the connector tells.
    """

    destination: str
    type: str
    ok: bool = False
    seconds: float = 0.0
    steps: tuple[CheckStep, ...] = ()
    phases: dict[str, float] = field(default_factory=dict)
    kind: str | None = None
    error: str | None = None
    cure: str | None = None

    def failed(self, error: str, cure: str | None = None, kind: str | None = None) -> Outcome:
        """Note what went wrong; returns itself."""
        self.ok, self.error, self.cure, self.kind = False, error, cure, kind
        return self

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        steps = [{"name": step.name, "done": step.done, "detail": step.detail} for step in self.steps]
        seconds = round(self.seconds, 4)
        phases = {name: round(value, 4) for name, value in self.phases.items()}
        return {**vars(self), "seconds": seconds, "steps": steps, "phases": phases}


class TimedContext(CleanupContext):
    """The context of a check; its phases are timed."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.phases: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.monotonic() - began


Act = Callable[[Connector, Outcome, TimedContext], None]
"""What is done with an open connector."""


class Checks:
    """Runs checks in threads.

    Args:
        installation: Whose destinations.
        seconds: The deadline of each.
    """

    def __init__(self, installation: Installation, seconds: float) -> None:
        from conveyor.delivery.environment import Opener

        self._installation = installation
        self._seconds = seconds
        self._open: Opener = Opener(installation.ledger, installation.config.registry, installation.clock)
        self._contexts: set[TimedContext] = set()
        self._begun: set[str] = set()

    def run(self, destinations: Sequence[Destination], told: Callable[[Outcome], object]) -> list[Outcome]:
        """Check all, ``told`` as they end, in this thread; returns them in the order given.

        A check that does not end in time is left behind in its thread, which ends with the process.
        """
        todo: queue.SimpleQueue[Destination] = queue.SimpleQueue()
        done: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        for destination in destinations:
            todo.put(destination)
        for number in range(min(AT_ONCE, len(destinations))):
            threading.Thread(
                target=self._work, args=(todo, done), name=f"check-{number}", daemon=True
            ).start()
        outcomes: dict[str, Outcome] = {}
        try:
            while len(outcomes) < len(destinations):
                try:
                    outcome = done.get(timeout=self._seconds + GRACE)
                except queue.Empty:
                    break
                outcomes[outcome.destination] = outcome
                told(outcome)
        finally:
            for context in list(self._contexts):
                context.stop()
        for destination in destinations:
            if destination.id not in outcomes:
                late = Outcome(destination.id, destination.type, seconds=self._seconds + GRACE)
                begun = destination.id in self._begun
                outcomes[destination.id] = late.failed(
                    "no answer in time" if begun else "not tried: others hang"
                )
                told(late)
        return [outcomes[destination.id] for destination in destinations]

    def _work(self, todo: queue.SimpleQueue[Destination], done: queue.SimpleQueue[Outcome]) -> None:
        while True:
            try:
                destination = todo.get_nowait()
            except queue.Empty:
                return
            self._begun.add(destination.id)
            done.put(self.check(destination))

    def check(self, destination: Destination) -> Outcome:
        """Check one destination."""

        def act(connector: Connector, outcome: Outcome, context: TimedContext) -> None:
            outcome.steps = answered("check", connector.check(context), CheckReport).steps

        return self._guarded(destination, act)

    def prepare(self, destination: Destination) -> Outcome:
        """Have one destination make or find its folder, where its connector does that."""

        def act(connector: Connector, outcome: Outcome, context: TimedContext) -> None:
            if isinstance(connector, PreparesPlace):
                outcome.steps = (CheckStep("prepare", True, connector.prepare(context)),)

        return self._guarded(destination, act)

    def _guarded(self, destination: Destination, act: Act) -> Outcome:
        """Open a connector, let ``act`` use it, and note how that went."""
        from conveyor import log
        from conveyor.redact import Redactor, secrets_of

        outcome = Outcome(destination.id, destination.type)
        if destination.problem is not None:
            problem = destination.problem
            return outcome.failed(str(problem), "conveyor validate shows all mistakes", "CONFIG")
        redact = Redactor(secrets_of(destination.options))
        bound = cast(Log, log.get(destination=destination.id))
        context = TimedContext({}, self._installation.clock, bound, attempt=1, seconds=self._seconds)
        self._contexts.add(context)
        began = time.monotonic()
        try:
            connector = self._open(destination)
            try:
                act(connector, outcome, context)
            except BaseException:
                with contextlib.suppress(Exception):  # the first trouble is the one to tell
                    connector.close()
                raise
            connector.close()
            outcome.ok = True
        except DeliveryError as error:
            hint = redact.message(error.hint) if error.hint else None
            outcome.failed(redact.message(error.message), hint, str(error.kind))
        except AttemptCancelled:
            outcome.failed(f"not done within {self._seconds:g} s")
        except Exception as error:
            # A connector of a third party may raise what it has not declared; the others must go on.
            outcome.failed(
                redact.message(
                    f"the connector failed unexpectedly: {undeclared(error, destination.spec.factory)}"
                )
            )
        finally:
            self._contexts.discard(context)
        outcome.seconds = time.monotonic() - began
        outcome.phases = context.phases
        return outcome
