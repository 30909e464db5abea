"""Names of our own on the server: temporary files, and how to recognise them."""

from __future__ import annotations

import re

PREFIX = ".conveyor-"
SUFFIX = ".part"

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


def temporary(folder: str, delivery_id: str, fence: int) -> str:
    """Where this attempt writes: in the target's folder, so that the rename stays on one file system.

    It carries the delivery and the fence: no two workers ever share one.
    """
    return join(folder, f"{PREFIX}{_UNSAFE.sub('_', delivery_id)[:80]}.{fence}{SUFFIX}")


def probes(temporary: str) -> tuple[str, str]:
    """The two names beside a temporary one with which a server's renaming is tried out."""
    stem = temporary.removesuffix(SUFFIX)
    return f"{stem}.a{SUFFIX}", f"{stem}.b{SUFFIX}"


def is_ours(name: str) -> bool:
    """A file name that only Conveyor gives."""
    return name.startswith(PREFIX) and name.endswith(SUFFIX)


def join(folder: str, name: str) -> str:
    """A path below ``folder``; an empty folder is the login's own, an empty name the folder itself."""
    if not folder or not name:
        return folder or name
    return folder + name if folder.endswith("/") else f"{folder}/{name}"
