"""Deliveries to Box's stand-in: what the behaviour tests and the planted violations share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from conveyor.contract import AttemptCancelled, ConflictPolicy, Parcel, Target
from conveyor.testing.harness import HarnessContext, SimpleMemory, make_env, make_parcel, with_tokens
from conveyor.testing.ports import wait_until
from conveyor_connectors.box.connector import BoxConnector
from conveyor_connectors.box.options import BoxOptions
from servers.box_bench import LARGE, MIB, options
from servers.deliveries import Sender, holds
from servers.standins.box import BoxStandIn

PATH = "inbox/photo.jpg"
FAIL = Target(PATH, ConflictPolicy.FAIL)
SKIP = Target(PATH, ConflictPolicy.SKIP)
RENAME = Target(PATH, ConflictPolicy.RENAME)
OVERWRITE = Target(PATH, ConflictPolicy.OVERWRITE)
POLICIES = (FAIL, SKIP, RENAME, OVERWRITE)
SCOPE = "root_readwrite"


def parcel(content: Any = LARGE, **given: Any) -> Parcel:
    """One with the digest that the type declares."""
    return make_parcel(content, digests=("sha1",), **given)


@contextmanager
def connector(
    standin: BoxStandIn,
    kind: type[BoxConnector] = BoxConnector,
    *,
    memory: SimpleMemory | None = None,
    tokens: tuple[str, ...] = (),
    **given: Any,
) -> Iterator[BoxConnector]:
    """Another worker's connector, which knows nothing but ``memory``; without ``tokens`` it signs in."""
    found = BoxOptions.model_validate({**options(standin.url), "direct_limit": MIB, **given})
    made = kind(found, with_tokens(make_env(memory=memory), tokens or (standin.sign_in(SCOPE)[0],)))
    try:
        yield made
    finally:
        made.close()


_sender = Sender[BoxStandIn](connector, FAIL)
deliver, tried = _sender.deliver, _sender.tried


def half_sent(standin: BoxStandIn, sent: Parcel, target: Target = FAIL, parts: int = 2) -> HarnessContext:
    """An attempt whose worker dies while it sends the part after ``parts``."""
    context: HarnessContext

    def die(count: int) -> None:
        context.fenced_out = count > parts * standin.part_size
        if context.fenced_out:
            context.cancel()

    context = HarnessContext(on_progress=die)
    with pytest.raises(AttemptCancelled):
        deliver(standin, sent, target, context)
    # The request that was cut is served, too, before a test counts or plants anything.
    wait_until(lambda: standin.counts()["upload_part"] == parts + 1, what="the end of the cut request")
    return context


def held(standin: BoxStandIn, sent: Parcel, path: str = PATH) -> bool:
    """Whether the account has the parcel's bytes there."""
    return holds(standin, sent, path)
