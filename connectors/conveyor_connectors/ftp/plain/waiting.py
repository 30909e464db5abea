"""Sockets that wait in short turns, so that cancellation and a silent server are noticed."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator

from conveyor_connectors.ftp.server import LinkLost

TICK = 0.5
"""Seconds between two looks at cancellation while waiting for the server."""

SILENCE = 60.0
"""Seconds without progress after which a connection is dead."""

MOST_ANSWER = 256 * 1024
"""Bytes of one answer on the control connection: a server that never ends it is given up."""


class Patience:
    """How long to wait, and whom to ask meanwhile. One for all the sockets of a session.

    Attributes:
        pulse: Called at least every :data:`TICK` seconds of waiting; may raise to give up.
        silence: See :data:`SILENCE`.
    """

    def __init__(self) -> None:
        self.pulse: Callable[[], None] = lambda: None
        self.silence = SILENCE

    @contextlib.contextmanager
    def pulsing(self, pulse: Callable[[], None]) -> Iterator[None]:
        """Ask ``pulse`` meanwhile."""
        before, self.pulse = self.pulse, pulse
        try:
            yield
        finally:
            self.pulse = before

    @contextlib.contextmanager
    def limited(self, silence: float) -> Iterator[None]:
        """Wait for at most ``silence`` seconds, and let nothing cancel that."""
        before, self.silence = self.silence, silence
        try:
            with self.pulsing(lambda: None):
                yield
        finally:
            self.silence = before

    def tick(self, since: float) -> None:
        """One turn of waiting is over; it began at ``since`` (monotonic)."""
        self.pulse()
        if time.monotonic() - since > self.silence:
            raise LinkLost(f"the server was silent for {self.silence:.0f} s")


def send(sock: socket.socket, data: bytes | memoryview, patience: Patience) -> None:
    """Send all of ``data``.

    Raises:
        LinkLost: The server takes no more.
        OSError: The connection broke.
    """
    left = memoryview(data)
    since = time.monotonic()
    _in_turns(sock)
    while left:
        try:
            count = sock.send(left)
        except TimeoutError:
            patience.tick(since)
            continue
        left = left[count:]
        since = time.monotonic()


def receive(sock: socket.socket, size: int, patience: Patience) -> bytes:
    """Receive up to ``size`` bytes; nothing at the end.

    Raises:
        LinkLost: The server is silent.
        OSError: The connection broke.
    """
    since = time.monotonic()
    _in_turns(sock)
    while True:
        try:
            return sock.recv(size)
        except TimeoutError:
            patience.tick(since)


class Lines:
    """What ftplib needs of a file made from the control connection: ``readline`` and ``close``."""

    def __init__(self, sock: socket.socket, encoding: str, patience: Patience) -> None:
        self._sock = sock
        self._encoding = encoding
        self._patience = patience
        self._buffer = bytearray()
        self._taken = 0

    def expect_new(self) -> None:
        """A new answer begins: what was read of the last one counts no longer."""
        self._taken = 0

    @property
    def unread(self) -> bool:
        """The server said more than it was asked for."""
        return bool(self._buffer)

    def readline(self, limit: int) -> str:
        """One line with its end, or up to ``limit`` bytes; empty at the end of the connection."""
        while b"\n" not in self._buffer and len(self._buffer) < limit:
            data = receive(self._sock, 8192, self._patience)
            if not data:
                break
            self._patience.pulse()
            self._buffer += data
        end = self._buffer.find(b"\n") + 1 or len(self._buffer)
        line = bytes(self._buffer[: min(end, limit)])
        del self._buffer[: len(line)]
        self._taken += len(line)
        if self._taken > MOST_ANSWER:
            raise LinkLost("the server's answer does not end")
        return line.decode(self._encoding, "surrogateescape")

    def close(self) -> None:
        """Nothing of its own to close."""


def _in_turns(sock: socket.socket) -> None:
    """Let the socket wait a turn. It mostly does already; to be told costs a system call each time."""
    if sock.gettimeout() != TICK:
        sock.settimeout(TICK)


def say_goodbye(sock: ssl.SSLSocket, patience: Patience) -> None:
    """Send TLS's close_notify without waiting for the other side's: some servers never send theirs.

    Raises:
        OSError, LinkLost: It could not be sent.
    """
    since = time.monotonic()
    while True:
        sock.settimeout(0)
        try:
            sock.unwrap()
        except ssl.SSLWantReadError:
            return  # ours is out, theirs is not here yet
        except (ssl.SSLWantWriteError, TimeoutError):
            _wait_writable(sock, patience, since)
        else:
            return


def is_readable(sock: socket.socket) -> bool:
    """Whether bytes or an end have arrived. Never waits."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _wait_writable(sock: socket.socket, patience: Patience, since: float) -> None:
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    if not poll.poll(TICK * 1000):
        patience.tick(since)
