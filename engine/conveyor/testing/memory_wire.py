"""The memory store over HTTP on loopback, so that other processes and the fault proxy can get at it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, cast

from conveyor.testing.memory_store import MemoryStore, Stored, StoreFault
from conveyor.testing.ports import LOOPBACK


class MemoryServer:
    """Serves a :class:`MemoryStore` on a free loopback port; a context manager.

    Attributes:
        store: What it serves.
        host, port: Where it listens.
    """

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = store if store is not None else MemoryStore()
        self._server = _Server((LOOPBACK, 0), _Handler)
        self._server.store = self.store
        self.host = LOOPBACK
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True, name="memory-server"
        )

    def __enter__(self) -> MemoryServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def url(self) -> str:
        """What goes into the options."""
        return f"http://{self.host}:{self.port}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    store: MemoryStore

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that break are the tests' business, not the log's."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        try:
            self.server.store.enter(self.headers["X-Token"], self.headers["X-Space"])
            answer = self._call(json.loads(self.headers["X-Call"]), body)
        except StoreFault as fault:
            self._answer(fault.status, {"code": fault.code, "received": fault.received}, fault.retry_after)
        else:
            self._answer(200, answer)

    def _call(self, call: dict[str, Any], body: bytes) -> Any:
        store, name = self.server.store, call.pop("call")
        if name == "append":
            return store.append(data=body, **call)
        methods: dict[str, Callable[..., Any]] = {
            "begin": store.begin,
            "received": store.received,
            "commit": store.commit,
            "head": store.head,
            "abort": store.abort,
            "delete": store.delete,
        }
        result = methods[name](**call)
        if isinstance(result, Stored):
            return [result.size, result.sha256, result.delivery_id, result.version]
        return result

    def _answer(self, status: int, value: object, retry_after: float | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        if retry_after is not None:
            self.send_header("Retry-After", f"{retry_after:g}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


class RemoteStore:
    """A client of :class:`MemoryServer` with the store's own methods, over one connection.

    Args:
        dial: Opens a checked connection to the server.
        token, space: Shown with each request.

    Its methods raise :class:`StoreFault` for what the store refuses and ``OSError`` or
    ``http.client.HTTPException`` for what the network does.
    """

    def __init__(self, dial: Callable[[float], socket.socket], token: str, space: str) -> None:
        self._dial = dial
        self._headers = {"X-Token": token, "X-Space": space, "Content-Type": "application/octet-stream"}
        self._connection: http.client.HTTPConnection | None = None
        self.timeout = 30.0

    def begin(self, upload: str) -> None:
        """As the store's."""
        self._ask({"call": "begin", "upload": upload})

    def received(self, upload: str) -> int:
        """As the store's."""
        return cast(int, self._ask({"call": "received", "upload": upload}))

    def append(self, upload: str, offset: int, data: bytes) -> int:
        """As the store's."""
        return cast(int, self._ask({"call": "append", "upload": upload, "offset": offset}, data))

    def commit(
        self, upload: str, path: str, *, sha256: str | None, delivery_id: str, replace: bool
    ) -> Stored:
        """As the store's, without the bytes."""
        call = {"call": "commit", "upload": upload, "path": path, "sha256": sha256}
        return Stored(*self._ask({**call, "delivery_id": delivery_id, "replace": replace}))

    def head(self, path: str) -> Stored | None:
        """As the store's, without the bytes."""
        answer = self._ask({"call": "head", "path": path})
        return None if answer is None else Stored(*answer)

    def abort(self, upload: str) -> None:
        """As the store's."""
        self._ask({"call": "abort", "upload": upload})

    def delete(self, path: str) -> None:
        """As the store's."""
        self._ask({"call": "delete", "path": path})

    def close(self) -> None:
        """Drop the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, call: dict[str, Any], body: bytes = b"") -> Any:
        try:
            response = self._send(call, body)
            answer = json.loads(response.read())
        except BaseException:
            self.close()
            raise
        if response.status == 200:
            return answer
        delay = response.getheader("Retry-After")
        raise StoreFault(
            response.status,
            answer["code"],
            retry_after=None if delay is None else float(delay),
            received=answer.get("received"),
        )

    def _send(self, call: dict[str, Any], body: bytes) -> http.client.HTTPResponse:
        if self._connection is None:
            connection = http.client.HTTPConnection("memory")
            connection.sock = self._dial(self.timeout)
            connection.auto_open = 0
            self._connection = connection
        self._connection.sock.settimeout(max(0.001, self.timeout))
        headers = {**self._headers, "X-Call": json.dumps(call)}
        self._connection.request("POST", "/", body=body, headers=headers)
        return self._connection.getresponse()
