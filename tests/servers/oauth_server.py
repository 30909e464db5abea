"""An authorization server on loopback: :mod:`servers.oauth_rules` behind HTTP, with faults and a log."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

from conveyor.contract import AccountQuestion, OAuthProvider
from servers.oauth_rules import No, Rules


@dataclass
class Fault:
    """What happens to the next request of a route.

    Attributes:
        path: The route, ``/token``.
        answer: Status and document (or bytes) to answer with, the request unheeded.
        lost: The request is carried out and the answer thrown away.
        cut: The connection is closed and the request unheeded.
        headers: Added to ``answer``.
        after: So many requests of the route go unharmed first.
    """

    path: str
    answer: tuple[int, Mapping[str, Any] | bytes] | None = None
    lost: bool = False
    cut: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    after: int = 0


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    form: Mapping[str, str]
    headers: Mapping[str, str]


class OAuthServer:
    """A running server.

    Attributes:
        rules: Its state.
        faults: Injected, each once, in order.
        requests: All that came in.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.interval = 1.0
        self.slow = 0.0
        """Seconds between carrying a token request out and answering it."""
        self.hold: threading.Event | None = None
        """Token requests wait for it."""
        handler = type("Handler", (_Handler,), {"server_": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def provider(self, **changes: Any) -> OAuthProvider:
        """How a plugin announces it."""
        known: dict[str, Any] = {
            "name": "acme",
            "title": "Acme",
            "authorize_url": f"{self.url}/authorize",
            "token_url": f"{self.url}/token",
            "device_url": f"{self.url}/device",
            "revoke_url": f"{self.url}/revoke",
            "account": AccountQuestion(f"{self.url}/me", id="user.id", name=("user.email",)),
            "scopes": ("files.write", "offline"),
            "rotation": self.rules.rotation,
            "pkce": self.rules.pkce,
        }
        return OAuthProvider(**{**known, **changes})

    def count(self, path: str) -> int:
        """Requests of a route."""
        return sum(request.path == path for request in self.requests)

    def fault(self, path: str) -> Fault | None:
        """Take the fault for a request of this route."""
        for fault in self.faults:
            if fault.path != path:
                continue
            fault.after -= 1
            if fault.after < 0:
                self.faults.remove(fault)
                return fault
        return None

    def sign_in(self) -> tuple[str, str]:
        """What a sign-in would have given: access and refresh token."""
        from servers.oauth_rules import Family

        with self.rules.lock:
            answer = self.rules._fresh(Family(self.rules.account, "files.write offline"))
        return answer["access_token"], answer["refresh_token"]

    def start(self) -> None:
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    server_: ClassVar[OAuthServer]
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        self._serve("GET", dict(parse_qsl(urlsplit(self.path).query)))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self._serve("POST", dict(parse_qsl(body)))

    def _serve(self, method: str, form: dict[str, str]) -> None:
        server, path = self.server_, urlsplit(self.path).path
        server.requests.append(Request(method, path, form, dict(self.headers.items())))
        fault = server.fault(path)
        if fault is not None and fault.cut:
            self.close_connection = True
            return
        if fault is not None and fault.answer is not None:
            self._answer(*fault.answer, headers=fault.headers)
            return
        try:
            status, document, headers = self._carry_out(method, path, form)
        except No as no:
            status, document, headers = no.status, no.document, {}
        if fault is not None and fault.lost:
            self.close_connection = True
            return
        self._answer(status, document, headers=headers)

    def _carry_out(
        self, method: str, path: str, form: dict[str, str]
    ) -> tuple[int, Mapping[str, Any], Mapping[str, str]]:
        rules = self.server_.rules
        match method, path:
            case "GET", "/authorize":
                query = urlencode({"code": rules.authorize(form), "state": form["state"]})
                return 302, {}, {"Location": f"{form['redirect_uri']}?{query}"}
            case "POST", "/token":
                if self.server_.hold is not None:
                    self.server_.hold.wait(30)
                granted = rules.token(form, self._client(form))
                time.sleep(self.server_.slow)
                return 200, granted, {"Cache-Control": "no-store"}
            case "POST", "/device":
                return 200, rules.begin_device(form, self.server_.interval), {}
            case "POST", "/revoke":
                rules.revoke(form.get("token", ""))
                return 200, {}, {}
            case "GET", "/me":
                account = rules.whose(self.headers.get("Authorization", "").removeprefix("Bearer "))
                return 200, {"user": {"id": f"id-{account}", "email": f"{account}@example.org"}}, {}
        return 404, {}, {}

    def _client(self, form: Mapping[str, str]) -> tuple[str, str | None]:
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic":
            name, _, secret = base64.b64decode(value).decode().partition(":")
            return unquote_plus(name), unquote_plus(secret)
        return form.get("client_id", ""), form.get("client_secret")

    def _answer(
        self, status: int, document: Mapping[str, Any] | bytes, *, headers: Mapping[str, str]
    ) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        with suppress(ConnectionError):  # killed clients do not listen
            self.end_headers()
            self.wfile.write(body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The server's own clock."""
        return super().date_time_string(timestamp or self.server_.rules.clock())  # type: ignore[arg-type]

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@contextmanager
def start(rules: Rules | None = None) -> Iterator[OAuthServer]:
    """Run a server."""
    server = OAuthServer(rules or Rules())
    server.start()
    try:
        yield server
    finally:
        server.stop()
