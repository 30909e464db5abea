"""Deliveries to a stand-in: what the behaviour tests of all types with one share.

A type's own module says how its connector is made, and hands that to :class:`Sender`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

import pytest

from conveyor.contract import (
    AttemptCancelled,
    ConflictPolicy,
    Connector,
    DeliveryError,
    Parcel,
    Receipt,
    Target,
)
from conveyor.testing.harness import HarnessContext
from servers.standins.kit import StandIn, StandInObserver

Place = TypeVar("Place", bound=StandIn)


def at(path: str, policy: ConflictPolicy = ConflictPolicy.FAIL) -> Target:
    """A target elsewhere."""
    return Target(path, policy)


def later(context: HarnessContext) -> HarnessContext:
    """The next attempt, by another worker."""
    return HarnessContext(context.state, attempt=context.attempt + 1, fence=context.fence + 1)


def names(standin: StandIn) -> list[str]:
    """All files that a reader sees."""
    return sorted(StandInObserver(standin).names())


def holds(standin: StandIn, sent: Parcel, path: str) -> bool:
    """Whether the account has the parcel's bytes there."""
    observer = StandInObserver(standin)
    return path in observer.names() and observer.sha256(path) == sent.digests["sha256"]


class Sender(Generic[Place]):
    """Attempts of workers that begin anew.

    Args:
        connector: Makes a connector at a stand-in, for the length of a block.
        target: Where to, unless said.
    """

    def __init__(self, connector: Callable[..., AbstractContextManager[Connector]], target: Target) -> None:
        self._connector = connector
        self._target = target

    def deliver(
        self,
        standin: Place,
        sent: Parcel,
        target: Target | None = None,
        context: HarnessContext | None = None,
        **given: Any,
    ) -> Receipt:
        """One attempt."""
        with self._connector(standin, **given) as made:
            return made.deliver(sent, target or self._target, context or HarnessContext())

    def tried(
        self, standin: Place, sent: Parcel, target: Target, context: HarnessContext, **given: Any
    ) -> Receipt | DeliveryError:
        """How one attempt ended."""
        try:
            return self.deliver(standin, sent, target, context, **given)
        except DeliveryError as error:
            return error

    def half_sent(
        self, standin: Place, sent: Parcel, target: Target | None = None, **given: Any
    ) -> HarnessContext:
        """An attempt whose worker dies before the last piece has ended."""
        context: HarnessContext

        def die() -> None:
            context.fenced_out = True

        context = HarnessContext(on_commit=die)
        with pytest.raises(AttemptCancelled, match="fenced out"):
            self.deliver(standin, sent, target, context, **given)
        context.fenced_out = False
        return context
