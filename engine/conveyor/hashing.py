"""Digests by name: hashlib's, and with the same interface those of services that hashlib does not have."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

from conveyor.errors import ConveyorError

_WIDTH: Final = 160
"""Bits of a quickXorHash. 160 bytes further on the shift is the same again, as 11 * 160 % 160 is 0."""
_SHIFT: Final = 11
_RING: Final = 8 * _WIDTH
_PIECE: Final = 1 << 20


class Hasher(Protocol):
    """What hashlib's objects do."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Feed bytes."""

    def digest(self) -> bytes:
        """The digest of what was fed so far."""

    def hexdigest(self) -> str:
        """The same in hex."""


class QuickXor:
    """quickXorHash of OneDrive and SharePoint, which state it in base64.

    Each byte is XORed into 160 bits, 11 bits further on than the byte before, and the length into the last 64
    (https://learn.microsoft.com/onedrive/developer/code-snippets/quickxorhash). Bytes 160 apart meet the same
    bits: they are folded as big integers first, and shifted once at the end.
    """

    name = "quickxor"
    digest_size = 20

    def __init__(self, data: bytes | memoryview = b"") -> None:
        self._folded = 0
        self._size = 0
        self.update(data)

    def update(self, data: bytes | memoryview, /) -> None:
        """Feed bytes."""
        view = memoryview(data).cast("B")
        for start in range(0, len(view), _PIECE):
            piece = view[start : start + _PIECE]
            self._folded ^= _rotated(_fold(piece), 8 * (self._size % _WIDTH), _RING)
            self._size += len(piece)

    def digest(self) -> bytes:
        """The 20 bytes."""
        bits = (self._size & (1 << 64) - 1) << (_WIDTH - 64)
        for index, byte in enumerate(self._folded.to_bytes(_WIDTH, "little")):
            bits ^= _rotated(byte, _SHIFT * index % _WIDTH, _WIDTH)
        return bits.to_bytes(self.digest_size, "little")

    def hexdigest(self) -> str:
        """The same in hex."""
        return self.digest().hex()


def _fold(data: memoryview) -> int:
    """All rows of 160 bytes XORed into one."""
    folded = int.from_bytes(data, "little")
    rows = -(-len(data) // _WIDTH)
    while rows > 1:
        kept = -(-rows // 2)
        folded = (folded >> kept * _RING) ^ (folded & (1 << kept * _RING) - 1)
        rows = kept
    return folded


def _rotated(value: int, bits: int, width: int) -> int:
    value <<= bits
    return (value & (1 << width) - 1) ^ (value >> width)


class DropboxContent:
    """Dropbox's ``content_hash``: SHA-256 over the SHA-256 of each block of 4 MiB.

    Source: https://www.dropbox.com/developers/reference/content-hash. An empty file has no block.
    """

    name = "dropbox"
    digest_size = 32
    block = 4 * 1024 * 1024

    def __init__(self, data: bytes | memoryview = b"") -> None:
        self._blocks = hashlib.sha256()
        self._current = hashlib.sha256()
        self._filled = 0
        self.update(data)

    def update(self, data: bytes | memoryview, /) -> None:
        """Feed bytes."""
        view = memoryview(data).cast("B")
        while view:
            part, view = view[: self.block - self._filled], view[self.block - self._filled :]
            self._current.update(part)
            self._filled += len(part)
            if self._filled == self.block:
                self._blocks.update(self._current.digest())
                self._current, self._filled = hashlib.sha256(), 0

    def digest(self) -> bytes:
        """The 32 bytes."""
        whole = self._blocks.copy()
        if self._filled:
            whole.update(self._current.digest())
        return whole.digest()

    def hexdigest(self) -> str:
        """The same in hex, as Dropbox states it."""
        return self.digest().hex()


OWN: Final[Mapping[str, Callable[[], Hasher]]] = MappingProxyType(
    {"quickxor": QuickXor, "dropbox": DropboxContent}
)
"""The names beside hashlib's that ``Capabilities.digests`` may hold."""


def new_hasher(name: str) -> Hasher:
    """A digest by name: one of ours, or of hashlib with a fixed length. For comparing, not for security.

    Raises:
        ConveyorError: there is none.
    """
    if name in OWN:
        return OWN[name]()
    if name not in hashlib.algorithms_available or name.startswith("shake"):
        raise ConveyorError(
            f"there is no digest {name!r} here",
            cure=f"use a digest of hashlib with a fixed length, or {' or '.join(sorted(OWN))}",
        )
    return hashlib.new(name, usedforsecurity=False)
