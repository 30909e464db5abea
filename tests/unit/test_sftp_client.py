"""The SFTP client against a scripted server: nothing that the server says about a write is lost."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable

import pytest

from conveyor.contract import AttemptCancelled, DeliveryError, ErrorKind
from conveyor.testing import HarnessContext, make_parcel
from conveyor_connectors.ftp.sftp import transfer, wire
from conveyor_connectors.ftp.sftp.client import Client, LinkLost, StatusError
from conveyor_connectors.ftp.sftp.wire import Packet, Status

OK = struct.pack(">I", Status.OK) + wire.string(b"") + wire.string(b"")


def status(code: int, text: str = "") -> bytes:
    return struct.pack(">I", code) + wire.string(text.encode()) + wire.string(b"")


class ScriptedServer:
    """A stream whose other end answers each request by ``answer(packet type, body)`` once it is read."""

    def __init__(self, answer: Callable[[int, bytes], tuple[int, bytes] | None]) -> None:
        self.seen: list[int] = []
        self.most_unanswered = 0
        self._answer = answer
        self._in = bytearray()
        self._out: deque[bytes] = deque()
        self._unanswered = 0
        self.silent = False

    def send(self, data: bytes) -> int:
        self._in += data
        while len(self._in) >= 4 and len(self._in) >= (size := int.from_bytes(self._in[:4], "big")) + 4:
            self._request(self._in[4], bytes(self._in[5 : size + 4]))
            del self._in[: size + 4]
        return len(data)

    def _request(self, kind: int, body: bytes) -> None:
        self.seen.append(kind)
        told = self._answer(kind, body[4:])
        if told is not None:
            packet = bytes([told[0]]) + body[:4] + told[1]
            self._out.append(struct.pack(">I", len(packet)) + packet)
            self._unanswered += 1
            self.most_unanswered = max(self.most_unanswered, self._unanswered)

    def recv(self, nbytes: int) -> bytes:
        if self.silent:
            raise TimeoutError
        if not self._out:
            return b""
        self._unanswered -= 1
        return self._out.popleft()

    def recv_ready(self) -> bool:
        return False

    def settimeout(self, timeout: float | None) -> None:
        assert timeout, "a stream without a timeout waits for ever"


def ok(kind: int, body: bytes) -> tuple[int, bytes]:
    return Packet.STATUS, OK


def send(server: ScriptedServer, size: int, context: HarnessContext | None = None) -> None:
    transfer.send(Client(server), b"h", make_parcel(size), context or HarnessContext())


def test_every_write_is_confirmed_and_counted() -> None:
    context, server = HarnessContext(), ScriptedServer(ok)
    send(server, 10_000_000, context)
    assert context.sent == 10_000_000
    assert server.seen == [Packet.WRITE] * 313


def test_unanswered_writes_are_bounded() -> None:
    server = ScriptedServer(ok)
    send(server, 10_000_000)
    assert server.most_unanswered == transfer.IN_FLIGHT


@pytest.mark.parametrize("bad", [0, 5, 312], ids=["first", "middle", "last"])
def test_no_refused_write_goes_unseen(bad: int) -> None:
    count = iter(range(1000))
    server = ScriptedServer(
        lambda kind, body: (Packet.STATUS, status(Status.FAILURE, "no") if next(count) == bad else OK)
    )
    with pytest.raises(StatusError, match="WRITE: no"):
        send(server, 10_000_000)


def test_an_error_of_close_is_raised() -> None:
    client = Client(ScriptedServer(lambda kind, body: (Packet.STATUS, status(15, "quota"))))
    with pytest.raises(StatusError) as caught:
        client.close(b"h")
    assert caught.value.code == Status.QUOTA_EXCEEDED


def test_answers_may_come_in_any_order() -> None:
    client = Client(ScriptedServer(ok))
    first, second = client.write(b"h", 0, b"a"), client.write(b"h", 1, b"b")
    client.settle(second)
    client.settle(first)
    assert client.idle


def test_a_longer_source_is_refused() -> None:
    parcel = make_parcel(100_000)
    longer = make_parcel(100_001)
    server = ScriptedServer(ok)
    import dataclasses

    with pytest.raises(DeliveryError) as caught:
        transfer.send(Client(server), b"h", dataclasses.replace(parcel, open=longer.open), HarnessContext())
    assert caught.value.kind is ErrorKind.SOURCE


def test_silence_ends() -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 1
        return now[0]

    server = ScriptedServer(ok)
    client = Client(server, clock=clock)
    server.silent = True
    with pytest.raises(LinkLost, match="silent for 60 s"):
        client.realpath(".")


def test_waiting_can_be_cancelled() -> None:
    server = ScriptedServer(ok)
    client = Client(server)
    server.silent = True
    context = HarnessContext()
    context.cancel()
    client.pulse = context.check
    with pytest.raises(AttemptCancelled):
        client.realpath(".")
    assert not client.idle


def test_text_before_sftp_is_explained() -> None:
    class Banner(ScriptedServer):
        def recv(self, nbytes: int) -> bytes:
            return b"Welcome to files.example\n"

    with pytest.raises(LinkLost, match="login script"):
        Client(Banner(ok)).start()


def test_a_short_read_is_asked_for_again() -> None:
    content = bytes(range(256)) * 300

    def answer(kind: int, body: bytes) -> tuple[int, bytes]:
        offset, length = struct.unpack(">QI", body[5:])
        data = content[offset : offset + min(length, 10_000)]
        return (Packet.DATA, wire.string(data)) if data else (Packet.STATUS, status(Status.EOF))

    assert b"".join(Client(ScriptedServer(answer)).read(b"h", len(content))) == content
    assert b"".join(Client(ScriptedServer(answer)).read(b"h", len(content) + 99_999)) == content


def test_a_cut_request_spoils_the_session() -> None:
    class Half(ScriptedServer):
        def send(self, data: bytes) -> int:
            if len(data) < 30_000:
                raise ConnectionResetError
            return 10_000

    client = Client(Half(ok))
    with pytest.raises(LinkLost):
        client.write(b"h", 0, bytes(32_000))
    assert client.broken
    assert not client.idle


@pytest.mark.parametrize("kind", [Packet.STATUS, Packet.ATTRS])
def test_an_answer_that_ends_early_is_none(kind: Packet) -> None:
    client = Client(ScriptedServer(lambda asked, body: (kind, b"\0")))
    with pytest.raises(LinkLost, match="does not keep to SFTP"):
        client.lstat("a")


def test_a_listing_without_names_is_at_its_end() -> None:
    def answer(kind: int, body: bytes) -> tuple[int, bytes]:
        if kind == Packet.OPENDIR:
            return Packet.HANDLE, wire.string(b"h")
        return (Packet.NAME, struct.pack(">I", 0)) if kind == Packet.READDIR else (Packet.STATUS, OK)

    server = ScriptedServer(answer)
    assert list(Client(server).listing(".", most=10)) == []
    assert server.seen == [Packet.OPENDIR, Packet.READDIR, Packet.CLOSE]


def test_a_server_that_never_ends_its_answer_is_left_when_asked() -> None:
    class Endless(ScriptedServer):
        def recv(self, nbytes: int) -> bytes:
            return struct.pack(">IBI", 5, Packet.STATUS, 999)  # answers what nobody asked

    pulses: list[int] = []

    def pulse() -> None:
        pulses.append(1)
        if len(pulses) > 100:
            raise AttemptCancelled

    client = Client(Endless(ok))
    client.pulse = pulse
    with pytest.raises(AttemptCancelled):
        client.remove("a")
