from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from conveyor.errors import ConveyorError, SubmissionError
from conveyor.network import Network
from conveyor.payloads.sources import open_source
from conveyor.payloads.sources.web import open_url, shown

BODY = bytes(range(256)) * 1000


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers.get("Authorization")))
        answer = getattr(self, "_" + self.path.partition("?")[0].strip("/").partition("/")[0], None)
        if answer is None:
            self._send(404, b"")
        else:
            answer()

    def _send(self, status: int, body: bytes, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def _photo(self) -> None:
        self._send(200, BODY, Content_Type="image/png; q=1")

    def _named(self) -> None:
        names = "filename=\"x\"; filename*=UTF-8''..%2Fcaf%C3%A9.jpg"
        self._send(200, BODY, Content_Disposition=f"attachment; {names}")

    def _plain(self) -> None:
        self._send(200, BODY, Content_Disposition='attachment; filename="folder/a b.gif"')

    def _short(self) -> None:
        self._send(200, BODY, length=len(BODY) + 1)

    def _astray(self) -> None:
        self._send(302, b"", Location="http://[::1")

    def _chunked(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    def _endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"half of it, or all?")
        self.close_connection = True

    def _broken(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"3\r\nabc\r\n")
        self.close_connection = True

    def _zipped(self) -> None:
        self._send(200, b"xx", Content_Encoding="gzip")

    def _moved(self) -> None:
        self._send(302, b"", Location="/photo/a.png")

    def _loop(self) -> None:
        self._send(302, b"", Location="/loop")

    def _metadata(self) -> None:
        self._send(302, b"", Location="http://169.254.169.254/latest/meta-data/")

    def _file(self) -> None:
        self._send(302, b"", Location="file:///etc/passwd")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.seen.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_address[1]}"
        finally:
            http.shutdown()
            thread.join()


@pytest.fixture
def network() -> Network:
    return Network(allow_private=("127.0.0.0/8",))


def test_a_url_is_streamed_with_name_type_and_size(server: str, network: Network) -> None:
    with open_source(f"{server}/photo/a%20b.png?token=1", network) as source:
        assert (source.name, source.media_type, source.size) == ("a b.png", "image/png", len(BODY))
        assert source.stream.read() == BODY


def test_the_servers_file_name_is_taken_without_its_folders(server: str, network: Network) -> None:
    with open_source(f"{server}/named", network) as source:
        assert (source.name, source.media_type) == ("café.jpg", "image/jpeg")
    with open_source(f"{server}/plain", network) as source:
        assert (source.name, source.media_type) == ("a b.gif", "image/gif")


def test_an_answer_of_unknown_length(server: str, network: Network) -> None:
    with open_source(f"{server}/chunked", network) as source:
        assert (source.size, source.stream.read()) == (None, b"abcde")


@pytest.mark.parametrize("path", ["short", "broken"])
def test_an_answer_that_ends_early_is_refused(server: str, network: Network, path: str) -> None:
    with open_source(f"{server}/{path}", network) as source, pytest.raises(SubmissionError):
        source.stream.read()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("missing", "answers 404"),
        ("zipped", "compressed"),
        ("endless", "does not say how long"),
        ("loop", "more than 5 times"),
        ("file", "redirects to where it must not"),
        ("astray", "leads to what is no URL: Invalid IPv6 URL"),
    ],
)
def test_answers_that_are_no_file(server: str, network: Network, path: str, said: str) -> None:
    with pytest.raises(SubmissionError, match=said):
        open_source(f"{server}/{path}", network)


def test_what_is_no_url_is_told(network: Network) -> None:
    with pytest.raises(SubmissionError, match="this is no URL: Invalid IPv6 URL"):
        open_source("http://user:secret@[::1/x", network)


def test_redirects_are_followed_under_the_policy(server: str, network: Network) -> None:
    with open_source(f"{server}/moved", network) as source:
        assert (source.name, source.stream.read()) == ("a.png", BODY)
    with pytest.raises(ConveyorError, match=r"169\.254\.169\.254"):
        open_source(f"{server}/metadata", network)


def test_private_addresses_are_refused_without_permission(server: str) -> None:
    with pytest.raises(ConveyorError, match=r"127\.0\.0\.1"):
        open_source(f"{server}/photo", Network())
    assert Handler.seen == []


def test_credentials_are_sent_to_their_host_and_shown_to_nobody(server: str, network: Network) -> None:
    url = server.replace("http://", "http://user:s3cret@")
    with open_source(f"{url}/moved?sig=s1gned", network) as source:
        assert "s3cret" not in source.label
    assert [authorization for _, authorization in Handler.seen] == ["Basic dXNlcjpzM2NyZXQ="] * 2
    with pytest.raises(SubmissionError) as caught:
        open_source(f"{url}/missing?sig=s1gned", network)
    assert "s3cret" not in str(caught.value)
    assert "s1gned" not in str(caught.value)
    assert shown("https://u:p@h:1/a?b#c") == "https://h:1/a"


def test_a_server_that_is_not_there(network: Network) -> None:
    with pytest.raises(SubmissionError, match="cannot be fetched"):
        open_source("http://127.0.0.1:1/x", network)


def test_a_download_that_dribbles_is_given_up(server: str, network: Network) -> None:
    ticks = iter(range(0, 100_000, 1_000))
    with open_url(f"{server}/chunked", network, monotonic=lambda: float(next(ticks))) as source:
        with pytest.raises(SubmissionError, match="too slowly"):
            source.stream.read()
