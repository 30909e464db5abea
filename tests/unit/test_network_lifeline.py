"""A server that sends a byte now and then holds nobody for longer than the whole request may take."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
from servers.raw_tcp import Play, playing
from servers.tls import make_certificates

from conveyor.errors import SubmissionError
from conveyor.network import Network, within
from conveyor.oauth import http as provider
from conveyor.oauth.http import NoAnswer, ask
from conveyor.payloads.sources import web
from conveyor.payloads.sources.web import open_url

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


def test_a_handshake_that_dribbles_is_left(tmp_path: Path) -> None:
    """A TLS record of which one byte comes at a time: each read of the socket succeeds."""
    certificates = make_certificates(tmp_path)
    with playing(slowly(b"\x16\x03\x03\x3f\xff")) as server, within(LIMIT) as lifeline:
        started = time.monotonic()
        with pytest.raises((OSError, ssl.SSLError)):
            NETWORK.open_line("127.0.0.1", server.port, 15, secure=True, ca=certificates.ca)
        assert time.monotonic() - started < STOP / 2
        assert lifeline.over


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
