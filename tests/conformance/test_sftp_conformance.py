"""The whole suite on SFTP: OpenSSH, asyncssh with and without posix-rename, rclone."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import sshd
from servers.ssh import SshServer

from conveyor.testing import Bench, ConnectorSuite
from conveyor.testing.bench import FolderObserver, Overrides
from conveyor_connectors.ftp.spec import SFTP

NO_THROTTLE = "SFTP has no answer that asks to wait"
AT_OPENSSH = "made to happen at OpenSSH, where the kernel says no"


def sftp_bench(server: SshServer, **changes: Any) -> Bench:
    """A bench at ``server``, logging in by key."""
    from servers.paramiko_errors import every_exception

    from conveyor_connectors.ftp.sftp.errors import of_exception

    fields: dict[str, Any] = {
        "spec": SFTP,
        "options": _login(server),
        "observer": FolderObserver(server.root),
        "address": (server.host, server.port),
        "through": lambda host, port: {"host": host, "port": port},
        "wrong_credentials": {"private_key": server.keys.stranger_key.read_text()},
        "missing_place": {"remote_path": f"{server.base}/nowhere"},
        "sdk_exceptions": every_exception,
        "classify": lambda error: of_exception(error, "server:22"),
        "unavailable": {"throttle": NO_THROTTLE, "full": AT_OPENSSH, "forbidden": AT_OPENSSH},
    }
    return Bench(**{**fields, **changes})


def _login(server: SshServer) -> dict[str, Any]:
    return {
        "host": server.host,
        "port": server.port,
        "username": server.username,
        "private_key": server.keys.client_key.read_text(),
        "host_key": server.host_key,
        "remote_path": server.base,
    }


class ThroughTheServer(FolderObserver):
    """Reads the server's files; changes them by paramiko's own client, since rclone remembers folders."""

    def __init__(self, server: SshServer) -> None:
        super().__init__(server.root)
        self._server = server

    def put(self, path: str, data: bytes) -> None:
        with self._client() as client:
            for folder in reversed([*Path(path).parents][:-1]):
                with contextlib.suppress(OSError):
                    client.mkdir(str(folder))
            with client.open(path, "w") as file:
                file.write(data)

    def wipe(self) -> None:
        with self._client() as client:
            self._empty(client, ".")
        super().wipe()

    def _empty(self, client: Any, folder: str) -> None:
        for entry in client.listdir_attr(folder):
            path = f"{folder}/{entry.filename}"
            with contextlib.suppress(OSError):
                if stat.S_ISDIR(entry.st_mode):
                    self._empty(client, path)
                    client.rmdir(path)
                else:
                    client.remove(path)

    @contextlib.contextmanager
    def _client(self) -> Iterator[Any]:
        import paramiko

        with paramiko.Transport((self._server.host, self._server.port)) as transport:
            key = paramiko.Ed25519Key.from_private_key_file(str(self._server.keys.client_key))
            transport.connect(username=self._server.username, pkey=key)
            client = paramiko.SFTPClient.from_transport(transport)
            assert client is not None
            yield client
        transport.join(5)


class TestOpenSsh(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, sshd_server: SshServer) -> Bench:
        @contextlib.contextmanager
        def forbidden() -> Iterator[Overrides]:
            sshd_server.root.chmod(0o555)
            try:
                yield {}
            finally:
                sshd_server.root.chmod(0o755)

        @contextlib.contextmanager
        def full() -> Iterator[Overrides]:
            with sshd.start(disk=2 << 20) as small:
                yield _login(small)

        filled = sshd.can_be_filled()
        return sftp_bench(
            sshd_server,
            forbidden=forbidden,
            full=full if filled else None,
            unavailable={"throttle": NO_THROTTLE, "full": "a disk of its own takes root"},
        )


@pytest.mark.long
class TestAsyncSsh(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, asyncssh_server: SshServer) -> Bench:
        options = {**_login(asyncssh_server), "password": asyncssh_server.password}
        del options["private_key"]
        wrong = {"password": "not-the-password"}
        return sftp_bench(asyncssh_server, options=options, wrong_credentials=wrong)


class TestWithoutPosixRename(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, bare_sftp_server: SshServer) -> Bench:
        gap = "without posix-rename the old file must go first; the receipt says so"
        return sftp_bench(bare_sftp_server, exempt={"test_reader_never_sees_a_gap": gap})


@pytest.mark.long
class TestRclone(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, rclone_sftp_server: SshServer) -> Bench:
        return sftp_bench(rclone_sftp_server, observer=ThroughTheServer(rclone_sftp_server))
