"""What FTP and FTPS do beyond the suite: TLS, odd servers, encodings, reuse, sweeping, clear text."""

from __future__ import annotations

import hashlib
import os
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from servers import pyftpdlib_server, scripted_ftp
from servers.ftp import FtpServer
from servers.scripted_ftp import takes_a_path

from conveyor.contract import (
    ConflictPolicy,
    Connector,
    ConnectorEnv,
    DeliveryError,
    ErrorKind,
    Receipt,
    Target,
)
from conveyor.network import Network
from conveyor.testing import FaultProxy, HarnessContext, make_env, make_parcel
from conveyor.testing.plugin import requires
from conveyor.testing.ports import wait_until
from conveyor_connectors.ftp.choice import connector as make_connector
from conveyor_connectors.ftp.options import FtpOptions
from conveyor_connectors.ftp.plain.control import Control

RENAME, OVERWRITE = ConflictPolicy.RENAME, ConflictPolicy.OVERWRITE


@contextmanager
def connected(server: FtpServer, env: ConnectorEnv | None = None, **changes: Any) -> Iterator[Connector]:
    connector = make_connector(FtpOptions.model_validate({**server.options, **changes}), env or make_env())
    try:
        yield connector
    finally:
        connector.close()


def refusal(server: FtpServer, env: ConnectorEnv | None = None, **changes: Any) -> DeliveryError:
    with connected(server, env, **changes) as connector, pytest.raises(DeliveryError) as caught:
        connector.check(HarnessContext())
    return caught.value


def deliver(
    server: FtpServer, path: str = "in/photo.jpg", conflict: ConflictPolicy = RENAME, **changes: Any
) -> Receipt:
    with connected(server, **changes) as connector:
        return connector.deliver(make_parcel(70_001), Target(path, conflict), HarnessContext())


