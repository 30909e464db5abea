"""Accounts at FTP servers, plain and over TLS. The suite's proxy has a place where there is no TLS."""

from __future__ import annotations

import contextlib
import ftplib
import io
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from conveyor.testing import Bench
from conveyor_connectors.ftp.plain.errors import of_exception
from conveyor_connectors.ftp.spec import FTP, FTPS
from servers.ftp_errors import every_exception
from servers.ftp_router import Router
from servers.live import LiveObserver, live, own

NO_DELAY = "FTP has no answer that says how long to wait"


class _Secure(ftplib.FTP_TLS):
    """Data connections go on with the control connection's session, as many servers demand."""

    implicit = False

    def connect(self, *args: Any, **known: Any) -> str:
        if not self.implicit:
            return super().connect(*args, **known)
        self.host, self.port = args
        self.sock = socket.create_connection(args, 60)
        self.af = self.sock.family
        self.sock = self.context.wrap_socket(self.sock, server_hostname=self.host)
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()
        return self.welcome

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, int | None]:
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        assert isinstance(self.sock, ssl.SSLSocket)
        session = self.sock.session
        return self.context.wrap_socket(conn, server_hostname=self.host, session=session), size


class FtpObserver(LiveObserver):
    """A folder of its own, by ftplib; ``folder`` is its path.

    Each look is a login of its own: servers end those that are silent for minutes.
    """

    def __init__(self, given: Mapping[str, str], *, secure: bool) -> None:
        self._given, self._secure = given, secure
        self.folder = "/".join(filter(None, (given.get("remote_path", "").rstrip("/"), own())))
        with self._login() as client:
            client.mkd(self.folder)

    @contextmanager
    def _login(self) -> Iterator[ftplib.FTP]:
        """Logged in, where the login's own folder is; the servers' names are UTF-8."""
        given = self._given
        client: ftplib.FTP = ftplib.FTP(timeout=60)
        if self._secure:
            context = ssl.create_default_context(cafile=given.get("ca_file"))
            client = _Secure(context=context, timeout=60)
            client.implicit = self._implicit
        with client:
            client.connect(given["host"], int(given.get("port", "0")) or self._port)
            client.login(given["username"], given["password"])
            if isinstance(client, _Secure):
                client.prot_p()
            client.voidcmd("TYPE I")
            yield client

    @property
    def _implicit(self) -> bool:
        return self._given.get("implicit", "").lower() in ("true", "yes", "1")

    @property
    def _port(self) -> int:
        return 990 if self._implicit else 21

    def _inside(self, client: ftplib.FTP, folder: str) -> list[tuple[str, bool]]:
        """Names, and whether each is a folder: by MLSD, or by trying to enter what NLST names."""
        with contextlib.suppress(ftplib.error_perm):
            return [(n, facts["type"] == "dir") for n, facts in client.mlsd(folder) if n not in (".", "..")]
        home = client.pwd()
        client.cwd(folder)
        names: list[str] = []
        client.retrlines("NLST -a", names.append)
        found = []
        for name in (name for name in names if name not in (".", "..")):
            try:
                client.cwd(name)
            except ftplib.error_perm:
                found.append((name, False))
            else:
                found.append((name, True))
                client.cwd("..")
        client.cwd(home)
        return found

    def _files(self, client: ftplib.FTP, folder: str, above: str = "") -> Iterator[str]:
        for name, is_folder in self._inside(client, folder):
            if is_folder:
                yield from self._files(client, f"{folder}/{name}", f"{above}{name}/")
            else:
                yield above + name

    def read(self, path: str) -> bytes | None:
        """The bytes."""
        blocks: list[bytes] = []
        with self._login() as client:
            try:
                client.retrbinary(f"RETR {self.folder}/{path}", blocks.append)
            except ftplib.error_perm as refusal:
                if str(refusal).startswith("550"):
                    return None
                raise
        return b"".join(blocks)

    def names(self) -> set[str]:
        """All files."""
        with self._login() as client:
            return set(self._files(client, self.folder))

    def put(self, path: str, data: bytes) -> None:
        """In place of what stands there."""
        levels = path.split("/")[:-1]
        with self._login() as client:
            for depth in range(1, len(levels) + 1):
                with contextlib.suppress(ftplib.error_perm):  # it is there already
                    client.mkd("/".join((self.folder, *levels[:depth])))
            client.storbinary(f"STOR {self.folder}/{path}", io.BytesIO(data))

    def wipe(self) -> None:
        """Delete all that is in the folder."""
        with self._login() as client:
            self._empty(client, self.folder)

    def _empty(self, client: ftplib.FTP, folder: str) -> None:
        for name, is_folder in self._inside(client, folder):
            if is_folder:
                self._empty(client, f"{folder}/{name}")
                client.rmd(f"{folder}/{name}")
            else:
                client.delete(f"{folder}/{name}")

    def remove(self) -> None:
        """Delete the folder."""
        with self._login() as client:
            self._empty(client, self.folder)
            client.rmd(self.folder)


@contextmanager
def bench(given: Mapping[str, str], *, secure: bool = False) -> Iterator[Bench]:
    """The bench of the account; ``given`` is what the environment names, ``secure`` that it is FTPS."""
    observer = FtpObserver(given, secure=secure)
    fields: dict[str, Any] = {
        "wrong_credentials": {"password": "not-the-password"},
        "missing_place": {"remote_path": f"{observer.folder}/nowhere"},
        "unavailable": {"throttle": NO_DELAY},
        "sdk_exceptions": every_exception,
        "classify": lambda error: of_exception(error, "server:21"),
    }
    options = {**given, "remote_path": observer.folder}
    with contextlib.ExitStack() as stack:
        if not secure:
            router = stack.enter_context(Router((given["host"], int(given.get("port", "21")))))
            fields |= {"address": (router.host, router.port), "through": router.through, "env": router.env}
        yield stack.enter_context(live(FTPS if secure else FTP, options, observer, **fields))
