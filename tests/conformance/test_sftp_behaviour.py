"""What SFTP does beyond the suite: trust, logins, reuse of a connection, sweeping, odd servers."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import asyncssh
import pytest
from servers.ssh import PASSWORD, SshServer, make_keys

from conveyor.contract import (
    ConflictPolicy,
    ConnectorEnv,
    DeliveryError,
    ErrorKind,
    Target,
)
from conveyor.testing import FaultProxy, HarnessContext, free_port, make_env, make_parcel
from conveyor.testing.harness import SimpleMemory, loopback_network
from conveyor.testing.ports import wait_until
from conveyor_connectors.ftp.options import FtpOptions
from conveyor_connectors.ftp.sftp.connector import SftpConnector
from conveyor_connectors.ftp.sftp.session import scan_host_key

RENAME = ConflictPolicy.RENAME


def options_for(server: SshServer, **changes: Any) -> FtpOptions:
    known: dict[str, Any] = {
        "protocol": "sftp",
        "host": server.host,
        "port": server.port,
        "username": server.username,
        "private_key": server.keys.client_key.read_text(),
        "host_key": server.host_key,
        "remote_path": server.base,
    }
    return FtpOptions.model_validate({**known, **changes})


@contextmanager
def connected(server: SshServer, env: ConnectorEnv | None = None, **changes: Any) -> Iterator[SftpConnector]:
    connector = SftpConnector(options_for(server, **changes), env or make_env())
    try:
        yield connector
    finally:
        connector.close()


def refusal(server: SshServer, env: ConnectorEnv | None = None, **changes: Any) -> DeliveryError:
    with connected(server, env, **changes) as connector, pytest.raises(DeliveryError) as caught:
        connector.check(HarnessContext())
    return caught.value


@pytest.fixture
def server(asyncssh_server: SshServer) -> Iterator[SshServer]:
    _empty(asyncssh_server.root)  # other modules use it as well
    yield asyncssh_server
    _empty(asyncssh_server.root)


def _empty(root: Path) -> None:
    for path in sorted(root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


# --- trust ------------------------------------------------------------------------------------------


def test_an_unknown_server_is_refused_with_the_line_to_paste(server: SshServer) -> None:
    told = refusal(server, host_key=None)
    line, fingerprint = scan_host_key(server.host, server.port, loopback_network())
    assert told.kind is ErrorKind.CONFIG
    assert fingerprint in told.message
    assert f'host_key: "{line}"' in (told.hint or "")
    assert "conveyor trust test" in (told.hint or "")
    assert line == server.host_key


def test_trust_is_remembered(server: SshServer) -> None:
    env = make_env()
    with connected(server, env, host_key=None) as connector:
        assert connector.host_key().trusted is None
        connector.trust(connector.host_key().line)
        assert connector.host_key().trusted is True
        connector.check(HarnessContext())
    with connected(server, make_env(memory=_memory(env)), host_key=None) as connector:
        connector.check(HarnessContext())


def _memory(env: ConnectorEnv) -> SimpleMemory:
    assert isinstance(env.memory, SimpleMemory)
    return env.memory


def test_accept_new_pins_and_a_changed_key_is_refused(server: SshServer, tmp_path: Path) -> None:
    env = make_env()
    with connected(server, env, host_key="accept-new") as connector:
        connector.check(HarnessContext())
    other = make_keys(tmp_path).host_public
    with connected(server, env, host_key="accept-new") as connector:
        connector.trust(other)
        with pytest.raises(DeliveryError, match="another key") as caught:
            connector.check(HarnessContext())
        assert caught.value.kind is ErrorKind.CONFIG
        connector.trust(server.host_key)
        connector.check(HarnessContext())


def test_a_pinned_key_is_stronger_than_memory(server: SshServer, tmp_path: Path) -> None:
    env = make_env()
    with connected(server, env, host_key="accept-new") as connector:
        connector.check(HarnessContext())
    told = refusal(server, env, host_key=make_keys(tmp_path).host_public)
    assert (told.kind, "another key" in told.message) == (ErrorKind.CONFIG, True)
    with connected(server, env, host_key=[told_line(tmp_path), server.host_key]) as connector:
        connector.check(HarnessContext())


def told_line(folder: Path) -> str:
    return make_keys(folder).host_public


# --- logins and old servers -------------------------------------------------------------------------


class OddServer:
    """An asyncssh server in a thread: the login and the file rules that a test wants."""

    def __init__(self, folder: Path, *, access: type, files: type | None = None, **listen: Any) -> None:
        (folder / "data").mkdir()
        self.keys = make_keys(folder)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._access, self._files, self._listen = access, files, listen
        self.server = SshServer(
            "odd", "127.0.0.1", free_port(), "conveyor", folder / "data", self.keys, password=PASSWORD
        )

    def __enter__(self) -> SshServer:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self.server

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(10)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._done = asyncio.Event()
        root, kind = str(self.server.root).encode(), self._files or asyncssh.SFTPServer
        listener = await asyncssh.create_server(
            self._access,
            self.server.host,
            self.server.port,
            server_host_keys=[str(self.keys.host_key)],
            sftp_factory=lambda channel: kind(channel, chroot=root),
            **self._listen,
        )
        self._ready.set()
        await self._done.wait()
        listener.close()
        await listener.wait_closed()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)


class ByPassword(asyncssh.SSHServer):
    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return password == PASSWORD


class ByPrompt(asyncssh.SSHServer):
    def kbdint_auth_supported(self) -> bool:
        return True

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Any:
        return "", "", "", [("Password: ", False)]

    def validate_kbdint_response(self, username: str, responses: list[str]) -> bool:
        return responses == [PASSWORD]


def test_keyboard_interactive_is_answered_with_the_password(tmp_path: Path) -> None:
    with OddServer(tmp_path, access=ByPrompt) as server:
        with connected(server, private_key=None, password=PASSWORD) as connector:
            connector.check(HarnessContext())
        told = refusal(server, private_key=None, password="wrong-password")
        assert told.kind is ErrorKind.AUTH_REVOKED


def test_a_server_that_takes_no_key_says_what_it_takes(tmp_path: Path) -> None:
    with OddServer(tmp_path, access=ByPassword) as server:
        told = refusal(server)
        assert told.kind is ErrorKind.AUTH_REVOKED
        assert "password" in told.message
        with connected(server, password=PASSWORD) as connector:
            connector.check(HarnessContext())


def test_an_old_server_is_explained(tmp_path: Path) -> None:
    with OddServer(tmp_path, access=ByPassword, kex_algs=["diffie-hellman-group14-sha1"]) as server:
        told = refusal(server, private_key=None, password=PASSWORD)
    assert told.kind is ErrorKind.CONFIG
    assert "no longer safe" in told.message
    assert "SHA-1" in (told.hint or "")


def test_a_login_cut_off_is_no_refused_login(server: SshServer) -> None:
    with FaultProxy(server.host, server.port) as proxy:
        with connected(server, host=proxy.host, port=proxy.port) as connector:
            connector.check(HarnessContext())
        whole = proxy.client_bytes
        kinds = set()
        for after in range(whole // 3, whole - 600, 150):
            proxy.cut(after=after, reset=True)
            kinds.add(refusal(server, host=proxy.host, port=proxy.port).kind)
            assert proxy.struck
    assert kinds == {ErrorKind.TRANSIENT}


# --- one connection, many deliveries ----------------------------------------------------------------


def test_a_connection_closed_while_idle_is_replaced(server: SshServer) -> None:
    with FaultProxy(server.host, server.port) as first:
        connector = SftpConnector(options_for(server, host=first.host, port=first.port), make_env())
        connector.deliver(make_parcel(5_000), Target("one.jpg", RENAME), HarnessContext())
        session = connector._session
        assert session is not None
        for link in list(first._threads):
            assert link.is_alive()
        first.cut(after=0)
        session.transport.send_ignore(16)  # wakes the fault: the server hangs up on the idle connection
        wait_until(lambda: not session.transport.is_active(), 10, "the client to notice")
        receipt = connector.deliver(make_parcel(6_000), Target("two.jpg", RENAME), HarnessContext())
        connector.close()
    assert receipt.path == "two.jpg"
    assert (server.root / "two.jpg").stat().st_size == 6_000


def test_a_silent_idle_connection_is_replaced(server: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from conveyor_connectors.ftp.sftp import connector as module

    monkeypatch.setattr(module, "_TRUSTED_FOR", 0.0)
    monkeypatch.setattr(module, "_PING", 0.5)
    with FaultProxy(server.host, server.port) as proxy:
        connector = SftpConnector(options_for(server, host=proxy.host, port=proxy.port), make_env())
        connector.deliver(make_parcel(5_000), Target("one.jpg", RENAME), HarnessContext())
        proxy.stall(after=0)
        connector.deliver(make_parcel(6_000), Target("two.jpg", RENAME), HarnessContext())
        assert proxy.struck
        connector.close()
    assert proxy.connections == 2


# --- files ------------------------------------------------------------------------------------------


def test_mode_time_and_digest(server: SshServer) -> None:
    parcel = make_parcel(70_001, submitted_at=1_700_000_000.5)
    with connected(server, file_mode="0640", keep_time=True, verify="sha256") as connector:
        receipt = connector.deliver(parcel, Target("a/photo.jpg", RENAME), HarnessContext())
    there = (server.root / "a/photo.jpg").stat()
    assert (stat.S_IMODE(there.st_mode), int(there.st_mtime)) == (0o640, 1_700_000_000)
    assert (receipt.verified, receipt.digest) == ("sha256", f"sha256:{parcel.digests['sha256']}")


def test_old_temporary_files_are_swept_and_young_or_foreign_ones_are_not(server: SshServer) -> None:
    folder = server.root / "in"
    folder.mkdir()
    old, young = folder / ".conveyor-dlv_a.1.part", folder / ".conveyor-dlv_b.1.part"
    foreign = folder / ".other.part"
    for path in (old, young, foreign):
        path.write_bytes(b"half")
    for path in (old, foreign):
        os.utime(path, (1, 1))
    with connected(server) as connector:
        connector.deliver(make_parcel(10), Target("in/photo.jpg", RENAME), HarnessContext())
    assert {path.name for path in folder.iterdir()} == {young.name, foreign.name, "photo.jpg"}


@pytest.mark.parametrize("days", [0, 3])
def test_a_server_whose_clock_is_days_behind_keeps_what_is_young_by_it(server: SshServer, days: int) -> None:
    young = server.root / ".conveyor-dlv_another_worker.1.part"
    young.write_bytes(b"half")
    with connected(server, make_env(clock=lambda: time.time() + days * 86400)) as connector:
        connector.deliver(make_parcel(10), Target("photo.jpg", RENAME), HarnessContext())
    assert {path.name for path in server.root.iterdir()} == {young.name, "photo.jpg"}


class Replacing(asyncssh.SFTPServer):
    """Its rename replaces, as rclone's; unlike rclone it has hard links."""

    def rename(self, oldpath: bytes, newpath: bytes) -> None:
        os.replace(self.map_path(oldpath), self.map_path(newpath))