def files(server: FtpServer) -> set[str]:
    return {str(path.relative_to(server.root)) for path in server.root.rglob("*") if path.is_file()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    requires(pyftpdlib_server.available(), pyftpdlib_server.PACKAGE)
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def emptied(server: FtpServer) -> Iterator[FtpServer]:
    yield server
    for path in sorted(server.root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


@pytest.fixture
def strict(vsftpd_server: FtpServer) -> Iterator[FtpServer]:
    """Wants TLS everywhere and one session."""
    yield from emptied(vsftpd_server)


# --- TLS --------------------------------------------------------------------------------------------


class _Old(Network):
    def tls_context(self, verify: bool = True, ca: Path | str | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(ca))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        return context


@pytest.mark.parametrize("network", [Network, _Old], ids=["1.3", "1.2"])
def test_data_connections_resume_the_tls_session(strict: FtpServer, network: type[Network]) -> None:
    with connected(strict, make_env(network=network(["127.0.0.0/8"]))) as connector:
        told = {step.name: step.detail for step in connector.check(HarnessContext()).steps}
        assert told["encryption"].startswith("TLSv1.2" if network is _Old else "TLSv1.3")
        for number in range(3):
            connector.deliver(make_parcel(70_001), Target(f"{number}.jpg", RENAME), HarnessContext())
    assert files(strict) == {"0.jpg", "1.jpg", "2.jpg"}


def test_without_the_session_the_servers_reason_is_told(
    strict: FtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data connection says only that it ended: the reason is read from the control connection."""
    right = Control.protected

    def stranger(self: Control, sock: Any) -> Any:
        control, self.sock = self.sock, type("NoSession", (), {"session": None})()
        try:
            return right(self, sock)
        finally:
            self.sock = control

    monkeypatch.setattr(Control, "protected", stranger)
    told = refusal(strict)
    assert (told.kind, told.code) == (ErrorKind.CONFIG, "522")
    assert "session reuse required" in told.message


def test_implicit_tls(implicit_ftp_server: FtpServer) -> None:
    for server in emptied(implicit_ftp_server):
        assert deliver(server).verified == "size"
        assert files(server) == {"in/photo.jpg"}


def test_a_stranger_s_certificate_is_refused(tls_ftp_server: FtpServer) -> None:
    assert tls_ftp_server.certificates is not None
    told = refusal(tls_ftp_server, ca_file=str(tls_ftp_server.certificates.stranger))
    assert (told.kind, "certificate" in told.message) == (ErrorKind.CONFIG, True)
    assert "ca_file" in (told.hint or "")
    assert refusal(tls_ftp_server, ca_file=None).kind is ErrorKind.CONFIG


def test_the_wrong_kind_of_tls_is_named(
    strict: FtpServer, implicit_ftp_server: FtpServer, plain_ftp_server: FtpServer
) -> None:
    told = refusal(strict, protocol="ftp", ca_file=None, implicit=False)
    assert (told.kind, "protocol: ftps" in (told.hint or "")) == (ErrorKind.CONFIG, True)
    told = refusal(plain_ftp_server, protocol="ftps")
    assert (told.kind, "implicit: true" in (told.hint or "")) == (ErrorKind.CONFIG, True)
    told = refusal(strict, implicit=True)
    assert (told.kind, "right port" in (told.hint or "")) == (ErrorKind.CONFIG, True)


def test_clear_text_is_said(plain_ftp_server: FtpServer) -> None:
    with connected(plain_ftp_server) as connector:
        told = {step.name: step.detail for step in connector.check(HarnessContext()).steps}
    assert "clear text" in told["encryption"]


# --- where data connections go ----------------------------------------------------------------------


class _Dialled(Network):
    def __init__(self, *allowed: str) -> None:
        super().__init__(allowed)
        self.hosts: list[str] = []

    def dial(self, host: str, port: int, timeout: float, **options: Any) -> Any:
        self.hosts.append(host)
        return super().dial(host, port, timeout, **options)


def test_a_passive_address_elsewhere_is_not_dialled(root: Path) -> None:
    network = _Dialled("127.0.0.0/8")
    with scripted_ftp.start(root, masquerade_address="203.0.113.9") as server:
        with connected(server, make_env(network=network)) as connector:
            connector.deliver(make_parcel(5_000), Target("photo.jpg", RENAME), HarnessContext())
        assert files(server) == {"photo.jpg"}
    assert len(network.hosts) >= 2
    assert set(network.hosts) == {"127.0.0.1"}


def test_a_server_that_knows_only_epsv(root: Path) -> None:
    with scripted_ftp.start(root, without=("PASV",)) as server:
        deliver(server)
        assert files(server) == {"in/photo.jpg"}


def test_the_network_policy_decides(plain_ftp_server: FtpServer) -> None:
    told = refusal(plain_ftp_server, make_env(network=Network()))
    assert (told.kind, "allow_private" in (told.hint or "")) == (ErrorKind.CONFIG, True)


# --- odd servers ------------------------------------------------------------------------------------


def test_a_server_without_facts(root: Path) -> None:
    with scripted_ftp.start(root, without=("MLST", "MLSD", "MFMT", "FEAT")) as server:
        assert deliver(server).path == "in/photo.jpg"
        assert deliver(server).path == "in/photo (1).jpg"
        (root / "in" / "folder").mkdir()
        with pytest.raises(DeliveryError) as caught:
            deliver(server, "in/folder", OVERWRITE)
        assert caught.value.kind is ErrorKind.NAME
        with pytest.raises(DeliveryError, match="a file stands where the folder") as caught:
            deliver(server, "in/photo.jpg/x.jpg")
        assert caught.value.kind is ErrorKind.NAME
        assert files(server) == {"in/photo.jpg", "in/photo (1).jpg"}


def test_a_server_that_tells_no_size_is_not_trusted(root: Path) -> None:
    with scripted_ftp.start(root, without=("MLST", "MLSD", "SIZE")) as server:
        told = refusal(server)
    assert (told.kind, "cannot be verified" in told.message) == (ErrorKind.CONFIG, True)


def _refusing(self: Any, path: str) -> Any:
    from pyftpdlib.handlers import FTPHandler

    if os.path.lexists(path):
        self._rnfr = None
        return self.respond("553 File exists.")
    return FTPHandler.ftp_RNTO(self, path)


def test_a_rename_that_refuses_to_replace(root: Path) -> None:
    with scripted_ftp.start(root, ftp_RNTO=_refusing) as server:
        deliver(server)
        (root / "in" / "photo.jpg").write_bytes(b"old")
        receipt = deliver(server, conflict=OVERWRITE)
        assert receipt.extra["replaced_atomically"] is False
        assert deliver(server).path == "in/photo (1).jpg"
        assert {(root / name).stat().st_size for name in files(server)} == {70_001}
        assert len(files(server)) == 2


def _digest(answer: str) -> Any:
    def command(self: Any, path: str) -> None:
        self.respond(answer.format(hashlib.sha256(Path(path).read_bytes()).hexdigest()))

    return command


def _features(self: Any, line: str) -> None:
    self.push("211-Features:\r\n SIZE\r\n XSHA256\r\n")
    self.respond("211 End")


def test_a_digest_of_the_server_is_asked_for(root: Path) -> None:
    changes: dict[str, Any] = {
        "commands": {"XSHA256": takes_a_path()},
        "ftp_FEAT": _features,
    }
    with scripted_ftp.start(root, ftp_XSHA256=_digest("250 {}"), **changes) as server:
        receipt = deliver(server)
        assert (receipt.verified, (receipt.digest or "").startswith("sha256:")) == ("sha256", True)
    with scripted_ftp.start(root, ftp_XSHA256=_digest("250 " + "0" * 64), **changes) as server:
        with pytest.raises(DeliveryError) as caught:
            deliver(server, "in/other.jpg")
        assert caught.value.kind is ErrorKind.INTEGRITY
        assert files(server) == {"in/photo.jpg"}


def test_a_full_server_is_not_a_refused_login(root: Path) -> None:
    with scripted_ftp.start(root, most=1) as server:
        told = refusal(server)
    assert (told.kind, told.code) == (ErrorKind.THROTTLED, "421")


# --- names ------------------------------------------------------------------------------------------


def test_latin_1_names(root: Path) -> None:
    with scripted_ftp.start(root, encoding="latin-1") as server:
        deliver(server, "été/Größe.jpg", encoding="latin-1")
        assert files(server) == {"été/Größe.jpg"}
        with pytest.raises(DeliveryError, match="latin-1 does not have") as caught:
            deliver(server, "写真.jpg", encoding="latin-1")
        assert caught.value.kind is ErrorKind.NAME


@pytest.mark.parametrize("name", ["a\r\nDELE b", "a\nb", "a\0b"])
def test_a_line_break_in_a_name_is_no_second_command(plain_ftp_server: FtpServer, name: str) -> None:
    with pytest.raises(DeliveryError) as caught:
        deliver(plain_ftp_server, name)
    assert caught.value.kind is ErrorKind.NAME


@pytest.mark.parametrize("name", ["~root", "-la", " leading", "a  b", 'say "hi"'])
def test_names_that_servers_read_as_something_else(strict: FtpServer, name: str) -> None:
    deliver(strict, f"{name}/{name}.jpg")
    assert files(strict) == {f"{name}/{name}.jpg"}


# --- reuse, time, sweeping --------------------------------------------------------------------------


def test_a_connection_that_died_between_two_files_is_replaced(
    plain_ftp_server: FtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from conveyor_connectors.ftp.plain import connector as module

    monkeypatch.setattr(module, "_TRUSTED_FOR", 0.0)
    for server in emptied(plain_ftp_server):
        with FaultProxy(server.host, server.port) as proxy:
            with connected(server, host=proxy.host, port=proxy.port) as connector:
                for number in range(3):
                    connector.deliver(make_parcel(5_000), Target(f"{number}.jpg", RENAME), HarnessContext())
                    if number == 1:
                        proxy.cut(after=0)
            assert (proxy.connections, proxy.struck) == (2, True)
        assert files(server) == {"0.jpg", "1.jpg", "2.jpg"}


def test_a_connection_that_the_server_ended_is_not_used_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from conveyor_connectors.ftp.plain import connector as module

    monkeypatch.setattr(module, "_TRUSTED_FOR", 1000.0)
    with scripted_ftp.start(root, timeout=1) as server, connected(server) as connector:
        connector.deliver(make_parcel(5_000), Target("one.jpg", RENAME), HarnessContext())
        session = connector._session  # type: ignore[attr-defined]
        wait_until(lambda: not session.quiet, 10, "the server's 421")
        connector.deliver(make_parcel(5_000), Target("two.jpg", RENAME), HarnessContext())
        assert connector._session is not session  # type: ignore[attr-defined]
        assert files(server) == {"one.jpg", "two.jpg"}


def test_a_broken_transfer_does_not_answer_the_next_one(strict: FtpServer) -> None:
    gone = OSError(5, "Input/output error")
    with connected(strict) as connector:
        for number in range(3):
            bad = make_parcel(3 << 20, raises_at=1 << 20, error=lambda: gone)
            with pytest.raises(DeliveryError) as caught:
                connector.deliver(bad, Target("bad.jpg", RENAME), HarnessContext())
            assert caught.value.kind is ErrorKind.SOURCE
            receipt = connector.deliver(make_parcel(5_000), Target(f"{number}.jpg", RENAME), HarnessContext())
            assert (receipt.path, receipt.size) == (f"{number}.jpg", 5_000)
    assert files(strict) == {"0.jpg", "1.jpg", "2.jpg"}


def test_time_mode_and_digest(plain_ftp_server: FtpServer) -> None:
    parcel = make_parcel(70_001, submitted_at=1_700_000_000.5)
    for server in emptied(plain_ftp_server):
        with connected(server, keep_time=True, file_mode="0640", verify="sha256") as connector:
            receipt = connector.deliver(parcel, Target("photo.jpg", RENAME), HarnessContext())
        there = (server.root / "photo.jpg").stat()
        assert (int(there.st_mtime), there.st_mode & 0o777) == (1_700_000_000, 0o640)
        assert receipt.digest == f"sha256:{parcel.digests['sha256']}"


def test_a_server_without_mfmt_says_so(strict: FtpServer) -> None:
    with pytest.raises(DeliveryError) as caught:
        deliver(strict, keep_time=True)
    assert (caught.value.kind, "keep_time" in (caught.value.hint or "")) == (ErrorKind.CONFIG, True)
    assert files(strict) == set()


@pytest.mark.parametrize("facts", [True, False], ids=["MLSD", "NLST"])
def test_old_temporary_files_are_swept(root: Path, facts: bool) -> None:
    old, young, foreign = (root / name for name in (".conveyor-a.1.part", ".conveyor-b.1.part", "old.part"))
    for path in (old, young, foreign):
        path.write_bytes(b"half")
    for path in (old, foreign):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    with scripted_ftp.start(root, without=() if facts else ("MLST", "MLSD")) as server:
        deliver(server, "photo.jpg")
        assert files(server) == {young.name, foreign.name, "photo.jpg"}


@pytest.mark.parametrize("facts", [True, False], ids=["MLSD", "NLST"])
def test_a_server_whose_clock_is_days_behind_keeps_what_is_young_by_it(root: Path, facts: bool) -> None:
    young = root / ".conveyor-another_worker.1.part"
    young.write_bytes(b"half")
    ahead = make_env(clock=lambda: time.time() + 3 * 86400)
    with (
        scripted_ftp.start(root, without=() if facts else ("MLST", "MLSD")) as server,
        connected(server, ahead) as connector,
    ):
        connector.deliver(make_parcel(10), Target("photo.jpg", RENAME), HarnessContext())
        assert files(server) == {young.name, "photo.jpg"}
