"""Half of an answer's head is no answer, whoever reads it."""

from __future__ import annotations

import socket
import threading

import pytest
from servers.network_reach import HTTP, Reach
from servers.raw_tcp import Play, playing

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.errors import SubmissionError
from conveyor.network import Network
from conveyor.oauth.http import NoAnswer
from conveyor.testing.ports import LOOPBACK

NETWORK = Network(["127.0.0.0/8"])
HALVES = [
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nETa",
    b"HTTP/1.1 207 Multi-Status\r\nContent-Length: 0\r\n",
]


def saying(data: bytes) -> Play:
    def play(sock: socket.socket, over: threading.Event) -> None:
        sock.sendall(data)

    return play


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("reach", HTTP.values(), ids=HTTP.keys())
def test_half_a_head_is_no_answer(reach: Reach, half: bytes) -> None:
    with playing(saying(half)) as server, pytest.raises((DeliveryError, SubmissionError, NoAnswer)) as told:
        reach(NETWORK, LOOPBACK, server.port)
    if isinstance(told.value, DeliveryError):
        assert told.value.kind in (ErrorKind.TRANSIENT, ErrorKind.UNKNOWN_OUTCOME)


@pytest.mark.parametrize(
    "whole",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
        b"HTTP/1.0 200 OK\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_a_whole_one_is(whole: bytes) -> None:
    with playing(saying(whole)) as server:
        response = NETWORK.pool().request("POST", server.url, body=b"x")
    assert (response.status, response.data) == (200, b"{}")