class Unlinked(Replacing):
    def link(self, oldpath: bytes, newpath: bytes) -> None:
        raise asyncssh.SFTPOpUnsupported("no links")


@pytest.mark.parametrize(("files", "flagged"), [(Replacing, False), (Unlinked, True)])
def test_nothing_is_overwritten_where_rename_replaces(tmp_path: Path, files: type, flagged: bool) -> None:
    with OddServer(tmp_path, access=ByPassword, files=files) as server:
        (server.root / "photo.jpg").write_bytes(b"somebody else's")
        context = HarnessContext()
        with connected(server, private_key=None, password=PASSWORD) as connector:
            parcel, target = make_parcel(5_000), Target("photo.jpg", RENAME)
            receipt = connector.deliver(parcel, target, context)
            again = connector.deliver(parcel, target, HarnessContext(context.state, attempt=2, fence=2))
        assert receipt.path == again.path == "photo (1).jpg"
        assert (receipt.extra.get("create_only") is False) is flagged
        assert {path.name for path in server.root.iterdir()} == {"photo.jpg", "photo (1).jpg"}
        assert (server.root / "photo.jpg").read_bytes() == b"somebody else's"


class Hasty(asyncssh.SFTPServer):
    """Answers the look at a file, which is sent with the order to close it, as if it were not written yet."""

    looks: ClassVar[list[bytes]] = []

    def lstat(self, path: bytes) -> object:
        found = os.lstat(self.map_path(path))
        if path.endswith(b".1.part"):
            self.looks.append(path)
        early = len(self.looks) == 1
        return asyncssh.SFTPAttrs(size=0, permissions=found.st_mode) if early else found


