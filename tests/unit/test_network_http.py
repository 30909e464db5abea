"""HTTP pools and dialling under the network policy: pinned addresses, no redirects, nothing from outside."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NameResolutionError, NewConnectionError

from conveyor.errors import ConveyorError
from conveyor.network import Network, NetworkRefused
from conveyor.testing import free_port

LOOPBACK = ["127.0.0.0/8"]


class Site:
    """An HTTP server that keeps what was asked; ``/moved`` redirects to ``/``; also a proxy that relays."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
                moved = self.path.endswith("/moved")
                self.send_response(302 if moved else 200)
                if moved:
                    self.send_header("Location", "/")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_GET

            def do_CONNECT(self) -> None:
                site.asked.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
                self.send_error(403, "not through here")

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}"


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    thread = threading.Thread(target=site.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        site.server.shutdown()
        site.server.server_close()
        thread.join()


def answers(*addresses: str) -> Any:
    """A stand-in for ``getaddrinfo``: one answer for each call, the last one for ever; counts its calls."""
    left = list(addresses)

    def lookup(host: Any, port: Any, *args: Any, **kw: Any) -> Any:
        lookup.calls += 1  # type: ignore[attr-defined]
        address = left.pop(0) if len(left) > 1 else left[0]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (address, port))]

    lookup.calls = 0  # type: ignore[attr-defined]
    return lookup


def test_loopback_is_refused_unless_listed(site: Site) -> None:
    for network in (Network(), Network(["10.0.0.0/8"])):
        with pytest.raises(NetworkRefused):
            network.dial("127.0.0.1", site.port, 5)
        with pytest.raises(NetworkRefused):
            network.pool().request("GET", site.url)
        with pytest.raises(NetworkRefused):
            network.open_line("localhost", site.port, 5, secure=False)
    assert site.asked == []
    with contextlib.closing(Network(LOOPBACK).dial("127.0.0.1", site.port, 5)) as sock:
        assert sock.gettimeout() is None


def test_a_name_is_resolved_once_and_dialled_as_checked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the second answer would be another address."""
    lookup = answers("127.0.0.1", "169.254.169.254")
    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    pool = Network(LOOPBACK).pool()
    assert pool.request("GET", f"http://rebinds.example:{site.port}/").status == 200
    assert lookup.calls == 1
    assert site.asked[0][2]["host"] == f"rebinds.example:{site.port}"
    pool.clear()
    with pytest.raises(NetworkRefused):
        pool.request("GET", f"http://rebinds.example:{site.port}/")


def test_of_several_addresses_only_the_allowed_are_dialled(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def both(host: Any, port: Any, *args: Any, **kw: Any) -> Any:
        rows = [("10.0.0.1", port), ("127.0.0.1", port)]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", row) for row in rows]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    assert [address[0] for _, address in Network(LOOPBACK).resolve("both.example", 80)] == ["127.0.0.1"]
    Network(LOOPBACK).dial("both.example", site.port, 5).close()


def test_a_dead_address_leaves_time_for_the_next(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full backlog swallows connections; half of the time is kept for the address after it."""
    with contextlib.ExitStack() as stack:
        dead = stack.enter_context(socket.create_server(("127.0.0.2", site.port), backlog=0))
        for _ in range(3):
            filler = stack.enter_context(contextlib.closing(socket.socket()))
            filler.setblocking(False)
            filler.connect_ex(dead.getsockname())

        def two(host: Any, port: Any, *args: Any, **kw: Any) -> Any:
            rows = [("127.0.0.2", port), ("127.0.0.1", port)]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", row) for row in rows]

        monkeypatch.setattr(socket, "getaddrinfo", two)
        sock = stack.enter_context(contextlib.closing(Network(LOOPBACK).dial("two.example", site.port, 0.6)))
        assert sock.getpeername()[0] == "127.0.0.1"


def test_redirects_and_retries_never_happen(site: Site) -> None:
    pool = Network(LOOPBACK).pool()
    response = pool.request("POST", site.url + "/moved", redirect=True, retries=5)
    assert response.status == 302
    assert [path for _, path, _ in site.asked] == ["/moved"]
    with pytest.raises(NewConnectionError):
        pool.request("GET", f"http://127.0.0.1:{free_port()}/", retries=5)


