"""An account at an SFTP server. Here the suite's proxy has a place: it cuts what it cannot read."""

from __future__ import annotations

import base64
import io
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from conveyor.testing import Bench
from conveyor_connectors.ftp.sftp.errors import of_exception
from conveyor_connectors.ftp.spec import SFTP
from servers.live import LiveObserver, live, own
from servers.paramiko_errors import every_exception

NO_THROTTLE = "SFTP has no answer that asks to wait"


class SftpObserver(LiveObserver):
    """A folder of its own, by paramiko's own client; ``folder`` is its path."""

    def __init__(self, given: Mapping[str, str]) -> None:
        import paramiko

        self._transport = paramiko.Transport((given["host"], int(given.get("port", "22"))))
        kind, encoded = given["host_key"].split()[:2]
        known = paramiko.PKey.from_type_string(kind, base64.b64decode(encoded))
        self._transport.connect(known, given["username"], given.get("password"), _key(given))
        self._transport.set_keepalive(30)
        client = paramiko.SFTPClient.from_transport(self._transport)
        assert client is not None
        self._client = client
        self.folder = "/".join(filter(None, (given.get("remote_path", "").rstrip("/"), own())))
        self._client.mkdir(self.folder)

    def _files(self, folder: str, above: str = "") -> Iterator[str]:
        for each in self._client.listdir_attr(folder):
            if stat.S_ISDIR(each.st_mode or 0):
                yield from self._files(f"{folder}/{each.filename}", f"{above}{each.filename}/")
            else:
                yield above + each.filename

    def read(self, path: str) -> bytes | None:
        """The bytes."""
        try:
            with self._client.open(f"{self.folder}/{path}") as file:
                file.prefetch()
                return file.read()
        except FileNotFoundError:
            return None

    def names(self) -> set[str]:
        """All files."""
        return set(self._files(self.folder))

    def put(self, path: str, data: bytes) -> None:
        """In place of what stands there."""
        levels = path.split("/")[:-1]
        for depth in range(1, len(levels) + 1):
            folder = "/".join((self.folder, *levels[:depth]))
            try:
                self._client.stat(folder)
            except FileNotFoundError:
                self._client.mkdir(folder)
        with self._client.open(f"{self.folder}/{path}", "w") as file:
            file.write(data)

    def wipe(self) -> None:
        """Delete all that is in the folder."""
        self._empty(self.folder)

    def _empty(self, folder: str) -> None:
        for each in self._client.listdir_attr(folder):
            path = f"{folder}/{each.filename}"
            if stat.S_ISDIR(each.st_mode or 0):
                self._empty(path)
                self._client.rmdir(path)
            else:
                self._client.remove(path)

    def remove(self) -> None:
        """Delete the folder."""
        self.wipe()
        self._client.rmdir(self.folder)
        self._transport.close()


@contextmanager
def bench(given: Mapping[str, str]) -> Iterator[Bench]:
    """The bench of the account; ``given`` is what the environment names."""
    observer = SftpObserver(given)
    wrong = {"private_key": _strangers_key(), "passphrase": None, "password": "not-the-password"}
    with live(
        SFTP,
        {**given, "remote_path": observer.folder},
        observer,
        address=(given["host"], int(given.get("port", "22"))),
        through=lambda host, port: {"host": host, "port": port},
        wrong_credentials={name: wrong[name] for name in wrong if name in given},
        missing_place={"remote_path": f"{observer.folder}/nowhere"},
        unavailable={"throttle": NO_THROTTLE},
        sdk_exceptions=every_exception,
        classify=lambda error: of_exception(error, "server:22"),
    ) as bench:
        yield bench


def _key(given: Mapping[str, str]) -> Any:
    """The private key of whatever kind; None where there is none."""
    import paramiko

    if "private_key" not in given:
        return None
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key(io.StringIO(given["private_key"]), given.get("passphrase"))
        except paramiko.SSHException:
            continue
    raise LookupError("the private key is neither Ed25519, ECDSA nor RSA, or its passphrase is another")


def _strangers_key() -> str:
    import paramiko

    text = io.StringIO()
    paramiko.ECDSAKey.generate().write_private_key(text)
    return text.getvalue()
