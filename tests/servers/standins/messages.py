"""Requests and answers as a stand-in's routes see them."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qsl

BLOCK = 256 * 1024
KEPT = 64 * 1024
"""Bytes of a request's body that the log keeps."""


@dataclass
class Answer:
    """What goes back.

    Attributes:
        status: HTTP status.
        document: Sent as JSON; None sends ``body``.
        headers: Beside Content-Type and Content-Length.
        body: Sent as it is.
        file: Its bytes are sent, in place of ``body``.
        media_type: Of document, body or file; None sends no Content-Type.
    """

    status: int = 200
    document: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    file: Path | None = None
    media_type: str | None = "application/json"


class Refused(Exception):
    """The answer to a request that breaks a rule."""

    def __init__(self, status: int, document: Any = None, **headers: str) -> None:
        super().__init__(status)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answer = Answer(status, document, named)


class Cut(Exception):
    """The connection closes here, without an answer."""


@dataclass(frozen=True)
class Seen:
    """A request in the log; ``status`` is None where no answer was sent."""

    route: str | None
    method: str
    path: str
    query: Mapping[str, str]
    headers: Message = field(repr=False)
    size: int
    body: bytes = field(repr=False)
    status: int | None


@dataclass
class Spooled:
    """A body on disk, with its digests."""

    path: Path
    size: int
    sha256: str
    sha1: str
    md5: str


class Body:
    """A request's body: read once, counted, with either kind of framing."""

    def __init__(self, source: BinaryIO, headers: Message, limit: int | None) -> None:
        self._source = source
        self._chunked = "chunked" in (headers.get("Transfer-Encoding") or "").lower()
        self.length = None if self._chunked else int(headers.get("Content-Length") or 0)
        self._left = self.length or 0
        self._ended = not self._chunked and not self._left
        self._limit = limit
        self.kept = b""
        self.read_bytes = 0

    def blocks(self) -> Iterator[bytes]:
        """The body, block by block.

        Raises:
            Cut: The sender went away, or a fault cuts here.
        """
        while not self._ended:
            wanted = BLOCK
            if self._limit is not None:
                wanted = min(wanted, self._limit - self.read_bytes)
                if wanted <= 0:
                    raise Cut
            data = self._next(wanted)
            if data:
                self.read_bytes += len(data)
                self.kept += data[: KEPT - len(self.kept)]
                yield data
        if self._limit is not None:
            raise Cut

    def _next(self, wanted: int) -> bytes:
        if self._chunked and not self._left:
            self._left = int(self._source.readline(1024).split(b";")[0] or b"0", 16)
            if not self._left:
                while self._source.readline(1024).strip():
                    pass
                self._ended = True
                return b""
        data = self._source.read1(min(wanted, self._left))  # type: ignore[attr-defined]
        if not data:
            raise Cut
        self._left -= len(data)
        if not self._left:
            if self._chunked:
                self._source.readline(16)
            else:
                self._ended = True
        return bytes(data)

    @property
    def complete(self) -> bool:
        """Nothing is left to read."""
        return self._ended


@dataclass
class Request:
    """A request as a route sees it.

    Attributes:
        method: HTTP method.
        path: As sent, without the query.
        params: The braced parts of the route's pattern, decoded.
        query: Decoded; of a repeated name the last one.
        headers: Case does not matter.
        body: To be read by the route; what it leaves is read and thrown away.
    """

    method: str
    path: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    headers: Message
    body: Body
    folder: Path

    def data(self, limit: int = 16 << 20) -> bytes:
        """The whole body, for small ones.

        Raises:
            Refused: 413 above ``limit``.
        """
        parts, size = [], 0
        for block in self.body.blocks():
            size += len(block)
            if size > limit:
                raise Refused(413)
            parts.append(block)
        return b"".join(parts)

    def json(self) -> Any:
        """The body as JSON; None when it is empty.

        Raises:
            ValueError: It is none.
        """
        data = self.data()
        return json.loads(data) if data else None

    def form(self) -> dict[str, str]:
        """The body as a form."""
        return dict(parse_qsl(self.data().decode(), keep_blank_values=True))

    def spool(self) -> Spooled:
        """The body on disk."""
        with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as out:
            return spool(self.body.blocks(), out)


def spool(blocks: Iterator[bytes], out: Any) -> Spooled:
    """Write blocks to an open file, and digest them."""
    sha256, sha1, md5, size = hashlib.sha256(), hashlib.sha1(), hashlib.md5(), 0
    for block in blocks:
        out.write(block)
        size += len(block)
        for digest in (sha256, sha1, md5):
            digest.update(block)
    out.flush()
    return Spooled(Path(out.name), size, sha256.hexdigest(), sha1.hexdigest(), md5.hexdigest())
