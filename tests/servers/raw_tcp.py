"""A TCP server that says what a test wants, byte by byte."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from conveyor.testing.ports import LOOPBACK

Play = Callable[[socket.socket, threading.Event], None]
"""Is given a connection on which something was received, and an event: the test is over."""


@dataclass(frozen=True)
class RawServer:
    """Where it listens."""

    port: int

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}/token"


@contextmanager
def playing(play: Play) -> Iterator[RawServer]:
    """Serve one connection after another."""
    over = threading.Event()
    listener = socket.create_server((LOOPBACK, 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                with sock, suppress(OSError):
                    sock.recv(1 << 20)
                    play(sock, over)
                    sock.shutdown(socket.SHUT_WR)
                    sock.settimeout(5)
                    while sock.recv(1 << 20):  # unread bytes would turn the end into a reset
                        pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield RawServer(listener.getsockname()[1])
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        listener.close()
