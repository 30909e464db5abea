"""A socket that is written and watched at the same time, and read against a deadline.

A receiver may answer (401, 413) and close before it has read the body; a client that only sends sees a
broken pipe and never the reason. So each send looks for an answer first, and what arrived is kept. Reads
are bounded by what remains of a total deadline: a timeout per socket operation would let a server that
sends one byte a second hold a worker for ever.
"""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import time
from collections.abc import Callable

_SLICE = 1.0
"""Seconds between two looks at whether the attempt must stop."""
_BLOCK = 65536
_WANTS_READ = (BlockingIOError, ssl.SSLWantReadError)
_WANTS_WRITE = (BlockingIOError, ssl.SSLWantWriteError)


class Wire:
    """One connected socket, plain or TLS.

    Args:
        sock: Becomes non-blocking.
        watch: Called at least once a second while waiting; raises when the attempt must stop.
    """

    def __init__(self, sock: socket.socket, watch: Callable[[], None]) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._poll = select.poll()
        self._inbox = bytearray()
        self.watch = watch
        self.ended = False
        """The peer has closed its side."""

    def close(self) -> None:
        """Close the socket; idempotent."""
        self._sock.close()

    def heard(self) -> bool:
        """True when the peer has sent something that was not read yet, or has closed.

        Raises:
            OSError: the connection broke.
        """
        while not self._inbox and not self.ended:
            try:
                self._take()
            except (*_WANTS_READ, ssl.SSLWantWriteError):
                return False
        return True

    def send(self, data: bytes | memoryview, sent: Callable[[int], None], *, listen: bool = True) -> bool:
        """Send ``data``.

        Args:
            data: What to send.
            sent: Called with the number of bytes that went out.
            listen: Stop as soon as the peer has answered or closed.

        Returns:
            False when it stopped for that reason.

        Raises:
            OSError: the connection broke.
        """
        view = memoryview(data)
        while view:
            if listen and self.heard():
                return False
            try:
                count = self._sock.send(view)
            except _WANTS_WRITE:
                self._wait(select.POLLOUT | (select.POLLIN if listen else 0), _SLICE)
                self.watch()
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN, _SLICE)
                self.watch()
            else:
                view = view[count:]
                sent(count)
        return True

    def fill(self, until: float) -> bool:
        """Wait for more bytes; False at the end of the stream.

        Args:
            until: ``time.monotonic()`` at which to give up.

        Raises:
            TimeoutError: nothing came until then.
            OSError: the connection broke.
        """
        while not self.ended:
            if (left := until - time.monotonic()) <= 0:
                raise TimeoutError("no answer in time")
            self.watch()
            try:
                self._take()
                return not self.ended
            except _WANTS_READ:
                self._wait(select.POLLIN, min(left, _SLICE))
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT, min(left, _SLICE))
        return False

    def _take(self) -> None:
        data = self._sock.recv(_BLOCK)
        self._inbox += data
        self.ended = not data

    def _wait(self, events: int, seconds: float) -> None:
        self._poll.register(self._sock, events)
        self._poll.poll(seconds * 1000)

    def pending(self) -> int:
        """Bytes that have arrived and were not read."""
        return len(self._inbox)

    def pull(self, size: int) -> bytes:
        """Take up to ``size`` of the bytes that have arrived."""
        data = bytes(self._inbox[:size])
        del self._inbox[:size]
        return data

    def line_end(self) -> int:
        """Length of the first line that has arrived, its LF included; 0 when it is not complete."""
        return self._inbox.find(b"\n") + 1


class Reader:
    """The file object that ``http.client`` reads an answer from; every read ends at ``until``."""

    def __init__(self, wire: Wire, until: float) -> None:
        self._wire = wire
        self._pushed = b""
        self.until = until

    def push_back(self, line: bytes) -> None:
        """Let the next ``readline`` return ``line``."""
        self._pushed = line

    def makefile(self, mode: str = "rb") -> Reader:
        """Stand in for a socket."""
        return self

    def readline(self, limit: int = 65537) -> bytes:
        """One line with its LF, cut at ``limit``.

        Raises:
            http.client.RemoteDisconnected: the stream ends before the line does. ``http.client`` would take
                that for the end of the headers (RFC 9112 §8: such an answer is incomplete).
        """
        if self._pushed:
            line, self._pushed = self._pushed, b""
            return line
        while not (end := self._wire.line_end()) and self._wire.pending() < limit:
            if not self._wire.fill(self.until):
                raise http.client.RemoteDisconnected("closed within a line")
        return self._wire.pull(min(end or limit, limit))

    def read(self, size: int = -1) -> bytes:
        """Exactly ``size`` bytes, fewer only at the end of the stream."""
        while size < 0 or self._wire.pending() < size:
            if not self._wire.fill(self.until):
                break
        return self._wire.pull(self._wire.pending() if size < 0 else size)

    def flush(self) -> None:
        """Nothing to flush."""

    def close(self) -> None:
        """The wire is closed by its owner."""
