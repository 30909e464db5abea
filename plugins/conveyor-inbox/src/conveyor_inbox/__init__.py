"""Payload source ``inbox``: submits the files that appear in a folder."""

from __future__ import annotations

import os
from pathlib import Path

from conveyor.hooks import PayloadSource
from conveyor.hookspecs import hookimpl
from conveyor_inbox.settings import VARIABLE, inboxes
from conveyor_inbox.watching import Watcher


@hookimpl
def conveyor_payload_sources() -> list[PayloadSource]:
    """One source for each folder of the file that ``CONVEYOR_INBOX`` names; none where it is not set."""
    place = os.environ.get(VARIABLE)
    if not place:
        return []
    return [PayloadSource(f"inbox:{inbox.name}", Watcher(inbox).run) for inbox in inboxes(Path(place))]
