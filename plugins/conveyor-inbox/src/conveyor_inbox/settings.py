"""Which folders are watched: a TOML file, since hooks have no place in Conveyor's own config."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VARIABLE = "CONVEYOR_INBOX"
FIELDS = {"folder", "to", "tags", "settle", "poll"}


@dataclass(frozen=True, slots=True)
class Inbox:
    """One watched folder.

    Attributes:
        name: Unique, and the same on all machines: it is part of each file's idempotency key.
        folder: Must exist.
        to: Destination ids; None means the configured ``default_destinations``.
        tags: Of each job.
        settle: Seconds for which a file must not change before it is taken.
        poll: Seconds between two looks.
    """

    name: str
    folder: Path
    to: tuple[str, ...] | None = None
    tags: tuple[str, ...] = ()
    settle: float = 10.0
    poll: float = 2.0


def inboxes(place: Path) -> list[Inbox]:
    """Read the file; relative folders are relative to it.

    Raises:
        ValueError: It cannot be read, or something in it is wrong; the message names the place and the cure.
    """
    try:
        document = tomllib.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{VARIABLE} names {place}, which cannot be read as TOML: {error}") from None
    found = [_inbox(place, name, table) for name, table in document.items()]
    folders = [inbox.folder.resolve() for inbox in found]
    if not found or len(set(folders)) != len(folders):
        raise ValueError(f"{place}: one table for each folder, and no folder twice")
    return found


def _inbox(place: Path, name: str, table: Any) -> Inbox:
    where = f"{place}: [{name}]"
    if not isinstance(table, Mapping) or not table.get("folder") or not isinstance(table["folder"], str):
        raise ValueError(f"{where}: folder is missing; for instance folder = '/srv/inbox'")
    if unknown := set(table) - FIELDS:
        raise ValueError(f"{where}: {min(unknown)!r} is unknown; there are {', '.join(sorted(FIELDS))}")
    return Inbox(
        name,
        place.parent / table["folder"],
        _words(where, "to", table["to"]) if "to" in table else None,
        _words(where, "tags", table.get("tags", [])),
        _seconds(where, "settle", table.get("settle", 10.0), 0.0),
        _seconds(where, "poll", table.get("poll", 2.0), 0.1),
    )


def _words(where: str, field: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) and word for word in value):
        raise ValueError(f"{where}: {field} must be a list of words, not {value!r}")
    if field == "to" and not value:
        raise ValueError(f"{where}: to is empty; leave it out for the default destinations")
    return tuple(value)


def _seconds(where: str, field: str, value: Any, least: float) -> float:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    if not known or not math.isfinite(value) or value < least:
        raise ValueError(f"{where}: {field} must be seconds, at least {least:g}, not {value!r}")
    return float(value)
