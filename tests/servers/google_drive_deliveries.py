"""Deliveries to Google Drive's stand-in: what the behaviour tests and the planted violations share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from conveyor.contract import ConflictPolicy, Parcel, Target
from conveyor.testing.harness import SimpleMemory, make_env, make_parcel, with_tokens
from conveyor_connectors.google_drive import placing
from conveyor_connectors.google_drive.connector import GoogleDriveConnector
from conveyor_connectors.google_drive.options import GoogleDriveOptions
from servers.deliveries import Sender, holds
from servers.google_drive_bench import DRIVE, LARGE, UNIT
from servers.standins.google_drive import GoogleDrive
from servers.standins.google_drive.state import FOLDER, Node

PATH = "inbox/a.jpg"
STORED = f"Conveyor/{PATH}"
FAIL = Target(PATH, ConflictPolicy.FAIL)
SKIP = Target(PATH, ConflictPolicy.SKIP)
RENAME = Target(PATH, ConflictPolicy.RENAME)
OVERWRITE = Target(PATH, ConflictPolicy.OVERWRITE)
POLICIES = (FAIL, SKIP, RENAME, OVERWRITE)
OPTIONS = {"chunk_size": UNIT}


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


_sender = Sender[GoogleDrive](connector, FAIL)
deliver, tried, half_sent = _sender.deliver, _sender.tried, _sender.half_sent


def held(standin: GoogleDrive, sent: Parcel, path: str = STORED) -> bool:
    """Whether the drive has the parcel's bytes there."""
    return holds(standin, sent, path)


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