def test_a_look_that_came_before_the_file_was_closed_is_repeated(tmp_path: Path) -> None:
    Hasty.looks.clear()
    with OddServer(tmp_path, access=ByPassword, files=Hasty) as server:
        with connected(server, private_key=None, password=PASSWORD) as connector:
            receipt = connector.deliver(make_parcel(5_000), Target("photo.jpg", RENAME), HarnessContext())
    assert receipt.size == 5_000
    assert len(Hasty.looks) == 2


def test_a_link_whose_temporary_name_is_left_counts_as_arrived(tmp_path: Path) -> None:
    with OddServer(tmp_path, access=ByPassword, files=Replacing) as server:
        context = HarnessContext()
        with connected(server, private_key=None, password=PASSWORD) as connector:
            parcel, target = make_parcel(5_000), Target("photo.jpg", RENAME)
            connector.deliver(parcel, target, context)
            left = server.root / str(context.state["temporary"])
            os.link(server.root / "photo.jpg", left)
            again = connector.deliver(parcel, target, HarnessContext(context.state, attempt=2, fence=2))
        assert again.path == "photo.jpg"
        assert [path.name for path in server.root.iterdir()] == ["photo.jpg"]


def test_what_a_dead_worker_tried_out_goes_with_its_temporary_file(server: SshServer) -> None:
    state = {"temporary": f"{server.base}/.conveyor-dlv_x.1.part", "path": "photo.jpg"}
    left = [".conveyor-dlv_x.1.part", ".conveyor-dlv_x.1.a.part", ".conveyor-dlv_x.1.b.part"]
    context = HarnessContext(state, attempt=2, fence=2)
    with connected(server) as connector:
        for name in left:
            (server.root / name).write_bytes(b"half")
        connector.deliver(make_parcel(500), Target("photo.jpg", RENAME), context)
        assert [path.name for path in server.root.iterdir()] == ["photo.jpg"]
        (later,) = context.later
        for name in left:  # the dead worker's requests were under way
            (server.root / name).touch()
        connector.abandon(later, HarnessContext())
    assert [path.name for path in server.root.iterdir()] == ["photo.jpg"]


