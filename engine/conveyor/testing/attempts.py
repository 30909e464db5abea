"""One attempt as the engine makes it: look first when told to, deliver, and let only known errors out."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from conveyor.contract import (
    AttemptCancelled,
    ConflictPolicy,
    Connector,
    DeliveryError,
    ErrorKind,
    FoundKind,
    Parcel,
    Receipt,
    State,
    Target,
)
from conveyor.testing.bench import Bench, Overrides
from conveyor.testing.harness import HarnessContext
from conveyor.testing.suite.promises import broken

_ENGINES = frozenset({ErrorKind.WORKER_LOST, ErrorKind.EXPIRED})


@dataclass(frozen=True)
class Attempt:
    """How an attempt ended: with a receipt, an error, or cancelled."""

    context: HarnessContext
    receipt: Receipt | None = None
    error: DeliveryError | None = None
    cancelled: bool = False

    @property
    def kind(self) -> ErrorKind | None:
        """The error's kind, if it ended with one."""
        return None if self.error is None else self.error.kind

    @property
    def state(self) -> State:
        """What the delivery remembers afterwards."""
        return self.context.state

    def describe(self) -> str:
        """For failure messages."""
        if self.receipt is not None:
            return f"it succeeded with {self.receipt}"
        return "it was cancelled" if self.cancelled else f"it ended with {self.error!r}"


def attempt(
    bench: Bench,
    parcel: Parcel,
    target: Target,
    *,
    context: HarnessContext | None = None,
    look_first: bool = False,
    overrides: Overrides | None = None,
    connector: Connector | None = None,
) -> Attempt:
    """Make one attempt with a fresh connector (or the given one), as the engine would.

    Args:
        bench: Where to.
        parcel: What.
        target: Under which name.
        context: The engine's side; a plain one unless given.
        look_first: The previous attempt ended lost or unknown: ask ``find`` before delivering.
        overrides: Options that replace the bench's.
        connector: Use this open connector.
    """
    context = context or HarnessContext()
    if connector is not None:
        result = _run(bench, connector, parcel, target, context, look_first)
    else:
        with bench.connector(overrides) as made:
            result = _run(bench, made, parcel, target, context, look_first)
    _must_keep_secrets(bench, result, overrides)
    return result


def retry(
    bench: Bench, parcel: Parcel, target: Target, before: Attempt, *, overrides: Overrides | None = None
) -> Attempt:
    """The attempt after ``before``, with its saved state and the next fence, as another worker makes it."""
    lost = before.receipt is not None or before.cancelled or before.kind is ErrorKind.UNKNOWN_OUTCOME
    context = HarnessContext(before.state, attempt=before.context.attempt + 1, fence=before.context.fence + 1)
    return attempt(bench, parcel, target, context=context, look_first=lost, overrides=overrides)


def _run(
    bench: Bench,
    connector: Connector,
    parcel: Parcel,
    target: Target,
    context: HarnessContext,
    look_first: bool,
) -> Attempt:
    try:
        if look_first and bench.spec.capabilities.find:
            found = connector.find(parcel, target, context)
            if found.kind in _settling(target):
                if found.receipt is None:
                    broken("find", f"it answered {found.kind} without a receipt")
                return Attempt(context, receipt=found.receipt)
        return Attempt(context, receipt=connector.deliver(parcel, target, context))
    except DeliveryError as error:
        if error.kind in _ENGINES:
            broken("errors", f"it raised {error.kind}, which is the engine's own")
        return Attempt(context, error=error)
    except AttemptCancelled:
        return Attempt(context, cancelled=True)
    except Exception as error:
        broken("errors", f"{type(error).__module__}.{type(error).__qualname__} left it: {error!r}", error)


def _settling(target: Target) -> set[FoundKind]:
    if target.conflict in (ConflictPolicy.OVERWRITE, ConflictPolicy.SKIP):
        return {FoundKind.MINE, FoundKind.SAME_BYTES}
    return {FoundKind.MINE}


def _must_keep_secrets(bench: Bench, result: Attempt, overrides: Overrides | None) -> None:
    places = {"the log": repr(result.context.log.lines)}
    if result.receipt is not None:
        places["the receipt"] = repr(dataclasses.asdict(result.receipt))
    if result.error is not None:
        error = result.error
        shown = (error.message, error.hint, error.code, error.response, repr(error), error.args)
        places["the error"] = repr(shown)
        places["the error's cause"] = repr((error.__cause__, vars(error)))
    for secret in bench.secrets(overrides):
        for place, text in places.items():
            if secret in text:
                broken("secrets", f"{place} of this attempt holds one of the options' secrets")
