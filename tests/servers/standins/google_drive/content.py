"""Content on disk, digested while it arrives: what is finished is neither read nor copied again."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from servers.standins.google_drive.errors import error
from servers.standins.messages import Refused, Spooled


def too_large() -> Refused:
    """More than the method takes; no page of Google's has the wording."""
    return error(413, "uploadTooLarge", "The upload is too large.")


class Growing:
    """Bytes that come in order.

    A checkpoint is taken at each multiple of ``unit``: what comes after the last one is lost when the sender
    goes away, as at Google, which keeps whole units of 256 KiB.

    Attributes:
        path: Where the bytes lie.
        size: Bytes written.
        safe: Bytes up to the last checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / secrets.token_hex(8)
        self.path.touch()
        self.size = 0
        self._digests: tuple[Any, ...] = (hashlib.sha256(), hashlib.sha1(), hashlib.md5())
        self.keep()

    def opened(self) -> BinaryIO:
        """To be written by :meth:`write` alone."""
        return self.path.open("ab", buffering=0)  # type: ignore[return-value]

    def write(self, out: BinaryIO, data: bytes, unit: int) -> None:
        """Append, with a checkpoint at each unit."""
        view = memoryview(data)
        while view:
            room = unit - self.size % unit
            piece, view = view[:room], view[room:]
            out.write(piece)
            for digest in self._digests:
                digest.update(piece)
            self.size += len(piece)
            if not self.size % unit:
                self.keep()

    def keep(self) -> None:
        """A checkpoint."""
        self.safe, self._copies = self.size, tuple(digest.copy() for digest in self._digests)

    def roll_back(self) -> None:
        """To the last checkpoint."""
        if self.size != self.safe:
            os.truncate(self.path, self.safe)
            self.size, self._digests = self.safe, tuple(copy.copy() for copy in self._copies)

    def discard(self) -> None:
        """Remove the bytes."""
        self.path.unlink(missing_ok=True)

    def spooled(self) -> Spooled:
        """What has arrived, with its digests."""
        sha256, sha1, md5 = (digest.hexdigest() for digest in self._digests)
        return Spooled(self.path, self.size, sha256, sha1, md5)


def received(folder: Path, blocks: Iterator[bytes], limit: int | None = None) -> Spooled:
    """A body of one request.

    Raises:
        Refused: 413, when it is longer than ``limit``; nothing of it stays.
    """
    growing = Growing(folder)
    try:
        with growing.opened() as out:
            for block in blocks:
                growing.write(out, block, 1 << 30)
                if limit is not None and growing.size > limit:
                    raise too_large()
    except BaseException:
        growing.discard()
        raise
    return growing.spooled()
