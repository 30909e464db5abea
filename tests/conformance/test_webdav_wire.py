"""The WebDAV connector's connections: TLS, early answers, answers without an end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from servers.dav_stub import Answer, answering, multistatus
from servers.tls import make_certificates

from conveyor.contract import AttemptCancelled, ConflictPolicy, DeliveryError, ErrorKind, Receipt, Target
from conveyor.testing.harness import HarnessContext, make_env, make_parcel
from conveyor.testing.ports import LOOPBACK
from conveyor_connectors.webdav import dav
from conveyor_connectors.webdav.connector import WebdavConnector
from conveyor_connectors.webdav.options import WebdavOptions

FOLDER = multistatus("/", folder=True)
TARGET = Target("photo.jpg", ConflictPolicy.OVERWRITE)
SCRIPT = {
    "PROPFIND": [FOLDER, multistatus("/x", size=5)],
    "PUT": Answer(201),
    "MOVE": Answer(201),
    "*": Answer(404),
}


def deliver(
    url: str, data: bytes = b"bytes", context: HarnessContext | None = None, **more: object
) -> Receipt:
    connector = WebdavConnector(WebdavOptions.model_validate({"url": url, **more}), make_env())
    with closing(connector):
        return connector.deliver(make_parcel(data), TARGET, context or HarnessContext())


@contextmanager
def server(handle: Callable[[socket.socket, bytes], None]) -> Iterator[str]:
    """Calls ``handle`` with each connection and the head of its first request."""

    def serve() -> None:
        while True:
            try:
                conn, _ = listener.accept()
            except OSError:
                return
            with closing(conn):
                head = b""
                while b"\r\n\r\n" not in head and (piece := conn.recv(4096)):
                    head += piece
                try:
                    handle(conn, head)
                except OSError:
                    continue

    with closing(socket.create_server((LOOPBACK, 0))) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def folder_then(head: bytes, conn: socket.socket, answer: bytes) -> None:
    if head.startswith(b"PROPFIND"):
        body = FOLDER.body
        start = f"HTTP/1.1 207 Multi-Status\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        conn.sendall(start.encode() + body)
    else:
        conn.sendall(answer)


def test_the_certificate_is_verified(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    with answering(SCRIPT, certificates=certificates) as stub:
        for more in ({}, {"ca_bundle": str(certificates.stranger)}):
            with pytest.raises(DeliveryError) as caught:
                deliver(stub.url, **more)
            assert caught.value.kind is ErrorKind.CONFIG
            assert "certificate" in caught.value.message
        assert stub.requests == []
        assert deliver(stub.url, ca_bundle=str(certificates.ca)).size == 5


def test_a_certificate_need_not_be_verified_when_told_so(tmp_path: Path) -> None:
    with answering(SCRIPT, certificates=make_certificates(tmp_path)) as stub:
        assert deliver(stub.url, verify_tls=False).size == 5


@pytest.mark.parametrize(("status", "kind"), [(413, "TOO_LARGE"), (507, "QUOTA"), (401, "AUTH_REVOKED")])
def test_a_refusal_before_the_body_is_read(status: int, kind: str) -> None:
    def handle(conn: socket.socket, head: bytes) -> None:
        folder_then(head, conn, f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())

    with server(handle) as url, pytest.raises(DeliveryError) as caught:
        deliver(url, b"x" * (20 << 20))
    assert caught.value.kind == kind


def test_an_answer_without_an_end_is_bounded() -> None:
    sent = 0

    def handle(conn: socket.socket, head: bytes) -> None:
        nonlocal sent
        folder_then(head, conn, b"HTTP/1.1 403 No\r\nConnection: close\r\n\r\n")
        while head.startswith(b"PUT"):
            sent += conn.send(b"x" * 65_536)

    with server(handle) as url, pytest.raises(DeliveryError) as caught:
        deliver(url)
    assert caught.value.kind is ErrorKind.CONFIG
    assert sent < 16 << 20


def test_an_answer_that_dribbles_ends_with_the_attempt() -> None:
    stop = threading.Event()

    def handle(conn: socket.socket, head: bytes) -> None:
        folder_then(head, conn, b"HTTP/1.1 403 No\r\nConnection: close\r\n\r\n")
        while head.startswith(b"PUT") and not stop.wait(0.1):
            conn.sendall(b"x")

    with server(handle) as url:
        started = time.monotonic()
        with pytest.raises(AttemptCancelled):
            deliver(url, context=HarnessContext(deadline=2.0))
        stop.set()
    assert time.monotonic() - started < 10


def test_a_look_that_dribbles_is_no_mistake_of_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dav, "READ_TIMEOUT", 1.0)
    stop = threading.Event()

    def handle(conn: socket.socket, head: bytes) -> None:
        conn.sendall(b"HTTP/1.1 207 Multi-Status\r\nConnection: close\r\n\r\n")
        while not stop.wait(0.1):
            conn.sendall(b" ")

    with server(handle) as url:
        with pytest.raises(DeliveryError, match="in time") as caught:
            deliver(url)
        stop.set()
    assert caught.value.kind is ErrorKind.TRANSIENT
