"""What the stand-ins share: HTTP on loopback, routes, sign-in, faults on any route, a log of requests.

A stand-in is a subclass of :class:`StandIn`. Its routes are methods::

    class Shelf(StandIn):
        token_path = "/oauth2/token"

        @route("PUT", "/files/{name}")
        def put(self, request: Request) -> Answer:
            self.authenticate(request, scope="files.write")
            ...

A braced word matches one level of the path as it was sent; ``{name:path}`` any number of them;
:attr:`Request.params` holds them decoded. Routes are tried in the order in which they stand. What a route
raises as :class:`Refused` is the answer. Routes run side by side: take ``self.lock`` around the state.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import ssl
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from conveyor.testing import Observer
from conveyor.testing.ports import LOOPBACK
from servers.oauth_rules import CLIENT, SECRET, Family, No, Rules
from servers.standins.messages import BLOCK, Answer, Body, Cut, Refused, Request, Seen
from servers.tls import Certificates

CONTROL = "/_standin/"
"""Where a stand-in in a process of its own is asked: GET files, counts, unfinished; POST wipe."""


@dataclass
class Fault:
    """What happens to requests of one route.

    Attributes:
        route: Name of the method that serves it; ``*`` for every route.
        answer: Given in place of the route's own.
        carried_out: With ``answer``: the request is carried out first, and its own answer thrown away.
        early: With ``answer``: given before the body is read, and the connection is closed.
        lost: The request is carried out and the connection closed without an answer.
        cut: The connection is closed once so many bytes of the body were read; nothing is carried out.
        times: How often; -1 for ever.
        after: So many requests of the route go unharmed first.
        wait: Seconds between carrying out and answering.
    """

    route: str
    answer: Answer | None = None
    carried_out: bool = False
    early: bool = False
    lost: bool = False
    cut: int | None = None
    times: int = 1
    after: int = 0
    wait: float = 0.0


_Method = TypeVar("_Method", bound=Callable[..., Answer])


def route(method: str, pattern: str) -> Callable[[_Method], _Method]:
    """Mark a method as serving requests of this kind."""
    expression = re.compile(
        "".join(
            re.escape(part)
            if not part.startswith("{")
            else f"(?P<{part[1:-1].partition(':')[0]}>{'.+?' if part.endswith(':path}') else '[^/]+?'})"
            for part in re.split(r"(\{[^}]+\})", pattern)
        )
    )

    def mark(function: _Method) -> _Method:
        kept = [*getattr(function, "routes", ()), (method, expression)]
        function.routes = kept  # type: ignore[attr-defined]
        return function

    return mark


class StandIn:
    """A service on loopback. Subclasses bring routes and state.

    Attributes:
        rules: The sign-in; its ``rotation`` is the vendor's habit.
        faults: Injected, in order.
        seen: The log.
        folder: For files; gone at the end.
        url: ``http(s)://127.0.0.1:port``.
        lock: Around the state.
        now: Seconds since the epoch by the service's clock; tests may replace it.
    """

    token_path: ClassVar[str] = "/token"
    authorize_path: ClassVar[str] = "/authorize"
    revoke_path: ClassVar[str | None] = None
    device_path: ClassVar[str | None] = None
    scopes: ClassVar[tuple[str, ...]] = ("files.write",)
    """All that a sign-in may be granted."""

    def __init__(
        self, *, rules: Rules | None = None, certificates: Certificates | None = None, port: int = 0
    ) -> None:
        self.rules = rules or Rules()
        self.certificates = certificates
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.lock = threading.RLock()
        self.now: Callable[[], float] = time.time
        self.folder = Path(tempfile.mkdtemp(prefix="conveyor-standin-"))
        self.refused_tokens: set[str] = set()
        """Access tokens that count as expired."""
        self._routes = self._collect()
        handler = type("Handler", (_Handler,), {"standin": self})
        self._http = _Server((LOOPBACK, port), handler)
        if certificates is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificates.certificate, certificates.key)
            self._http.socket = context.wrap_socket(
                self._http.socket, server_side=True, do_handshake_on_connect=False
            )
        self.host, self.port = LOOPBACK, int(self._http.server_address[1])
        scheme = "https" if certificates else "http"
        self.url = f"{scheme}://{self.host}:{self.port}"

    def _collect(self) -> list[tuple[str, re.Pattern[str], str]]:
        found: dict[str, Any] = {}
        for kind in reversed(type(self).__mro__):
            found.update({name: value for name, value in vars(kind).items() if hasattr(value, "routes")})
        return [(method, expression, name) for name, f in found.items() for method, expression in f.routes]

    # --- running ---------------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """What a client needs to know: where it is, and a sign-in with every scope."""
        access, refresh = self.sign_in(" ".join(self.scopes))
        known = {"client_id": CLIENT, "client_secret": SECRET, "token_url": self.url + self.token_path}
        return {"url": self.url, "access_token": access, "refresh_token": refresh, **known}

    def start(self) -> None:
        """Serve from a thread of its own."""
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """End, and remove its files."""
        self._http.shutdown()
        self._http.server_close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- troubles, for the bench of a connector --------------------------------------------------

    @contextmanager
    def refusing(self, token: str) -> Iterator[Mapping[str, Any]]:
        """This access token counts as expired; yields no overrides of options."""
        self.refused_tokens.add(token)
        try:
            yield {}
        finally:
            self.refused_tokens.discard(token)

    @contextmanager
    def answering(self, answers: Mapping[str, Answer]) -> Iterator[Mapping[str, Any]]:
        """Each of these routes answers so, every time; yields no overrides of options."""
        faults = [Fault(route, answer, times=-1) for route, answer in answers.items()]
        self.faults += faults
        try:
            yield {}
        finally:
            for fault in faults:
                self.faults.remove(fault)

    # --- looking ---------------------------------------------------------------------------------

    def count(self, route: str) -> int:
        """Requests of a route so far."""
        return self.counts()[route]

    def counts(self) -> Counter[str]:
        """Requests by route so far; None's are those that no route took."""
        with self.lock:
            return Counter(seen.route or "none" for seen in self.seen)

    def of(self, route: str) -> list[Seen]:
        """The log of one route."""
        with self.lock:
            return [seen for seen in self.seen if seen.route == route]

    def forget(self) -> None:
        """Empty the log and take the faults away."""
        with self.lock:
            self.seen.clear()
            self.faults.clear()

    # --- the second route --------------------------------------------------------------------------

    def files(self) -> list[tuple[str, Path]]:
        """Path and content of each file that a user would see; a path may come twice where names may."""
        raise LookupError("this stand-in keeps no files")

    def put(self, path: str, data: bytes) -> None:
        """Place a stranger's file, with the folders above it."""
        raise LookupError("this stand-in keeps no files")

    def unfinished(self) -> set[str]:
        """Uploads that nobody has finished, by session."""
        return set()

    def wipe(self) -> None:
        """Remove everything, unfinished uploads included."""
        raise LookupError("this stand-in keeps no files")

    def _control(self, request: Request) -> Answer:
        """What a test in another process wants to know or change."""
        match request.method, request.path.removeprefix(CONTROL):
            case "GET", "files":
                observer = StandInObserver(self)
                return Answer(200, {name: _digest(file) for name, file in observer.files().items()})
            case "GET", "counts":
                return Answer(200, self.counts())
            case "GET", "unfinished":
                return Answer(200, sorted(self.unfinished()))
            case "POST", "wipe":
                self.wipe()
                return Answer(200, {})
        raise Refused(404, {"error": "no such control"})

    # --- sign-in ---------------------------------------------------------------------------------

    def sign_in(self, scopes: str) -> tuple[str, str]:
        """What a sign-in with these scopes would have given: access and refresh token."""
        with self.rules.lock:
            answer = self.rules._fresh(Family(self.rules.account, scopes))
        return answer["access_token"], answer["refresh_token"]

    def authenticate(self, request: Request, *scopes: str) -> str:
        """The account of the request's token, which must hold one of ``scopes`` where any are named.

        Raises:
            Refused: By :meth:`unauthorized` and :meth:`out_of_scope`.
        """
        scheme, _, token = (request.headers.get("Authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or token in self.refused_tokens:
            raise self.unauthorized()
        try:
            account = self.rules.whose(token)
        except No:
            raise self.unauthorized() from None
        granted = self.rules.access[token].family.scopes.split()
        if scopes and not set(scopes) & set(granted):
            raise self.out_of_scope(scopes)
        return account

    def unauthorized(self) -> Refused:
        """In the vendor's form: no token, or one that is not valid."""
        return Refused(401, {"error": "invalid_token"}, WWW_Authenticate="Bearer")

    def out_of_scope(self, scopes: tuple[str, ...]) -> Refused:
        """In the vendor's form: the token was not granted any of these."""
        return Refused(403, {"error": "insufficient_scope", "scope": " ".join(scopes)})

    def serve_sign_in(self, request: Request) -> Answer | None:
        """Authorization, token, device and revocation endpoints."""
        where = request.method, request.path
        if where == ("GET", self.authorize_path):
            return self._authorize(request)
        if where == ("POST", self.token_path):
            form = request.form()
            client = form.get("client_id", ""), form.get("client_secret")
            return Answer(200, self.grant(form, client), {"Cache-Control": "no-store"})
        if self.device_path is not None and where == ("POST", self.device_path):
            return Answer(200, self.rules.begin_device(request.form(), 1.0))
        if self.revoke_path is not None and where == ("POST", self.revoke_path):
            bearer = (request.headers.get("Authorization") or "").partition(" ")[2]
            self.rules.revoke(request.form().get("token") or bearer)
            return Answer(200, {})
        return None

    def grant(self, form: Mapping[str, str], client: tuple[str, str | None]) -> dict[str, Any]:
        """Answer a token request; a vendor's own grants override this.

        Raises:
            No: In the form of RFC 6749 §5.2.
        """
        return self.rules.token(form, client)

    def _authorize(self, request: Request) -> Answer:
        from urllib.parse import urlencode

        query = urlencode({"code": self.rules.authorize(request.query), "state": request.query["state"]})
        return Answer(302, headers={"Location": f"{request.query['redirect_uri']}?{query}"})

    # --- serving ---------------------------------------------------------------------------------

    def serve(self, request: Request) -> tuple[str | None, Answer | None, Fault | None]:
        """The route's name, its answer (None: close without one), and the fault that struck."""
        name, params = self._find(request.method, request.path)
        request.params = params
        fault = self._fault(name)
        if fault is not None:
            request.body._limit = fault.cut
            if fault.early and fault.answer is not None:
                return name, fault.answer, fault
        try:
            answer = fault.answer if fault and not fault.carried_out else None
            if answer is None or (fault and fault.lost):
                own = self._carry_out(name, request)
                answer = fault.answer if fault and fault.answer else own
            for _ in request.body.blocks():
                pass
        except Cut:
            return name, None, fault
        return name, None if fault and fault.lost else answer, fault

    def _carry_out(self, name: str | None, request: Request) -> Answer:
        try:
            if request.path.startswith(CONTROL):
                return self._control(request)
            signed_in = self.serve_sign_in(request)
            if signed_in is not None:
                return signed_in
            if name is None:
                return self.not_found(request)
            answer: Answer = getattr(self, name)(request)
        except Refused as refused:
            return refused.answer
        except No as no:
            return Answer(no.status, no.document)
        return answer

    def not_found(self, request: Request) -> Answer:
        """In the vendor's form: no such method."""
        return Answer(404, {"error": "not_found", "path": request.path})

    def _find(self, method: str, path: str) -> tuple[str | None, dict[str, str]]:
        if method == "POST" and path == self.token_path:
            return "token", {}
        for wanted, expression, name in self._routes:
            if wanted == method and (match := expression.fullmatch(path)):
                return name, {key: unquote(value) for key, value in match.groupdict().items()}
        return None, {}

    def _fault(self, name: str | None) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.route not in (name, "*"):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    continue
                if fault.times > 0:
                    fault.times -= 1
                    if not fault.times:
                        self.faults.remove(fault)
                return fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that were killed, and TLS that was refused, are no news; anything else is."""
        import sys

        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    standin: ClassVar[StandIn]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rbufsize = BLOCK
    timeout = 60

    def handle_one_request(self) -> None:
        """One request; whatever its method."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        self._serve()
        self.wfile.flush()

    def _serve(self) -> None:
        standin, parts = self.standin, urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        body = Body(self.rfile, self.headers, None)  # type: ignore[arg-type]
        request = Request(self.command, parts.path, {}, query, self.headers, body, standin.folder)
        name, answer, fault = standin.serve(request)
        seen = Seen(
            name, self.command, parts.path, query, self.headers, body.read_bytes, body.kept,
            answer.status if answer else None,
        )  # fmt: skip
        if not parts.path.startswith(CONTROL):
            with standin.lock:
                standin.seen.append(seen)
        if fault is not None and fault.wait:
            time.sleep(fault.wait)
        if answer is None:
            self.close_connection = True
            return
        if not body.complete:
            self.close_connection = True
        with suppress(ConnectionError):
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        data = answer.body if answer.document is None else json.dumps(answer.document).encode()
        size = answer.file.stat().st_size if answer.file else len(data)
        self.send_response(answer.status)
        if answer.media_type is not None and (size or answer.document is not None):
            self.send_header("Content-Type", answer.media_type)
        if answer.status != 204:
            self.send_header("Content-Length", str(size))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        if answer.file is None:
            self.wfile.write(data)
            return
        with answer.file.open("rb") as file:
            shutil.copyfileobj(file, self.wfile)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


class StandInObserver(Observer):
    """Looks into a stand-in's state, below one folder.

    Args:
        standin: The service.
        base: What the destination's paths are relative to: ``Apps/Conveyor``; empty for the root.
    """

    def __init__(self, standin: StandIn, base: str = "") -> None:
        self._standin = standin
        self._base = base.strip("/") + "/" if base.strip("/") else ""

    def read(self, path: str) -> bytes | None:
        """The bytes; of several files of that name the first."""
        found = self._find(path)
        return None if found is None else found.read_bytes()

    def sha256(self, path: str) -> str | None:
        """Digest of the file, read in blocks."""
        found = self._find(path)
        return None if found is None else _digest(found)

    def files(self) -> dict[str, Path]:
        """All files; a name that stands there twice shows as ``name``, ``name#2`` …"""
        count: Counter[str] = Counter()
        found = {}
        for path, file in self._standin.files():
            count[path] += 1
            shown = path if count[path] == 1 else f"{path}#{count[path]}"
            found[shown.removeprefix(self._base)] = file
        return found

    def names(self) -> set[str]:
        """The names of :meth:`files`."""
        return set(self.files())

    def put(self, path: str, data: bytes) -> None:
        """Place a stranger's file."""
        self._standin.put(self._base + path, data)

    def leftovers(self) -> set[str]:
        """Uploads that nobody has finished."""
        return self._standin.unfinished()

    def wipe(self) -> None:
        """Empty the service."""
        self._standin.wipe()

    def _find(self, path: str) -> Path | None:
        return next((file for name, file in self._standin.files() if name == self._base + path), None)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_Any = TypeVar("_Any", bound=StandIn)


@contextmanager
def running(standin: _Any) -> Iterator[_Any]:
    """Run a stand-in in this process."""
    standin.start()
    try:
        yield standin
    finally:
        standin.stop()
