"""A TCP proxy that misbehaves on command, for any protocol that runs over one TCP connection at a time.

Every fault is armed once, counts bytes from the moment it was armed over all connections together, strikes
once, and leaves the proxy transparent afterwards, so that a retry through the same proxy gets through. With
HTTP over TLS the bytes counted are those on the wire. A pause is apart from the faults: it holds up all
connections until it ends.
"""

from __future__ import annotations

import contextlib
import enum
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType

from conveyor.testing.ports import LOOPBACK

_BLOCK = 65536


class _Mode(enum.Enum):
    CUT = "cut"
    RESET = "reset"
    STALL = "stall"
    DROP = "drop the answer"
    CORRUPT = "corrupt"
    REFUSE = "refuse"


@dataclass
class _Fault:
    mode: _Mode
    at: int
    seen: int = 0
    """Client bytes since it was armed."""
    struck: threading.Event = field(default_factory=threading.Event)


class FaultProxy:
    """Stands between a client and ``(host, port)`` on a free loopback port.

    Use as a context manager. Attributes ``host`` and ``port`` say where it listens.

    Args:
        host, port: The server behind it.
        quiet: Seconds without a byte in either direction after which a swallowed answer counts as complete.
    """

    def __init__(self, host: str, port: int, *, quiet: float = 0.25) -> None:
        self._server = (host, port)
        self._quiet = quiet
        self._lock = threading.Lock()
        self._fault: _Fault | None = None
        self._closing = threading.Event()
        self._released = threading.Event()
        self._flowing = threading.Event()
        self._flowing.set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((LOOPBACK, 0))
        self.host = LOOPBACK
        self.port = int(self._listener.getsockname()[1])
        self.client_bytes = 0
        self.server_bytes = 0
        self.connections = 0

    def __enter__(self) -> FaultProxy:
        self._listener.settimeout(0.05)
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and drop every connection."""
        self._closing.set()
        self._released.set()
        self._flowing.set()
        self._listener.close()
        for thread in list(self._threads):
            thread.join(5)

    @property
    def struck(self) -> bool:
        """True once the fault that was armed last has happened."""
        fault = self._fault
        return fault is not None and fault.struck.is_set()

    def cut(self, *, after: int, reset: bool = False) -> None:
        """Forward exactly ``after`` client bytes, then end the connection: by FIN, or by RST."""
        self._arm(_Mode.RESET if reset else _Mode.CUT, after)

    def stall(self, *, after: int) -> None:
        """Forward exactly ``after`` client bytes, then nothing, in either direction, until ``release``."""
        self._arm(_Mode.STALL, after)

    def drop_answer(self, *, after: int = 0) -> None:
        """From ``after`` client bytes on let requests pass, swallow what the server answers, then cut.

        The cut comes once the server has answered and both sides have been quiet: the server has done what it
        was asked to do, the client never hears of it. HTTP's interim ``100 Continue`` is let through.
        """
        self._arm(_Mode.DROP, after)

    def corrupt(self, *, at: int) -> None:
        """Flip one bit of the client byte at offset ``at``."""
        self._arm(_Mode.CORRUPT, at)

    def refuse(self, *, count: int = 1) -> None:
        """Reset the next ``count`` connections as soon as they are made."""
        self._arm(_Mode.REFUSE, count)

    def release(self) -> None:
        """End a stall by dropping the stalled connection."""
        self._released.set()

    def pause(self) -> None:
        """Be a black hole: nothing passes in either direction, over old connections or new ones.

        Nothing is refused or closed. What was sent passes when ``resume`` is called, as over a network that
        is whole again before TCP gives up.
        """
        self._flowing.clear()

    def resume(self) -> None:
        """End a pause."""
        self._flowing.set()

    def disarm(self) -> None:
        """Be transparent."""
        with self._lock:
            self._fault = None

    def _arm(self, mode: _Mode, at: int) -> None:
        with self._lock:
            self._released.clear()
            self._fault = _Fault(mode, at)

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True, name="fault-proxy")  # type: ignore[arg-type]
        self._threads = [other for other in self._threads if other.is_alive()] + [thread]
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self.connections += 1
            if self._refuses():
                _reset(client)
                continue
            self._start(self._serve, client)

    def _refuses(self) -> bool:
        with self._lock:
            fault = self._fault
            if fault is None or fault.mode is not _Mode.REFUSE or fault.seen >= fault.at:
                return False
            fault.seen += 1
            fault.struck.set()
            return True

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._server, timeout=10)
        except OSError:
            _reset(client)
            return
        for end in (client, server):
            end.settimeout(10)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError), client, server:
            _Link(self, client, server).run()

    def meet(self, count: int) -> tuple[_Fault | None, int]:
        """Count client bytes about to pass; returns the fault they meet and how many pass before it."""
        with self._lock:
            self.client_bytes += count
            fault = self._fault
            if fault is None or fault.mode is _Mode.REFUSE or fault.struck.is_set():
                return None, count
            before = fault.at - fault.seen
            fault.seen += count
            if count <= before:
                return None, count
            fault.struck.set()
            return fault, max(0, before)

    @property
    def closing(self) -> bool:
        """True once the proxy is being closed."""
        return self._closing.is_set()

    @property
    def quiet(self) -> float:
        """Seconds of silence after which an answer is complete."""
        return self._quiet

    def wait_released(self) -> None:
        """Block while a stall lasts."""
        self._released.wait()

    def wait_flowing(self) -> None:
        """Block while it is paused."""
        self._flowing.wait()


class _Link:
    """One client connection and its server connection, pumped by one thread."""

    def __init__(self, proxy: FaultProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._open = [client, server]
        self._dropping = False
        self._answered = False
        self._moved = time.monotonic()

    def run(self) -> None:
        """Pump until both sides have ended or a fault ends it."""
        while self._open and not self._proxy.closing:
            ready, _, _ = select.select(self._open, [], [], 0.02)
            if self._dropping and not ready and self._silent():
                _reset(self._client)
                return
            for end in ready:
                self._proxy.wait_flowing()
                data = end.recv(_BLOCK)
                self._moved = time.monotonic()
                if not (self._from_client(data) if end is self._client else self._from_server(data)):
                    return

    def _silent(self) -> bool:
        return self._answered and time.monotonic() - self._moved > self._proxy.quiet

    def _from_client(self, data: bytes) -> bool:
        if not data:
            return self._ended(self._client, self._server)
        fault, before = self._proxy.meet(len(data))
        self._answered = False
        if fault is None:
            self._server.sendall(data)
            return True
        if fault.mode is _Mode.DROP:
            self._dropping = True
            self._server.sendall(data)
            return True
        if fault.mode is _Mode.CORRUPT:
            self._server.sendall(data[:before] + bytes([data[before] ^ 0x01]) + data[before + 1 :])
            return True
        self._server.sendall(data[:before])
        if fault.mode is _Mode.STALL:
            self._proxy.wait_released()
        if fault.mode is _Mode.CUT:
            self._end_politely()
        else:
            _reset(self._client)
            _reset(self._server)
        return False

    def _end_politely(self) -> None:
        """FIN to both; what the client still sends is read away, else the kernel would answer RST."""
        self._server.close()
        self._client.shutdown(socket.SHUT_WR)
        self._client.settimeout(2)
        while not self._proxy.closing and self._client.recv(_BLOCK):
            pass

    def _from_server(self, data: bytes) -> bool:
        if not data:
            if self._dropping:
                _reset(self._client)
                return False
            return self._ended(self._server, self._client)
        self._proxy.server_bytes += len(data)
        if self._dropping and not data.startswith(b"HTTP/1.1 100 "):
            self._answered = True
            return True
        self._client.sendall(data)
        return True

    def _ended(self, end: socket.socket, other: socket.socket) -> bool:
        self._open.remove(end)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)
        return bool(self._open)


def _reset(end: socket.socket) -> None:
    """Close with RST, as a crashed host or an angry middlebox does."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.close()
