"""Requests under the policy, of requests and of Google's client: sent once, streamed, none followed."""

from __future__ import annotations

import gc
import gzip
import io
import json
import socket
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
from googleapiclient.http import HttpRequest, MediaIoBaseUpload
from urllib3.exceptions import HTTPError, ProtocolError, ReadTimeoutError

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.kit import pools
from conveyor.kit.bodies import BLOCK, Body, Counting
from conveyor.kit.httplib2_transport import PolicedHttp
from conveyor.kit.sessions import make_session
from conveyor.network import Network, NetworkRefused
from conveyor.testing import HarnessContext
from conveyor.testing.ports import LOOPBACK

Script = Callable[[Any, bytes], None]


class Server(ThreadingHTTPServer):
    """Answers by a script; keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((LOOPBACK, 0), Handler)
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.script: Script = answer_with(200, b"{}")
        self.url = f"http://{LOOPBACK}:{self.server_address[1]}/up"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def _any(self) -> None:
        body = self._body()
        self.server.asked.append((self.command, {k.lower(): v for k, v in self.headers.items()}, body))
        self.server.script(self, body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        whole = b""
        while size := int(self.rfile.readline(), 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    do_GET = do_PUT = do_POST = _any

    def log_message(self, *_: object) -> None:
        pass


def answer_with(status: int, content: bytes = b"", **headers: str) -> Script:
    def answer(handler: Any, body: bytes) -> None:
        handler.send_response(status)
        for name, value in {"content_length": str(len(content)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def hang_up(handler: Any, body: bytes) -> None:
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture
def network() -> Network:
    return Network(allow_private=["127.0.0.0/8"])


@pytest.fixture
def http(network: Network) -> Iterator[PolicedHttp]:
    made = PolicedHttp(network, connections=4)
    yield made
    made.close()


def test_308_is_an_answer_like_any_other(server: Server, http: PolicedHttp) -> None:
    server.script = answer_with(308, Location=server.url + "/elsewhere", Range="bytes=0-99")
    response, content = http.request(server.url, "PUT", body=b"x" * 100)
    assert (response.status, response["status"], response["range"], content) == (
        308,
        "308",
        "bytes=0-99",
        b"",
    )
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307])
def test_no_redirect_is_followed(server: Server, http: PolicedHttp, network: Network, status: int) -> None:
    server.script = answer_with(status, Location=server.url + "/elsewhere")
    assert http.request(server.url)[0].status == status
    with make_session(network) as session:
        assert session.get(server.url).status_code == status
    assert len(server.asked) == 2


def test_a_body_is_streamed_with_its_length(server: Server, http: PolicedHttp) -> None:
    data = bytes(range(256)) * (3 * BLOCK // 256)
    context = HarnessContext()
    http.request(server.url, "PUT", body=Body(io.BytesIO(data), 0, len(data), Counting(context)))
    _, headers, body = server.asked[0]
    assert body == data
    assert headers["content-length"] == str(len(data))
    assert "transfer-encoding" not in headers
    assert context.sent == len(data)


def test_a_file_of_unknown_length_goes_in_chunks(server: Server, http: PolicedHttp) -> None:
    http.request(server.url, "POST", body=io.BytesIO(b"abc" * 1000))
    _, headers, body = server.asked[0]
    assert (body, headers["transfer-encoding"]) == (b"abc" * 1000, "chunked")


def test_a_payload_that_ends_early_says_so(server: Server, http: PolicedHttp) -> None:
    with pytest.raises(DeliveryError) as failed:
        http.request(server.url, "PUT", body=Body(io.BytesIO(b"abc"), 0, 10, Counting(HarnessContext())))
    assert failed.value.kind is ErrorKind.SOURCE


def test_a_broken_connection_is_not_tried_again(server: Server, http: PolicedHttp, network: Network) -> None:
    server.script = hang_up
    with pytest.raises(ProtocolError):
        http.request(server.url, "PUT", body=b"abc")
    with make_session(network) as session, pytest.raises(requests.ConnectionError) as failed:
        session.put(server.url, data=b"abc")
    assert isinstance(failed.value.__cause__, ProtocolError)
    assert len(server.asked) == 2


def test_an_answer_that_does_not_come_ends(server: Server, network: Network) -> None:
    release = threading.Event()
    server.script = lambda handler, body: (release.wait(30), hang_up(handler, body))[1]
    http = PolicedHttp(network, timeout=0.1)
    try:
        with pytest.raises(ReadTimeoutError):
            http.request(server.url)
    finally:
        release.set()
        http.close()


def test_an_answer_without_end_is_cut(
    server: Server, http: PolicedHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "ANSWER_MAX", 1000)
    server.script = answer_with(200, b"x" * 1001)
    with pytest.raises(HTTPError, match="does not end"):
        http.request(server.url)


@pytest.mark.parametrize("headers", [{"Content-Length": "1000"}, {"Transfer-Encoding": "chunked"}])
def test_an_answer_that_dribbles_is_cut(
    server: Server, http: PolicedHttp, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    monkeypatch.setattr(pools, "ANSWER_TIMEOUT", 0.3)
    piece = b"x" if "Content-Length" in headers else b"1\r\nx\r\n"
    cut = threading.Event()

    def dribble(handler: Any, body: bytes) -> None:
        handler.send_response(200)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        for _ in range(60):
            if cut.wait(0.05):
                break
            with suppress(OSError):
                handler.wfile.write(piece)
        handler.close_connection = True

    server.script = dribble
    with pytest.raises(HTTPError, match="does not end"):
        http.request(server.url)
    cut.set()


def test_an_answer_that_comes_in_pieces_is_whole(server: Server, http: PolicedHttp) -> None:
    packed = gzip.compress(b"hello" * 100_000)

    def pieces(handler: Any, body: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(packed)))
        handler.end_headers()
        for start in range(0, len(packed), 7):
            handler.wfile.write(packed[start : start + 7])

    server.script = pieces
    assert http.request(server.url)[1] == b"hello" * 100_000


@pytest.mark.parametrize("sent", [0, 5])
def test_an_answer_that_breaks_off_is_none(server: Server, http: PolicedHttp, sent: int) -> None:
    def break_off(handler: Any, body: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "10")
        handler.end_headers()
        handler.wfile.write(b"x" * sent)
        handler.close_connection = True

    server.script = break_off
    with pytest.raises(ProtocolError):
        http.request(server.url)


def test_a_packed_answer_is_unpacked_and_says_no_more_that_it_is_packed(
    server: Server, http: PolicedHttp
) -> None:
    packed = gzip.compress(b"hello")
    server.script = answer_with(200, packed, Content_Encoding="gzip")
    response, content = http.request(server.url, headers={"Accept-Encoding": "gzip"})
    assert (content, response["content-length"]) == (b"hello", "5")
    assert "content-encoding" not in response
    assert server.asked[0][1]["accept-encoding"] == "gzip"


def test_the_policy_decides(server: Server) -> None:
    http = PolicedHttp(Network())
    with pytest.raises(NetworkRefused):
        http.request(server.url)
    assert server.asked == []


def test_cookies_are_forgotten(server: Server, http: PolicedHttp, network: Network) -> None:
    server.script = answer_with(200, Set_Cookie="a=b; Path=/")
    with make_session(network) as session:
        for _ in range(2):
            http.request(server.url)
            session.get(server.url)
    assert not any("cookie" in headers for _, headers, _ in server.asked)


def test_a_request_s_own_headers_and_login_stand_before_the_session_s(
    server: Server, network: Network
) -> None:
    with make_session(network) as session:
        session.headers["User-Agent"] = "everybody"
        session.auth = ("ada", "secret")
        session.get(server.url, params={"q": "a b"})
        own: dict[str, Any] = {"user-agent": "this one", "Accept": None}
        session.get(server.url, headers=own, auth=("eve", "secret"))
    (_, first, _), (_, second, _) = server.asked
    assert (first["user-agent"], second["user-agent"]) == ("everybody", "this one")
    assert ("accept" in first, "accept" in second) == (True, False)
    assert first["authorization"] != second["authorization"]


def test_a_closed_session_keeps_no_connection(server: Server, network: Network) -> None:
    made = weakref.WeakSet[Any]()
    for _ in range(2):
        with make_session(network) as session:
            session.get(server.url)
            adapter = session.get_adapter(server.url)
            made.add(adapter.pools.connection_from_url(server.url))  # type: ignore[attr-defined]
            assert len(made) == 1
        gc.collect()
        assert not made


def test_many_threads_share_one(server: Server, http: PolicedHttp) -> None:
    server.script = lambda handler, body: answer_with(200, body)(handler, body)

    def echo(number: int) -> bytes:
        return http.request(server.url, "POST", body=str(number))[1]

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(echo, range(100))) == [str(number).encode() for number in range(100)]


def test_googles_client_uploads_through_it(server: Server, http: PolicedHttp) -> None:
    data = bytes(range(256)) * 2048
    half = 256 * 1024

    def script(handler: Any, body: bytes) -> None:
        if handler.command == "POST":
            answer_with(200, Location=server.url)(handler, body)
        elif len(server.asked) == 2:
            answer_with(308, Range=f"bytes=0-{half - 1}")(handler, body)
        else:
            answer_with(200, json.dumps({"id": "abc"}).encode())(handler, body)

    server.script = script
    media = MediaIoBaseUpload(io.BytesIO(data), "image/jpeg", chunksize=half, resumable=True)
    request = HttpRequest(
        http,
        lambda response, content: json.loads(content),
        server.url,
        method="POST",
        body="{}",
        headers={"content-type": "application/json"},
        resumable=media,
    )
    assert request.execute() == {"id": "abc"}
    assert b"".join(body for method, _, body in server.asked if method == "PUT") == data
    assert [method for method, _, _ in server.asked] == ["POST", "PUT", "PUT"]
