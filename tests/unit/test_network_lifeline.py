"""A server that sends a byte now and then holds nobody for longer than the whole request may take."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from servers.network_reach import FTPS, deliver
from servers.raw_tcp import Play, playing

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.errors import SubmissionError
from conveyor.network import Network, within
from conveyor.oauth import http as provider
from conveyor.oauth.http import NoAnswer, ask
from conveyor.payloads.sources import web
from conveyor.payloads.sources.web import open_url
from conveyor_connectors.ftp.plain import control

LIMIT = 0.5
STOP = 20.0
"""Seconds after which a dribbling server gives up, much later than it should have been left."""

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def slowly(data: bytes) -> Play:
    """Send ``data`` at once, then one more byte every 50 ms."""

    def play(sock: socket.socket, left: threading.Event) -> None:
        sock.sendall(data)
        end = time.monotonic() + STOP
        while time.monotonic() < end and not left.wait(0.05):
            sock.sendall(b"a")

    return play


NETWORK = Network(["127.0.0.0/8"])
PLACES = {
    "status line": b"HTTP/1.1 200 O",
    "header": HEAD + b"X-Long: ",
    "body of a known length": HEAD + b"Content-Length: 100000\r\n\r\n{",
    "body without one": HEAD + b"\r\n{",
    "chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n100000\r\n",
}


@pytest.mark.parametrize("data", PLACES.values(), ids=PLACES.keys())
def test_a_dribbling_provider_is_left(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "TOTAL_TIMEOUT", LIMIT)
    with playing(slowly(data)) as server:
        started = time.monotonic()
        with pytest.raises(NoAnswer, match="did not end in time") as told:
            ask(NETWORK, "POST", server.url, headers={}, body=b"x")
        assert time.monotonic() - started < STOP / 2
    assert told.value.sent


@pytest.mark.parametrize("data", [PLACES["status line"], PLACES["header"]])
def test_a_source_whose_answer_never_begins_is_left(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_ANSWER", LIMIT)
    with playing(slowly(data)) as server:
        started = time.monotonic()
        with pytest.raises(SubmissionError, match="no answer within"):
            open_url(server.url, NETWORK)
        assert time.monotonic() - started < STOP / 2


RECORD = b"\x16\x03\x03\x3f\xff"
"""The head of a TLS record of 16 KB, of which one byte comes at a time: each read of the socket succeeds."""


def test_a_handshake_that_dribbles_is_left() -> None:
    with playing(slowly(RECORD)) as server:
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            NETWORK.open_line("127.0.0.1", server.port, LIMIT, secure=True)
        assert time.monotonic() - started < STOP / 2


def test_a_proxys_consent_that_dribbles_is_left() -> None:
    with playing(slowly(b"HTTP/1.1 200 OK\r\nX: ")) as server:
        network = Network(proxy=f"http://127.0.0.1:{server.port}")
        started = time.monotonic()
        with pytest.raises(TimeoutError, match="no connection in time"):
            network.open_line("files.example", 443, LIMIT, secure=True)
        assert time.monotonic() - started < STOP / 2


def test_an_ftps_handshake_that_dribbles_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "HANDSHAKE", LIMIT)
    with playing(slowly(RECORD)) as server:
        options = {"host": "127.0.0.1", "port": server.port, "username": "u", "password": "p"}
        started = time.monotonic()
        with pytest.raises(DeliveryError) as told:
            deliver(FTPS, NETWORK, {**options, "protocol": "ftps", "implicit": True})
        assert time.monotonic() - started < STOP / 2
    assert told.value.kind is ErrorKind.TRANSIENT


def test_afterwards_connections_live_on() -> None:
    with playing(lambda sock, over: sock.sendall(b"hello")) as server:
        with within(30) as lifeline:
            line = NETWORK.open_line("127.0.0.1", server.port, 5, secure=False)
        with line.sock as sock:
            lifeline.expire()
            sock.sendall(b"x")
            assert sock.recv(100) == b"hello"


def test_an_inner_limit_ends_and_the_outer_one_goes_on() -> None:
    with within(30) as outer, within(20) as inner:
        pass
    assert not outer.over
    assert not inner.over
    assert threading.active_count() < 50
