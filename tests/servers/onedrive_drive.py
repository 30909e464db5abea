"""Deliveries to OneDrive's stand-in: what the behaviour tests and the planted violations share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from conveyor.contract import (
    ConflictPolicy,
    ConnectorEnv,
    Parcel,
    Target,
)
from conveyor.testing.harness import SimpleMemory, make_env, make_parcel, with_tokens
from conveyor_connectors.onedrive.connector import OneDriveConnector
from conveyor_connectors.onedrive.options import OneDriveOptions
from servers.deliveries import Sender, holds
from servers.onedrive_bench import LARGE, SCOPES, UNIT, options
from servers.standins.onedrive import OneDrive

PATH = "inbox/photo.jpg"
STORED = f"Conveyor/{PATH}"
FAIL = Target(PATH, ConflictPolicy.FAIL)
SKIP = Target(PATH, ConflictPolicy.SKIP)
RENAME = Target(PATH, ConflictPolicy.RENAME)
OVERWRITE = Target(PATH, ConflictPolicy.OVERWRITE)
POLICIES = (FAIL, SKIP, RENAME, OVERWRITE)


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


_sender = Sender[OneDrive](connector, FAIL)
deliver, tried, half_sent = _sender.deliver, _sender.tried, _sender.half_sent


def held(standin: OneDrive, sent: Parcel, path: str = STORED) -> bool:
    """Whether the drive has the parcel's bytes there."""
    return holds(standin, sent, path)
