"""Upload sessions: parts of one size in any order, each once, joined at the commit.

Rules from the descriptions of ``/files/upload_sessions…`` and
https://developer.box.com/guides/uploads/chunked/: at least 20 MB; the server chooses the part size; a part is
immutable; seven days; 202 with Retry-After while parts are processed. ``parts_mismatch`` right after the last
part is what rclone meets (backend/box/upload.go).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from servers.standins.box.errors import invalid, refused
from servers.standins.box.items import Item

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@dataclass
class Stored:
    """Bytes on disk with their digest."""

    path: Path
    size: int
    sha1: str


@dataclass
class Part:
    """One part of a session; immutable."""

    id: str
    offset: int
    stored: Stored

    def shown(self) -> dict[str, Any]:
        """As the vendor shows it."""
        return {"part_id": self.id, "offset": self.offset, "size": self.stored.size, "sha1": self.stored.sha1}


@dataclass
class Session:
    """An upload session; ``file`` is set where it brings a new version."""

    id: str
    folder: Item
    name: str
    size: int
    part_size: int
    until: float
    owner: str
    file: Item | None = None
    parts: dict[int, Part] = field(default_factory=dict)
    answered_late: int = 0
    """Commits that were put off so far."""
    committing: bool = False
    result: Item | None = None

    @property
    def total_parts(self) -> int:
        """How many parts it takes."""
        return -(-self.size // self.part_size)

    def place(self, header: str) -> tuple[int, int]:
        """Offset and size that a Content-Range names.

        Raises:
            Refused: 400 where it is none, 416 where the session has no such part.
        """
        found = _RANGE.fullmatch(header.strip())
        if found is None:
            raise invalid("content-range", f"Invalid value '{header}'")
        first, last, total = map(int, found.groups())
        end = min(first + self.part_size, self.size)
        if total != self.size or first % self.part_size or first >= self.size or last != end - 1:
            raise refused("requested_range_not_satisfiable")
        return first, last - first + 1

    def add(self, offset: int, stored: Stored) -> Part:
        """Keep a part.

        Raises:
            Refused: 409 where it is there.
        """
        if offset in self.parts:
            raise refused("conflict", "The part overlaps with a part that was uploaded before")
        part = self.parts[offset] = Part(secrets.token_hex(4).upper(), offset, stored)
        return part

    def check_parts(self, listed: list[dict[str, Any]]) -> None:
        """Raises:
        Refused: 400 parts_mismatch unless the list is what was uploaded, and all of the file.
        """
        ours = {part.id: part.shown() for part in self.parts.values()}
        theirs = {part.get("part_id"): {"sha1": (ours.get(part.get("part_id", "")) or {}).get("sha1"), **part}
                  for part in listed}  # fmt: skip
        if ours != theirs or len(listed) != self.total_parts:
            raise refused("parts_mismatch")

    def digest(self) -> str:
        """SHA-1 of the parts in their order."""
        whole = hashlib.sha1()
        for part in self._ordered():
            with part.stored.path.open("rb") as file:
                while block := file.read(1 << 20):
                    whole.update(block)
        return whole.hexdigest()

    def join(self) -> Path:
        """One file of all parts, in place of the first."""
        first, *others = self._ordered()
        with first.stored.path.open("r+b") as out:
            out.seek(0, os.SEEK_END)
            for part in others:
                with part.stored.path.open("rb") as file:
                    while os.sendfile(out.fileno(), file.fileno(), None, 1 << 24):
                        pass
                part.stored.path.unlink()
        return first.stored.path

    def _ordered(self) -> list[Part]:
        return [self.parts[offset] for offset in sorted(self.parts)]

    def discard(self) -> None:
        """Remove what was uploaded."""
        if self.result is None:
            for part in self.parts.values():
                part.stored.path.unlink(missing_ok=True)
        self.parts.clear()


def digest_header(header: str) -> str:
    """``sha=BASE64`` (RFC 3230, SHA-1 only) as hex.

    Raises:
        Refused: 400.
    """
    kind, _, text = header.partition("=")
    try:
        found = base64.b64decode(text, validate=True)
    except binascii.Error:
        found = b""
    if kind.lower() != "sha" or len(found) != 20:
        raise invalid("digest", f"Invalid value '{header}'")
    return found.hex()


def stored(blocks: Iterator[bytes], folder: Path) -> Stored:
    """Write blocks to a file of their own; it is gone again where they break off."""
    path = folder / secrets.token_hex(12)
    digest, size = hashlib.sha1(), 0
    try:
        with path.open("xb", buffering=0) as out:
            for block in blocks:
                out.write(block)
                digest.update(block)
                size += len(block)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Stored(path, size, digest.hexdigest())
