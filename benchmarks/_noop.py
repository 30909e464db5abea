"""Destination types for benchmarks: does nothing, takes its time, never answers."""

from __future__ import annotations

import threading
import time

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

ARRIVALS: list[tuple[str, float]] = []
"""Delivery id and wall clock of each arrival in this process."""


class NoOptions(Options):
    """None."""


class Noop:
    """Takes every file at once, as a connector must: progress, the fence, a receipt."""

    def __init__(self, options: NoOptions, env: ConnectorEnv) -> None:
        pass

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        ARRIVALS.append((parcel.delivery_id, time.time()))
        context.progress(parcel.size)
        context.before_commit()
        return Receipt(target.path, size=parcel.size, verified="size", path=target.path)

    def find(self, parcel: Parcel, target: Target, context: AttemptContext) -> Found:
        return Found(FoundKind.UNSURE)

    def abandon(self, state: State, context: AttemptContext) -> None:
        pass

    def check(self, context: AttemptContext) -> CheckReport:
        return CheckReport(())

    def close(self) -> None:
        pass


class Hung(Noop):
    """Takes nothing until it is told to stop."""

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        wait = threading.Event()
        while True:
            wait.wait(0.05)
            context.check()


class Slow(Noop):
    """Takes every file after 20 ms, like a server near by."""

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        time.sleep(0.02)
        return super().deliver(parcel, target, context)


class Flaky(Noop):
    """Refuses each delivery once in this process."""

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        if parcel.delivery_id not in _REFUSED:
            _REFUSED.add(parcel.delivery_id)
            raise DeliveryError(ErrorKind.TRANSIENT, "not yet")
        return super().deliver(parcel, target, context)


_REFUSED: set[str] = set()


def _spec(kind: str, name: str) -> ConnectorSpec:
    return ConnectorSpec(
        type=kind,
        summary="For benchmarks",
        factory=f"benchmarks._noop:{name}",
        options="benchmarks._noop:NoOptions",
        capabilities=Capabilities(atomic=True, create_only=True, observable=False),
    )


SPECS = (_spec("noop", "Noop"), _spec("hung", "Hung"), _spec("slow", "Slow"), _spec("flaky", "Flaky"))
