"""Upload sessions (files.stone, upload_session/start): what they hold and for how long."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dropbox import files
from dropbox.content_hash import DropboxContentHasher

from servers.standins.dropbox.state import BLOCK, Content


class Session:
    """One upload. Its bytes change under ``lock`` alone: large ones do not hold up the others.

    Attributes:
        id: What the client knows.
        path: Its bytes.
        until: When it ends, by the service's clock.
        size: Bytes; of a concurrent session the end of the farthest piece.
        closed: Takes no more bytes.
        committed: Has become a file.
    """

    def __init__(self, number: str, path: Path, until: float, *, concurrent: bool = False) -> None:
        self.id = number
        self.path = path
        self.until = until
        self.concurrent = concurrent
        self.closed = self.committed = False
        self.size = 0
        self.lock = threading.Lock()
        self._pieces: dict[int, int] = {}
        self._hasher = DropboxContentHasher()

    def append(self, offset: int, content: Content) -> None:
        """Add bytes; what held them is removed."""
        self.path.touch()
        with self.path.open("r+b") as out, content.path.open("rb") as source:
            out.seek(offset)
            while block := source.read(BLOCK):
                out.write(block)
                if not self.concurrent:
                    self._hasher.update(block)
        content.path.unlink()
        self._pieces[offset] = max(content.size, self._pieces.get(offset, 0))
        self.size = max(self.size, offset + content.size)

    @property
    def complete(self) -> bool:
        """No piece is missing."""
        end = 0
        for offset, size in sorted(self._pieces.items()):
            if offset > end:
                return False
            end = max(end, offset + size)
        return True

    def content(self) -> Content:
        """All of it."""
        hasher = self._hasher.copy()
        if self.concurrent:
            with self.path.open("rb") as source:
                while block := source.read(BLOCK):
                    hasher.update(block)
        return Content(self.path, self.size, hasher.hexdigest())

    def check_offset(self, offset: int, errors: Callable[..., Exception]) -> None:
        """Raises what ``errors`` makes of a tag of UploadSessionLookupError and its value."""
        if self.concurrent and offset % BLOCK:
            raise errors("concurrent_session_invalid_offset")
        if not self.concurrent and offset != self.size:
            raise errors("incorrect_offset", files.UploadSessionOffsetError(self.size))

    def check_open(self, errors: Callable[..., Exception]) -> None:
        """As :meth:`check_offset`."""
        if self.closed:
            raise errors("closed")


def lookup(where: Any) -> Callable[[str, Any], Any]:
    """How a call words an error of looking a session up: appending by itself, finishing one level down."""
    if where is files.upload_session_append_v2:
        return files.UploadSessionAppendError
    return lambda tag, value: files.UploadSessionFinishError.lookup_failed(
        files.UploadSessionLookupError(tag, value)
    )
