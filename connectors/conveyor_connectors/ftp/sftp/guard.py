"""The socket under paramiko: a send that gets stuck ends, and closing wakes the reader at once."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

STUCK = 45.0
"""Seconds in which the kernel takes not one more byte, after which the connection is given up."""


class GuardedSocket:
    """What ``paramiko.Transport`` needs of a socket.

    paramiko repeats a timed-out send for ever while it holds the lock that its keepalive needs too, so that a
    frozen server would freeze the attempt. Here every failed turn asks ``pulse`` (in the thread that uses
    the connection), and ends the connection after :data:`STUCK` seconds.
    """

    def __init__(self, sock: socket.socket, *, stuck: float = STUCK) -> None:
        self.pulse: Callable[[], None] | None = None
        self.owner = threading.get_ident()
        self._sock = sock
        self._stuck = stuck
        self._since: float | None = None
        self._closed = False

    def send(self, data: bytes) -> int:
        """Send some of ``data``; ``TimeoutError`` when none was taken in the socket's timeout."""
        try:
            sent = self._sock.send(data)
        except TimeoutError:
            now = time.monotonic()
            if self._since is None:
                self._since = now
            if now - self._since > self._stuck:
                raise ConnectionAbortedError("the server takes no more data") from None
            if self.pulse is not None and threading.get_ident() == self.owner:
                self.pulse()
            raise
        self._since = None
        return sent

    def recv(self, size: int) -> bytes:
        """Receive up to ``size`` bytes."""
        return self._sock.recv(size)

    def settimeout(self, timeout: float | None) -> None:
        """Set the timeout of one turn."""
        self._sock.settimeout(timeout)

    def fileno(self) -> int:
        """The file descriptor."""
        return self._sock.fileno()

    def getpeername(self) -> object:
        """The server's address."""
        return self._sock.getpeername()

    def close(self) -> None:
        """Close at once, also under a thread that reads."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
