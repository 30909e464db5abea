"""Deliveries to OneDrive's stand-in: what the behaviour tests and the planted violations share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from conveyor.contract import (
    AttemptCancelled,
    ConflictPolicy,
    ConnectorEnv,
    DeliveryError,
    Parcel,
    Receipt,
    Target,
)
from conveyor.testing.harness import HarnessContext, SimpleMemory, make_env, make_parcel, with_tokens
from conveyor_connectors.onedrive.connector import OneDriveConnector
from conveyor_connectors.onedrive.options import OneDriveOptions
from servers.onedrive_bench import LARGE, SCOPES, UNIT, options
from servers.standins.kit import StandInObserver
from servers.standins.onedrive import OneDrive

PATH = "inbox/photo.jpg"
STORED = f"Conveyor/{PATH}"
FAIL = Target(PATH, ConflictPolicy.FAIL)
SKIP = Target(PATH, ConflictPolicy.SKIP)
RENAME = Target(PATH, ConflictPolicy.RENAME)
OVERWRITE = Target(PATH, ConflictPolicy.OVERWRITE)
POLICIES = (FAIL, SKIP, RENAME, OVERWRITE)


def at(path: str, policy: ConflictPolicy = ConflictPolicy.FAIL) -> Target:
    """A target elsewhere."""
    return Target(path, policy)


def parcel(content: Any = LARGE, **given: Any) -> Parcel:
    """One with the digest that the type declares."""
    return make_parcel(content, digests=("quickxor",), **given)


def environment(
    standin: OneDrive, *, memory: SimpleMemory | None = None, tokens: tuple[str, ...] = ()
) -> ConnectorEnv:
    """With a fresh sign-in unless tokens are given."""
    return with_tokens(make_env(memory=memory), tokens or (standin.sign_in(SCOPES)[0],))


@contextmanager
def connector(
    standin: OneDrive,
    kind: type[OneDriveConnector] = OneDriveConnector,
    *,
    memory: SimpleMemory | None = None,
    tokens: tuple[str, ...] = (),
    **given: Any,
) -> Iterator[OneDriveConnector]:
    """A connector that knows nothing but ``memory``: another worker's."""
    found = OneDriveOptions.model_validate({**options(standin.url), "fragment_size": UNIT, **given})
    made = kind(found, environment(standin, memory=memory, tokens=tokens))
    try:
        yield made
    finally:
        made.close()


def deliver(
    standin: OneDrive,
    sent: Parcel,
    target: Target = FAIL,
    context: HarnessContext | None = None,
    **given: Any,
) -> Receipt:
    """One attempt of a worker that begins anew."""
    with connector(standin, **given) as made:
        return made.deliver(sent, target, context or HarnessContext())


def tried(
    standin: OneDrive, sent: Parcel, target: Target, context: HarnessContext
) -> Receipt | DeliveryError:
    """How one attempt ended."""
    try:
        return deliver(standin, sent, target, context)
    except DeliveryError as error:
        return error


def later(context: HarnessContext) -> HarnessContext:
    """The next attempt, by another worker."""
    return HarnessContext(context.state, attempt=context.attempt + 1, fence=context.fence + 1)


def half_sent(standin: OneDrive, sent: Parcel, target: Target = FAIL) -> HarnessContext:
    """An attempt whose worker dies before the last fragment has ended."""
    context: HarnessContext

    def die() -> None:
        context.fenced_out = True

    context = HarnessContext(on_commit=die)
    with pytest.raises(AttemptCancelled, match="fenced out"):
        deliver(standin, sent, target, context)
    context.fenced_out = False
    return context


def held(standin: OneDrive, sent: Parcel, path: str = STORED) -> bool:
    """Whether the drive has the parcel's bytes there."""
    observer = StandInObserver(standin)
    return path in observer.names() and observer.sha256(path) == sent.digests["sha256"]


def names(standin: OneDrive) -> list[str]:
    """All files."""
    return sorted(StandInObserver(standin).names())
