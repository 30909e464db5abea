"""A multipart/form-data body, part by part and block by block (RFC 7578, RFC 2046 §5.1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser

_HEAD = 16 * 1024


class Malformed(Exception):
    """No multipart body."""


@dataclass
class Part:
    """One part; its blocks are read before the next part is."""

    name: str
    blocks: Iterator[bytes]


class Parts:
    """Args: a body's blocks, and the request's headers, which name the boundary."""

    def __init__(self, blocks: Iterator[bytes], headers: Message) -> None:
        boundary = headers.get_param("boundary")
        if headers.get_content_type() != "multipart/form-data" or not isinstance(boundary, str):
            raise Malformed("the body is no multipart/form-data")
        self._blocks = blocks
        self._mark = b"\r\n--" + boundary.encode()
        self._held = b"\r\n"

    def __iter__(self) -> Iterator[Part]:
        for _ in self._content():
            pass
        while True:
            self._fill(2)
            if self._held[:2] == b"--":
                return
            while (end := self._held.find(b"\r\n\r\n")) < 0:
                if len(self._held) > _HEAD:
                    raise Malformed("a part's headers do not end")
                self._fill(len(self._held) + 1)
            headers = BytesParser().parsebytes(self._held[2 : end + 4])
            self._held = self._held[end + 4 :]
            name = headers.get_param("name", header="content-disposition")
            if not isinstance(name, str):
                raise Malformed("a part has no name")
            part = Part(name, self._content())
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
