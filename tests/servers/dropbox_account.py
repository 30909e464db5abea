"""Deliveries to Dropbox's stand-in: what the behaviour tests and the planted violations share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from conveyor.contract import AttemptCancelled, ConflictPolicy, Parcel, Target
from conveyor.testing.harness import HarnessContext, SimpleMemory, make_env, make_parcel, with_tokens
from conveyor.testing.ports import wait_until
from conveyor_connectors.dropbox.connector import DropboxConnector
from conveyor_connectors.dropbox.options import DropboxOptions
from servers.deliveries import Sender, holds
from servers.dropbox_bench import MIB, options
from servers.standins.dropbox import DropboxStandIn
from servers.standins.messages import Seen

ONE = MIB + 4_711
"""Just enough for a session."""
PIECES = 4 * MIB + 4_711
"""A chunk of 4 MiB and a little one."""
PATH = "inbox/photo.jpg"
STORED = f"Apps/Conveyor/{PATH}"
FAIL = Target(PATH, ConflictPolicy.FAIL)
SKIP = Target(PATH, ConflictPolicy.SKIP)
RENAME = Target(PATH, ConflictPolicy.RENAME)
OVERWRITE = Target(PATH, ConflictPolicy.OVERWRITE)
POLICIES = (FAIL, SKIP, RENAME, OVERWRITE)


def parcel(content: Any = ONE, **given: Any) -> Parcel:
    """One with the digest that the type declares."""
    return make_parcel(content, digests=("dropbox",), **given)


def token(standin: DropboxStandIn) -> str:
    """Of a sign-in with all scopes."""
    return standin.sign_in(" ".join(standin.scopes))[0]


@contextmanager
def connector(
    standin: DropboxStandIn,
    kind: type[DropboxConnector] = DropboxConnector,
    *,
    memory: SimpleMemory | None = None,
    tokens: tuple[str, ...] = (),
    **given: Any,
) -> Iterator[DropboxConnector]:
    """Another worker's connector; without ``tokens`` it signs in."""
    sizes = {"direct_limit": MIB, "chunk_size": 4 * MIB}
    found = DropboxOptions.model_validate({**options(standin.url), **sizes, **given})
    made = kind(found, with_tokens(make_env(memory=memory), tokens or (token(standin),)))
    try:
        yield made
    finally:
        made.close()


_sender = Sender[DropboxStandIn](connector, FAIL)
deliver, tried = _sender.deliver, _sender.tried
all_sent = _sender.half_sent
"""An attempt whose worker dies when every byte was sent, and nothing committed."""


def half_sent(
    standin: DropboxStandIn, sent: Parcel, target: Target = FAIL, chunks: int = 1
) -> HarnessContext:
    """An attempt whose worker dies while it sends the chunk after ``chunks``."""
    context: HarnessContext

    def die(count: int) -> None:
        if count > chunks * 4 * MIB:
            context.cancel()

    context = HarnessContext(on_progress=die)
    with pytest.raises(AttemptCancelled):
        deliver(standin, sent, target, context)
    # The request that was cut is served, too, before a test counts or plants anything.
    wait_until(lambda: standin.counts()["session_append"] == chunks, what="the end of the cut request")
    return context


def held(standin: DropboxStandIn, sent: Parcel, path: str = STORED) -> bool:
    """Whether the account has the parcel's bytes there."""
    return holds(standin, sent, path)


def argument(seen: Seen) -> dict[str, Any]:
    """What a request told the call it was for."""
    text = seen.headers.get("Dropbox-API-Arg") or seen.body.decode()
    return dict(json.loads(text))
