"""What all WebDAV test servers have in common."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from conveyor.testing.bench import FolderObserver
from conveyor.testing.ports import LOOPBACK, free_port
from servers.process import ATTEMPTS, NotReady

USERNAME = "conveyor"
PASSWORD = "conveyor-test-päss"
BASE = "/dav"


@dataclass(frozen=True)
class DavServer:
    """A running WebDAV server.

    ``root`` is the folder on disk that it serves under ``base``; ``read_only`` the path of a folder that it
    lets nobody write to, where it has one.
    """

    name: str
    host: str
    port: int
    root: Path
    base: str = BASE
    username: str = USERNAME
    password: str = PASSWORD
    read_only: str | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}{self.base}"

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> int:
        """A request by the test itself; the status."""
        login = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        with contextlib.closing(http.client.HTTPConnection(self.host, self.port, timeout=30)) as conn:
            conn.request(
                method, self.base + quote(path), body, {"Authorization": f"Basic {login}", **headers}
            )
            answer = conn.getresponse()
            answer.read()
            return answer.status


class ThroughTheServer(FolderObserver):
    """Reads the server's files; changes them through the server, which remembers what is in a folder."""

    def __init__(self, server: DavServer) -> None:
        super().__init__(server.root)
        self._server = server

    def put(self, path: str, data: bytes) -> None:
        parts = path.split("/")
        for depth in range(1, len(parts)):
            self._server.ask("MKCOL", "/" + "/".join(parts[:depth]) + "/")
        status = self._server.ask("PUT", f"/{path}", data)
        assert status in (200, 201, 204), status

    def wipe(self) -> None:
        for entry in list(self.root.iterdir()):
            self._server.ask("DELETE", f"/{entry.name}" + ("/" if entry.is_dir() else ""))
        super().wipe()


@contextmanager
def attempts(start: Callable[[int], AbstractContextManager[DavServer]]) -> Iterator[DavServer]:
    """``start`` with a free port; again when somebody else took it in between."""
    for attempt in range(ATTEMPTS):
        try:
            with start(free_port()) as server:
                yield server
                return
        except NotReady:
            if attempt == ATTEMPTS - 1:
                raise


def htpasswd(path: Path) -> Path:
    """The one user, as Apache, nginx and lighttpd read it."""
    digest = base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()
    path.write_text(f"{USERNAME}:{{SHA}}{digest}\n")
    return path


__all__ = [
    "BASE",
    "LOOPBACK",
    "PASSWORD",
    "USERNAME",
    "DavServer",
    "ThroughTheServer",
    "attempts",
    "htpasswd",
]
