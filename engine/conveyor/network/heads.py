"""An answer whose head breaks off is no answer.

``http.client`` takes the end of the stream for the end of the headers, so that ``HTTP/1.1 200 OK`` and half a
header would count as success, with an empty body. RFC 9112 §8: an answer that ends within its header section
is incomplete.
"""

from __future__ import annotations

import http.client
from typing import Any, cast


class _Head:
    """The stream while the head is read: a line that does not end raises."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readline(self, limit: int = -1) -> bytes:
        line: bytes = self._stream.readline(limit)
        if not line.endswith(b"\n") and len(line) != limit:
            raise http.client.RemoteDisconnected("closed within the head of the answer")
        return line

    def close(self) -> None:
        self._stream.close()


class WholeHead(http.client.HTTPResponse):
    """A response that must have all of its head."""

    def begin(self) -> None:
        """Read the head.

        Raises:
            http.client.RemoteDisconnected: it breaks off.
        """
        stream = self.fp
        head = cast(Any, _Head(stream))
        self.fp = head
        try:
            super().begin()
        finally:
            if self.fp is head:
                self.fp = stream
