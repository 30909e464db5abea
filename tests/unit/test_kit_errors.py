"""What transport errors mean, through a real session and real sockets."""

from __future__ import annotations

import http.server
import io
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from servers.tls import make_certificates

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.kit import pools
from conveyor.kit.bodies import Body, Counting
from conveyor.kit.errors import by_status, causes, from_transport, refusal
from conveyor.kit.sessions import make_session
from conveyor.network import Network
from conveyor.testing import HarnessContext
from conveyor.testing.harness import loopback_network
from conveyor.testing.ports import LOOPBACK, free_port


@contextmanager
def server(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Accepts connections and lets ``talk`` treat each."""
    listener = socket.create_server((LOOPBACK, 0))
    listener.settimeout(0.05)
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            connection.settimeout(5)
            with connection:
                talk(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{listener.getsockname()[1]}/"
    finally:
        over.set()
        thread.join(5)
        listener.close()


def failed(session: requests.Session, url: str, *, sent: bool = False, **kwargs: object) -> DeliveryError:
    with pytest.raises(Exception) as caught:
        session.post(url, timeout=(2, 1), **kwargs)  # type: ignore[arg-type]
    error = from_transport(caught.value, "upload the file", sent=sent)
    assert "://" not in error.message
    return error


def test_nobody_listens() -> None:
    error = failed(make_session(loopback_network()), f"http://{LOOPBACK}:{free_port()}/", sent=True)
    assert error.kind is ErrorKind.TRANSIENT
    assert "refused" in error.message


def test_the_policy_forbids_the_address() -> None:
    error = failed(make_session(Network()), f"http://{LOOPBACK}:{free_port()}/")
    assert error.kind is ErrorKind.CONFIG
    assert "allow_private" in str(error.hint)


def test_a_certificate_that_nobody_trusts(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)

    def talk(connection: socket.socket) -> None:
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(connection, server_side=True)

    with server(talk) as url:
        error = failed(make_session(loopback_network()), url.replace("http:", "https:"))
    assert error.kind is ErrorKind.CONFIG
    assert "ca_bundle" in str(error.hint)


@pytest.mark.parametrize(("sent", "kind"), [(False, ErrorKind.TRANSIENT), (True, ErrorKind.UNKNOWN_OUTCOME)])
def test_a_connection_that_ends_without_an_answer(sent: bool, kind: ErrorKind) -> None:
    with server(lambda connection: connection.recv(65536) and None) as url:
        assert failed(make_session(loopback_network()), url, sent=sent, data=b"x").kind is kind


def test_a_silent_server_is_a_timeout() -> None:
    over = threading.Event()
    with server(lambda connection: over.wait(3) and None) as url:
        error = failed(make_session(loopback_network()), url)
        over.set()
    assert error.kind is ErrorKind.TRANSIENT
    assert "timed out" in error.message


def test_an_endless_answer_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "ANSWER_MAX", 100_000)

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                connection.sendall(b"x" * 65536)
        except OSError:
            return

    with server(talk) as url:
        assert failed(make_session(loopback_network()), url).kind is ErrorKind.TRANSIENT


def test_a_redirect_is_an_answer_and_goes_nowhere() -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")

    with server(talk) as url:
        assert make_session(loopback_network()).post(url, data=b"x").status_code == 302


def test_a_body_is_streamed_once_with_its_length() -> None:
    seen: list[tuple[str | None, bytes]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            length = self.headers["Content-Length"]
            seen.append((length, self.rfile.read(int(length))))
            self.send_response(200)
            self.send_header("Set-Cookie", "a=b")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    httpd = http.server.HTTPServer((LOOPBACK, 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    session = make_session(loopback_network())
    data = b"0123456789" * 100_000
    body = Body(io.BytesIO(data), 10, len(data) - 10, Counting(HarnessContext()))
    try:
        session.put(f"http://{LOOPBACK}:{httpd.server_address[1]}/", data=body, timeout=5)  # type: ignore[arg-type]
    finally:
        httpd.shutdown()
        httpd.server_close()
    assert seen == [(str(len(data) - 10), data[10:])]
    assert not session.cookies


def test_a_payloads_own_error_passes_through_what_wraps_it() -> None:
    own = DeliveryError(ErrorKind.SOURCE, "the payload ends early")
    wrapped = requests.ConnectionError(own)
    assert from_transport(wrapped, "upload") is own
    assert own in list(causes(wrapped))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (500, ErrorKind.TRANSIENT),
        (429, ErrorKind.THROTTLED),
        (408, ErrorKind.TRANSIENT),
        (418, ErrorKind.CONFIG),
    ],
)
def test_an_unknown_status(status: int, kind: ErrorKind) -> None:
    assert by_status(status) is kind


def test_a_refusal_of_our_own_side_is_told_from_a_lost_connection() -> None:
    class Wrapped(Exception):
        """As botocore's errors: what lies under them is an argument of their text."""

        def __init__(self, error: Exception) -> None:
            super().__init__("could not connect to the endpoint")
            self.kwargs = {"error": error}

    certificate = ssl.SSLCertVerificationError(1, "certificate verify failed")
    told = refusal(Wrapped(certificate), "put the object", certificate="Set ca_bundle.")
    assert told is not None
    assert (told.kind, told.hint) == (ErrorKind.CONFIG, "Set ca_bundle.")
    assert told.message == "could not put the object: certificate not accepted (no reason given)"
    assert refusal(Wrapped(ConnectionResetError(104, "reset")), "put the object") is None
