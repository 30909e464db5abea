"""The fault proxy does exactly what it is told, to the byte."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from conveyor.testing import FaultProxy
from conveyor.testing.ports import LOOPBACK, wait_until


class Echo:
    """Keeps what it receives and answers each piece with ``ok``."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.listener = socket.create_server((LOOPBACK, 0))
        self.port = int(self.listener.getsockname()[1])
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client:
                try:
                    while data := client.recv(65_536):
                        self.received += data
                        client.sendall(b"ok")
                except OSError:
                    continue

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[FaultProxy]:
    with FaultProxy(LOOPBACK, echo.port, quiet=0.05) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[socket.socket]:
    with socket.create_connection((proxy.host, proxy.port), timeout=10) as client:
        yield client


def _answers_until_silence(client: socket.socket) -> bytes:
    answers = b""
    while True:
        try:
            answers += client.recv(10)
        except TimeoutError:
            return answers


def test_transparent_without_a_fault(echo: Echo, proxy: FaultProxy, client: socket.socket) -> None:
    client.sendall(b"x" * 1_000)
    assert client.recv(10) == b"ok"
    assert bytes(echo.received) == b"x" * 1_000
    assert proxy.client_bytes == 1_000
    assert not proxy.struck


def test_cut_forwards_exactly_so_many_bytes(echo: Echo, proxy: FaultProxy, client: socket.socket) -> None:
    proxy.cut(after=700)
    client.sendall(b"x" * 1_000)
    assert client.recv(10) in (b"", b"ok")
    wait_until(lambda: len(echo.received) == 700)
    assert proxy.struck


def test_reset_is_a_reset(echo: Echo, proxy: FaultProxy, client: socket.socket) -> None:
    proxy.cut(after=0, reset=True)
    client.sendall(b"x")
    with pytest.raises(ConnectionResetError):
        client.recv(10)
    assert not echo.received


def test_stall_keeps_silent_until_released(echo: Echo, proxy: FaultProxy, client: socket.socket) -> None:
    proxy.stall(after=5)
    client.sendall(b"1234567")
    wait_until(lambda: proxy.struck)
    client.settimeout(0.2)
    assert _answers_until_silence(client) in (b"", b"ok")
    assert bytes(echo.received) == b"12345"
    proxy.release()
    client.settimeout(10)
    with pytest.raises(ConnectionResetError):
        client.recv(10)


def test_dropped_answer_lets_the_request_pass(echo: Echo, proxy: FaultProxy, client: socket.socket) -> None:
    client.sendall(b"first")
    assert client.recv(10) == b"ok"
    proxy.drop_answer()
    client.sendall(b"second")
    with pytest.raises(ConnectionResetError):
        client.recv(10)
    assert bytes(echo.received) == b"firstsecond"


def test_dropped_answer_starts_after_so_many_bytes(
    echo: Echo, proxy: FaultProxy, client: socket.socket
) -> None:
    proxy.drop_answer(after=5)
    client.sendall(b"first")
    assert client.recv(10) == b"ok"
    client.sendall(b"!")
    with pytest.raises(ConnectionResetError):
        client.recv(10)
    assert bytes(echo.received) == b"first!"


def test_corrupts_one_bit_of_one_byte(echo: Echo, proxy: FaultProxy, client: socket.socket) -> None:
    proxy.corrupt(at=3)
    client.sendall(b"0000")
    assert client.recv(10) == b"ok"
    client.sendall(b"0000")
    assert client.recv(10) == b"ok"
    assert bytes(echo.received) == b"00010000"


def test_refuses_so_many_connections(echo: Echo, proxy: FaultProxy) -> None:
    proxy.refuse(count=1)
    with pytest.raises(ConnectionResetError):
        _connect_and_read(proxy)
    with socket.create_connection((proxy.host, proxy.port), timeout=10) as second:
        second.sendall(b"x")
        assert second.recv(10) == b"ok"


def _connect_and_read(proxy: FaultProxy) -> bytes:
    with socket.create_connection((proxy.host, proxy.port), timeout=10) as client:
        return client.recv(10)


def test_strikes_once_then_is_transparent(echo: Echo, proxy: FaultProxy, client: socket.socket) -> None:
    proxy.cut(after=0, reset=True)
    client.sendall(b"x")
    with pytest.raises(ConnectionResetError):
        client.recv(10)
    with socket.create_connection((proxy.host, proxy.port), timeout=10) as second:
        second.sendall(b"y")
        assert second.recv(10) == b"ok"
    assert bytes(echo.received) == b"y"


def test_a_pause_holds_everything_up_and_loses_nothing(
    echo: Echo, proxy: FaultProxy, client: socket.socket
) -> None:
    client.sendall(b"before")
    assert client.recv(10) == b"ok"
    proxy.pause()
    client.sendall(b"after")
    client.settimeout(0.2)
    assert _answers_until_silence(client) == b""
    with socket.create_connection((proxy.host, proxy.port), timeout=10) as other:
        other.sendall(b"!")
        other.settimeout(0.1)
        assert _answers_until_silence(other) == b""
    assert bytes(echo.received) == b"before"
    proxy.resume()
    client.settimeout(10)
    assert client.recv(10) == b"ok"
    assert bytes(echo.received).startswith(b"beforeafter")
