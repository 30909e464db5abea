"""Reading what servers answer: features, facts of files (RFC 3659), digests."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

_FOLDERS = ("dir", "cdir", "pdir")
_SHA256 = re.compile(r"\b[0-9a-fA-F]{64}\b")


@dataclass(frozen=True, slots=True)
class Entry:
    """What a server says of a file; None where it does not say."""

    size: int | None = None
    is_folder: bool = False
    changed: float | None = None
    """Seconds since the epoch."""


def features(reply: str) -> dict[str, str]:
    """The answer to FEAT (RFC 2389): parameters by name in capitals."""
    found: dict[str, str] = {}
    for line in reply.splitlines()[1:]:
        if line[:3].isdigit():
            continue
        name, _, parameters = line.strip().partition(" ")
        found[name.upper()] = parameters.strip()
    return found


def entry(line: str) -> tuple[str, Entry]:
    """A name and its facts: ``type=file;size=12;modify=20261122115249; name``."""
    facts, _, name = line.strip("\r\n").lstrip(" ").partition(" ")
    known: dict[str, str] = {}
    for fact in facts.split(";"):
        key, _, value = fact.partition("=")
        known[key.lower()] = value
    return name, Entry(
        size=size_from(known.get("size", "")),
        is_folder=known.get("type", "").lower() in _FOLDERS,
        changed=moment(known.get("modify", "")),
    )


def entry_of_reply(reply: str) -> Entry | None:
    """The answer to MLST: its facts stand on the line that begins with a space."""
    for line in reply.splitlines()[1:]:
        if line.startswith(" ") or "=" in line.partition(" ")[0]:
            return entry(line)[1]
    return None


def size_from(text: str) -> int | None:
    """Bytes, of the digits that a server answers; None of anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def moment(text: str) -> float | None:
    """``YYYYMMDDHHMMSS[.sss]``, always UTC (RFC 3659, 2.3), as seconds since the epoch."""
    try:
        return float(calendar.timegm(time.strptime(text[:14], "%Y%m%d%H%M%S")))
    except ValueError:
        return None


def as_moment(seconds: float) -> str:
    """The opposite of :func:`moment`."""
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(seconds))


def sha256(reply: str) -> str | None:
    """The digest in an answer to HASH or XSHA256; None when there is none."""
    found = _SHA256.search(reply)
    return found.group().lower() if found else None


def lines(data: bytes, encoding: str) -> Iterator[str]:
    """The whole lines of a listing that may have been cut off."""
    for line in data.split(b"\n")[:-1]:
        yield line.rstrip(b"\r").decode(encoding, "surrogateescape")
