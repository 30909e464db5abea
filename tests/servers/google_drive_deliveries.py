"""Deliveries to Google Drive's stand-in: what the behaviour tests and the planted violations share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from conveyor.contract import AttemptCancelled, ConflictPolicy, DeliveryError, Parcel, Receipt, Target
from conveyor.testing.harness import HarnessContext, SimpleMemory, make_env, make_parcel, with_tokens
from conveyor_connectors.google_drive import placing
from conveyor_connectors.google_drive.connector import GoogleDriveConnector
from conveyor_connectors.google_drive.options import GoogleDriveOptions
from servers.google_drive_bench import DRIVE, LARGE, UNIT
from servers.standins.google_drive import GoogleDrive
from servers.standins.google_drive.state import FOLDER, Node
from servers.standins.kit import StandInObserver

PATH = "inbox/a.jpg"
STORED = f"Conveyor/{PATH}"
FAIL = Target(PATH, ConflictPolicy.FAIL)
SKIP = Target(PATH, ConflictPolicy.SKIP)
RENAME = Target(PATH, ConflictPolicy.RENAME)
OVERWRITE = Target(PATH, ConflictPolicy.OVERWRITE)
POLICIES = (FAIL, SKIP, RENAME, OVERWRITE)
OPTIONS = {"chunk_size": UNIT}


def at(path: str, policy: ConflictPolicy = ConflictPolicy.FAIL) -> Target:
    """A target elsewhere."""
    return Target(path, policy)


def parcel(content: Any = LARGE, **given: Any) -> Parcel:
    """One with the digest that the type declares."""
    return make_parcel(content, digests=("md5",), **given)


@contextmanager
def connector(
    standin: GoogleDrive,
    *,
    memory: SimpleMemory | None = None,
    tokens: tuple[str, ...] = (),
    kind: type[GoogleDriveConnector] = GoogleDriveConnector,
    fresh: bool = True,
    **given: Any,
) -> Iterator[GoogleDriveConnector]:
    """Another worker's connector, which knows nothing but ``memory``; in another process, where ``fresh``."""
    if fresh:
        placing._MADE.clear()
    found = GoogleDriveOptions.model_validate({"api_url": standin.url, **OPTIONS, **given})
    made = kind(found, with_tokens(make_env(memory=memory), tokens or (standin.sign_in(DRIVE)[0],)))
    try:
        yield made
    finally:
        made.close()


def deliver(
    standin: GoogleDrive,
    sent: Parcel,
    target: Target = FAIL,
    context: HarnessContext | None = None,
    **given: Any,
) -> Receipt:
    """One attempt of a worker that begins anew."""
    with connector(standin, **given) as made:
        return made.deliver(sent, target, context or HarnessContext())


def tried(
    standin: GoogleDrive, sent: Parcel, target: Target, context: HarnessContext, **given: Any
) -> Receipt | DeliveryError:
    """How one attempt ended."""
    try:
        return deliver(standin, sent, target, context, **given)
    except DeliveryError as error:
        return error


def later(context: HarnessContext) -> HarnessContext:
    """The next attempt, by another worker."""
    return HarnessContext(context.state, attempt=context.attempt + 1, fence=context.fence + 1)


def half_sent(standin: GoogleDrive, sent: Parcel, target: Target = FAIL, **given: Any) -> HarnessContext:
    """An attempt whose worker dies before the last chunk has ended."""
    context: HarnessContext

    def die() -> None:
        context.fenced_out = True

    context = HarnessContext(on_commit=die)
    with pytest.raises(AttemptCancelled, match="fenced out"):
        deliver(standin, sent, target, context, **given)
    context.fenced_out = False
    return context


def names(standin: GoogleDrive) -> list[str]:
    """All files that are in no trash; a second one of a name ends in ``#2``."""
    return sorted(StandInObserver(standin).names())


def held(standin: GoogleDrive, sent: Parcel, path: str = STORED) -> bool:
    """Whether the drive has the parcel's bytes there."""
    observer = StandInObserver(standin)
    return path in observer.names() and observer.sha256(path) == sent.digests["sha256"]


def folder(standin: GoogleDrive, name: str) -> Node:
    """The newest folder of this name, wherever it is."""
    with standin.lock:
        same = [node for node in standin.nodes.values() if node.meta["mimeType"] == FOLDER]
        return [node for node in same if node.meta["name"] == name][-1]


def files(standin: GoogleDrive) -> list[Node]:
    """All files, those in the trash too."""
    with standin.lock:
        return [node for node in standin.nodes.values() if node.content is not None]


def trash(node: Node) -> None:
    """Put it there."""
    node.meta["trashed"] = True