def test_the_environment_is_not_asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert Network(LOOPBACK).pool().request("GET", site.url).status == 200


def test_errors_of_connecting_are_urllib3s(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(LOOPBACK)
    with pytest.raises(NewConnectionError):
        network.open_line("127.0.0.1", free_port(), 5, secure=False)
    with pytest.raises(NameResolutionError):
        network.open_line("a" * 64 + ".example", 80, 5, secure=False)

    def slow(*args: Any, **kw: Any) -> Any:
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket.socket, "connect", slow)
    with pytest.raises(ConnectTimeoutError):
        network.open_line("127.0.0.1", 80, 5, secure=False)


def test_connection_classes_for_an_sdks_own_base(site: Site) -> None:
    class Own(HTTPConnection):
        marker = "the SDK's"

    plain, _ = Network(LOOPBACK).connection_classes(http=Own)
    assert issubclass(plain, Own)
    connection = plain("127.0.0.1", site.port)
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    connection.close()
    refused, _ = Network().connection_classes(http=Own)
    with pytest.raises(NetworkRefused):
        refused("127.0.0.1", site.port).connect()


def test_plain_http_goes_through_the_proxy(site: Site) -> None:
    """The proxy's own address needs no permission; it is the operator's."""
    network = Network(proxy=f"http://user:p%40ss@127.0.0.1:{site.port}")
    response = network.pool().request("GET", "http://files.example/photo?x=1")
    assert response.status == 200
    _, path, headers = site.asked[0]
    assert path == "http://files.example/photo?x=1"
    assert headers["host"] == "files.example"
    assert base64.b64decode(headers["proxy-authorization"].removeprefix("Basic ")) == b"user:p@ss"
    line = network.open_line("files.example", 80, 5, secure=False)
    line.sock.close()
    assert line.absolute
    assert "proxy-authorization" in line.headers


def test_https_asks_the_proxy_for_a_tunnel(site: Site) -> None:
    network = Network(proxy=f"http://user:pw@127.0.0.1:{site.port}")
    with pytest.raises((OSError, HTTPError)):
        network.open_line("files.example", 443, 5, secure=True)
    command, path, headers = site.asked[0]
    assert (command, path) == ("CONNECT", "files.example:443")
    assert "proxy-authorization" in headers


@pytest.mark.parametrize("host", ["169.254.169.254", "2852039166", "10.0.0.1"])
def test_numeric_targets_are_checked_before_the_proxy_sees_them(site: Site, host: str) -> None:
    network = Network(proxy=f"http://127.0.0.1:{site.port}")
    with pytest.raises(NetworkRefused):
        network.pool().request("GET", f"http://{host}/")
    with pytest.raises(NetworkRefused):
        network.pool().request("GET", f"https://{host}/")
    for secure in (False, True):
        with pytest.raises(NetworkRefused):
            network.open_line(host, 80, 5, secure=secure)
    assert site.asked == []


@pytest.mark.parametrize("proxy", ["https://proxy.example", "socks5://proxy.example", "proxy.example:3128"])
def test_other_proxies_are_refused(proxy: str) -> None:
    with pytest.raises(ValueError, match="http://host:port"):
        Network(proxy=proxy)


def test_the_proxys_password_is_in_no_text() -> None:
    assert "s3cret" not in repr(Network(proxy="http://u:s3cret@proxy.example"))


def test_tls_contexts_are_shared_and_verify_by_default(tmp_path: Any) -> None:
    import ssl

    network = Network()
    assert network.tls_context() is network.allowing(LOOPBACK).tls_context()
    assert network.tls_context().verify_mode is ssl.CERT_REQUIRED
    assert network.tls_context().check_hostname
    assert network.tls_context(verify=False).verify_mode is ssl.CERT_NONE
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for unusable in (empty, tmp_path / "none.pem"):
        with pytest.raises(ConveyorError, match="CA bundle"):
            network.tls_context(ca=unusable)
