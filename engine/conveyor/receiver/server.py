"""The HTTP side of the receiver: threads, keep-alive, bodies as streams."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO

_BLOCK = 256 * 1024


class Truncated(ConnectionError):
    """The sender closed before its body was complete."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request whose body waits to be read."""

    headers: Mapping[str, str]
    length: int
    stream: BinaryIO

    def chunks(self) -> Iterator[bytes]:
        """The body.

        Raises:
            Truncated: it ended early.
        """
        left = self.length
        while left:
            chunk = self.stream.read(min(_BLOCK, left))
            if not chunk:
                raise Truncated("the body ended early")
            left -= len(chunk)
            yield chunk


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer; ``close`` ends the connection without reading on."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    close: bool = False


class Server:
    """An HTTP/1.1 server that hands each POST to ``handle``, one thread per connection."""

    def __init__(
        self, address: tuple[str, int], handle: Callable[[Incoming], Reply], tls: ssl.SSLContext | None
    ) -> None:
        self._http = _Http(address, _Handler)
        self._http.handle_post = handle
        self._thread: threading.Thread | None = None
        self._scheme = "http"
        if tls is not None:
            self._scheme = "https"
            self._http.socket = tls.wrap_socket(
                self._http.socket, server_side=True, do_handshake_on_connect=False
            )

    @property
    def url(self) -> str:
        """The root URL."""
        host, port = self._http.server_address[:2]
        return f"{self._scheme}://{host!s}:{port}/"

    def start(self) -> None:
        """Serve, in a thread."""
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, name="receiver", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, drop every connection, wait for the threads."""
        if self._thread is not None:
            self._http.shutdown()
            self._thread.join()
            self._thread = None
        self._http.server_close()
        self._http.drop_all()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    handle_post: Callable[[Incoming], Reply]

    def __init__(self, *args: Any) -> None:
        self._open: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        super().__init__(*args)

    def enter(self, connection: socket.socket) -> None:
        with self._lock:
            self._open[connection] = threading.current_thread()

    def leave(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.pop(connection, None)

    def drop_all(self) -> None:
        with self._lock:
            still = list(self._open.items())
        for connection, thread in still:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(5)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that breaks off is no event for a receiver."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "Conveyor-listen"
    sys_version = ""
    timeout = 30
    disable_nagle_algorithm = True
    server: _Http

    def setup(self) -> None:
        super().setup()
        self.server.enter(self.connection)

    def finish(self) -> None:
        self.server.leave(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def do_GET(self) -> None:
        """Say what this is."""
        self._reply(Reply(200, b"A Conveyor webhook receiver: POST deliveries here.\n"))

    def do_POST(self) -> None:
        """Hand the request on."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self._reply(Reply(411, b"a Content-Length is needed\n", close=True))
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            reply = self.server.handle_post(Incoming(headers, int(length), self.rfile))  # type: ignore[arg-type]
        except (ConnectionError, TimeoutError):
            self.close_connection = True
            return
        except OSError as error:
            reply = Reply(507, f"cannot save: {error.strerror}\n".encode(), close=True)
        self._reply(reply)

    def _reply(self, reply: Reply) -> None:
        if reply.close:
            self.close_connection = True
        with contextlib.suppress(OSError):
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            if reply.close:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(reply.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Silent; ``on_request`` tells what happened."""
