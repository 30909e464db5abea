"""A total time limit over urllib3, whose own limits are for single socket operations.

A server that sends a byte now and then, of a header or of a proxy's consent, never exceeds those. Inside
:func:`within` every connection that the thread opens is cut when the time is over, whatever waits for it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class Lifeline:
    """The connections that one :func:`within` may cut."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._twins: list[socket.socket] = []
        self.over = False
        """The time has passed."""

    def hold(self, sock: socket.socket) -> None:
        """Cut ``sock`` too. A duplicate is kept, since TLS takes the original's descriptor away."""
        with self._lock:
            self._twins.append(sock.dup())
            if self.over:
                self._cut()

    def expire(self) -> None:
        """Cut them all, and what will be opened."""
        with self._lock:
            self.over = True
            self._cut()

    def release(self) -> None:
        """Let the connections live on by themselves."""
        with self._lock:
            for twin in self._twins:
                twin.close()
            self._twins.clear()

    def _cut(self) -> None:
        for twin in self._twins:
            with contextlib.suppress(OSError):
                twin.shutdown(socket.SHUT_RDWR)


class _Current(threading.local):
    lifeline: Lifeline | None = None


_current = _Current()


@contextlib.contextmanager
def within(seconds: float) -> Iterator[Lifeline]:
    """Cut the connections that this thread opens inside after ``seconds``, as if the peer had closed them."""
    lifeline, outer = Lifeline(), _current.lifeline
    timer = threading.Timer(seconds, lifeline.expire)
    timer.daemon = True
    timer.start()
    _current.lifeline = lifeline
    try:
        yield lifeline
    finally:
        _current.lifeline = outer
        timer.cancel()
        lifeline.release()


def hold(sock: socket.socket) -> None:
    """Put a fresh connection under the thread's current limit, where there is one."""
    if _current.lifeline is not None:
        _current.lifeline.hold(sock)
