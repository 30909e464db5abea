"""Bytes to send: given ones, or a pattern of any length that needs no memory."""

from __future__ import annotations

import functools
import io
import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Protocol

from conveyor.hashing import new_hasher

MIB = 1 << 20
_PERIOD = MIB + 4099


class Content(Hashable, Protocol):
    """What a payload holds."""

    @property
    def size(self) -> int:
        """Bytes."""

    def slice(self, start: int, count: int) -> bytes:
        """At most ``count`` bytes from ``start``; empty only at the end."""


@dataclass(frozen=True, slots=True)
class Literal:
    """The given bytes."""

    data: bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)

    def slice(self, start: int, count: int) -> bytes:
        """At most ``count`` bytes from ``start``."""
        return self.data[start : start + count]


@functools.lru_cache(maxsize=4)
def _noise(seed: int) -> bytes:
    return random.Random(seed).randbytes(_PERIOD)


@dataclass(frozen=True, slots=True)
class Pattern:
    """``size`` pseudo-random bytes, the same for the same seed; no two of its parts are alike."""

    size: int
    seed: int = 1

    def slice(self, start: int, count: int) -> bytes:
        """At most ``count`` bytes from ``start``, never across a multiple of the pattern's period."""
        count = min(count, self.size - start)
        if count <= 0:
            return b""
        noise = _noise(self.seed)
        turn, offset = divmod(start, _PERIOD)
        offset = (offset + turn * 7919) % _PERIOD
        return noise[offset : offset + min(count, _PERIOD - start % _PERIOD)]


def content_of(what: bytes | int | Content) -> Content:
    """Bytes as they are; an integer as that many bytes of pattern."""
    if isinstance(what, bytes):
        return Literal(what)
    return Pattern(what) if isinstance(what, int) else what


def read_all(content: Content) -> bytes:
    """The whole content in memory."""
    return SourceStream(content).readall()


@functools.lru_cache(maxsize=32)
def digests_of(content: Content, names: frozenset[str]) -> dict[str, str]:
    """Hex digests by name, in one pass."""
    hashes = {name: new_hasher(name) for name in names}
    stream = SourceStream(content)
    while block := stream.read(MIB):
        for value in hashes.values():
            value.update(block)
    return {name: value.hexdigest() for name, value in hashes.items()}


class SourceStream(io.RawIOBase):
    """A seekable stream over a content, with the faults that a source can have.

    Args:
        content: What to read.
        ends_at: The stream ends there, short of the content's size.
        raises_at: Reading past this byte raises ``error``.
        error: Makes the exception that ``raises_at`` raises.
        on_read: Called before every read with the offset it starts at.
    """

    def __init__(
        self,
        content: Content,
        *,
        ends_at: int | None = None,
        raises_at: int | None = None,
        error: Callable[[], BaseException] = lambda: OSError("the source cannot be read"),
        on_read: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__()
        self._content = content
        self._end = content.size if ends_at is None else min(ends_at, content.size)
        self._raises_at = raises_at
        self._error = error
        self._on_read = on_read
        self._at = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; the offset from the start is returned."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._end}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """The offset from the start."""
        return self._at

    def readinto(self, buffer: memoryview | bytearray) -> int:  # type: ignore[override]
        """Fill ``buffer``; fewer bytes only at the end or before a fault."""
        if self._on_read is not None:
            self._on_read(self._at)
        limit = self._end if self._raises_at is None else min(self._end, self._raises_at)
        if self._raises_at is not None and self._at >= self._raises_at:
            raise self._error()
        wanted = min(len(buffer), max(0, limit - self._at))
        done = 0
        while done < wanted:
            piece = self._content.slice(self._at, wanted - done)
            buffer[done : done + len(piece)] = piece
            done += len(piece)
            self._at += len(piece)
        return done