def test_a_stranger_of_the_same_size_is_not_taken_for_ours(server: SshServer) -> None:
    """The worker died between its save and its first request; meanwhile somebody took the name."""
    parcel, target = make_parcel(b"a" * 500), Target("photo.jpg", RENAME)
    (server.root / "photo.jpg").write_bytes(b"b" * 500)
    state = {"temporary": ".conveyor-dlv_x.1.part", "path": "photo.jpg"}
    with connected(server) as connector:
        receipt = connector.deliver(parcel, target, HarnessContext(state, attempt=2, fence=2))
    assert receipt.path == "photo (1).jpg"


def test_a_replacement_that_is_not_atomic_is_flagged(bare_sftp_server: SshServer) -> None:
    target = Target("flag/photo.jpg", ConflictPolicy.OVERWRITE)
    with connected(bare_sftp_server) as connector:
        first = connector.deliver(make_parcel(b"one"), target, HarnessContext())
        second = connector.deliver(make_parcel(b"two"), target, HarnessContext())
    assert first.extra == {}
    assert second.extra == {"replaced_atomically": False}
    assert (bare_sftp_server.root / "flag/photo.jpg").read_bytes() == b"two"


def test_progress_is_what_the_server_confirmed(server: SshServer) -> None:
    """A server that stops reading stops the progress, though our buffers would take more."""
    seen: list[int] = []
    with FaultProxy(server.host, server.port) as proxy:
        proxy.stall(after=4_000_000)
        context = HarnessContext(deadline=3, on_progress=seen.append)
        with connected(server, host=proxy.host, port=proxy.port) as connector:
            with pytest.raises(BaseException, match="deadline"):
                connector.deliver(make_parcel(20_000_000), Target("big.jpg", RENAME), context)
    assert 0 < max(seen) <= 4_000_000


def test_sixteen_connectors_log_in_without_being_dropped(sshd_server: SshServer) -> None:
    results: list[str | None] = []
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with connected(sshd_server) as connector:
                target = Target(f"many/{number}.jpg", RENAME)
                results.append(connector.deliver(make_parcel(1_000), target, HarnessContext()).path)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    _all(threads, threading.Thread.start)
    _all(threads, lambda thread: thread.join(60))
    assert not errors
    assert len(results) == 16


def _all(threads: list[threading.Thread], act: Callable[[threading.Thread], object]) -> None:
    for thread in threads:
        act(thread)


def test_the_client_takes_no_key_but_the_configured_one(server: SshServer) -> None:
    stranger = dataclasses.replace(
        server, keys=dataclasses.replace(server.keys, client_key=server.keys.stranger_key)
    )
    told = refusal(stranger)
    assert told.kind is ErrorKind.AUTH_REVOKED
