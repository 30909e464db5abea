"""A multipart body, part by part and block by block (RFC 2046 §5.1; RFC 7578 form-data, RFC 2387 related)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser

_HEAD = 16 * 1024


class Malformed(Exception):
    """No multipart body."""


@dataclass
class Part:
    """One part; its blocks are read before the next part is. ``name`` is form-data's, else empty."""

    name: str
    blocks: Iterator[bytes]
    headers: Message


class Parts:
    """Args: a body's blocks, the request's headers, which name the boundary, and the expected media type.

    Lines end with CRLF; ``bare`` takes those of LF too, as Google does (its SDK for Python sends them).
    """

    def __init__(
        self,
        blocks: Iterator[bytes],
        headers: Message,
        kind: str = "multipart/form-data",
        *,
        bare: bool = False,
    ) -> None:
        boundary = headers.get_param("boundary")
        if headers.get_content_type() != kind or not isinstance(boundary, str) or not boundary:
            raise Malformed(f"the body is no {kind}")
        self._named = kind == "multipart/form-data"
        self._blocks = blocks
        self._line = self._ends(boundary.encode()) if bare else b"\r\n"
        self._mark = self._line + b"--" + boundary.encode()
        self._held = self._line

    def _ends(self, boundary: bytes) -> bytes:
        """How lines end: as that of the first boundary does."""
        head = b""
        while (at := head.find(b"--" + boundary)) < 0 or len(head) < at + len(boundary) + 4:
            block = next(self._blocks, None)
            if block is None or len(head) > _HEAD:
                raise Malformed("the body has no boundary")
            head += block
        self._blocks = itertools.chain([head], self._blocks)
        return b"\r\n" if head[at + len(boundary) + 2 :].startswith(b"\r\n") else b"\n"

    def __iter__(self) -> Iterator[Part]:
        for _ in self._content():
            pass
        while True:
            self._fill(2)
            if self._held[:2] == b"--":
                return
            blank = self._line * 2
            while (end := self._held.find(blank)) < 0:
                if len(self._held) > _HEAD:
                    raise Malformed("a part's headers do not end")
                self._fill(len(self._held) + 1)
            headers = BytesParser().parsebytes(self._held[len(self._line) : end + len(blank)])
            self._held = self._held[end + len(blank) :]
            name = headers.get_param("name", header="content-disposition")
            if self._named and not isinstance(name, str):
                raise Malformed("a part has no name")
            part = Part(name if isinstance(name, str) else "", self._content(), headers)
            yield part
            for _ in part.blocks:
                pass

    def _content(self) -> Iterator[bytes]:
        """Up to the next boundary."""
        while (at := self._held.find(self._mark)) < 0:
            ready = len(self._held) - len(self._mark) + 1
            if ready > 0:
                yield self._held[:ready]
                self._held = self._held[ready:]
            self._fill(len(self._held) + 1)
        found, self._held = self._held[:at], self._held[at + len(self._mark) :]
        if found:
            yield found

    def _fill(self, size: int) -> None:
        while len(self._held) < size:
            block = next(self._blocks, None)
            if block is None:
                raise Malformed("the body ends before its last boundary")
            self._held += block
