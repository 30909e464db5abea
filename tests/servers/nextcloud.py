"""The stand-in for Nextcloud (``nextcloud_script.py``): no Nextcloud can be installed for a test."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conveyor.testing.bench import FolderObserver
from servers.dav import LOOPBACK, PASSWORD, USERNAME, DavServer, attempts
from servers.process import folder, listening, running

SCRIPT = Path(__file__).with_name("nextcloud_script.py")


class NextcloudObserver(FolderObserver):
    """Looks at the files, and at the uploads that nobody has assembled."""

    def leftovers(self) -> set[str]:
        return {path.name for path in self._uploads.iterdir()}

    def wipe(self) -> None:
        super().wipe()
        for path in self._uploads.iterdir():
            shutil.rmtree(path)

    @property
    def _uploads(self) -> Path:
        return self.root.parent / "uploads"


@contextmanager
def start() -> Iterator[DavServer]:
    with attempts(_start) as server:
        yield server


@contextmanager
def _start(port: int) -> Iterator[DavServer]:
    with folder("nextcloud") as home:
        argv = [sys.executable, str(SCRIPT), str(home), str(port), USERNAME, PASSWORD]
        with running(argv, log=home / "log", ready=listening(port)):
            base = f"/remote.php/dav/files/{USERNAME}"
            yield DavServer("Nextcloud stand-in", LOOPBACK, port, home / "files", base)


def busy(server: DavServer, orders: int) -> None:
    """The next assembly outlasts the gateway, and so many further orders find it still at work."""
    _control(server, "PUT", "assembling", str(orders).encode())


def finish(server: DavServer) -> None:
    """The next order finds the assembly done."""
    _control(server, "PUT", "finish")


def forbid_uploads(server: DavServer) -> None:
    """The next upload in chunks is not possible."""
    _control(server, "PUT", "forbidden", b"1")


def requests(server: DavServer) -> list[dict[str, Any]]:
    """Each request so far: method, path, headers."""
    told: list[dict[str, Any]] = json.loads(_control(server, "GET", "log"))
    return told


def _control(server: DavServer, method: str, what: str, body: bytes | None = None) -> bytes:
    with contextlib.closing(http.client.HTTPConnection(server.host, server.port, timeout=30)) as conn:
        conn.request(method, f"/control/{what}", body)
        return conn.getresponse().read()
