"""The stand-in itself: hosts, sign-in, and what every route has in common."""

from __future__ import annotations

import functools
import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from servers.oauth_rules import No
from servers.standins.box.description import Wrong, description
from servers.standins.box.errors import document, invalid, refused
from servers.standins.box.items import Item, Shape, Tree, key
from servers.standins.box.sessions import Session, stored
from servers.standins.box.sign_in import ENTERPRISE, SCOPE, SERVICE, USER, BoxRules, app_config
from servers.standins.kit import StandIn, route
from servers.standins.messages import Answer, Refused, Request
from servers.tls import Certificates

API, UPLOAD, CHOSEN = "/2.0", "/api/2.0", "/dc7/api/2.0"
"""The hosts api.box.com, upload.box.com/api, and the one that a session's addresses name."""


@dataclass
class Call:
    """A request that has been held to the description."""

    request: Request
    query: Mapping[str, Any]
    body: Any
    account: str

    @property
    def id(self) -> str:
        """Of the path."""
        return next(iter(self.request.params.values()))

    @property
    def fields(self) -> list[str] | None:
        """What the answer is to show."""
        found: list[str] | None = self.query.get("fields")
        return found

    def header(self, name: str) -> str | None:
        """None where it is missing."""
        found: str | None = self.request.headers.get(name)
        return found


_Operation = TypeVar("_Operation", bound=Callable[[Any, Call], Answer])


def operation(method: str, path: str, *hosts: str) -> Callable[[_Operation], Callable[..., Answer]]:
    """A route that is in the description, on these hosts."""

    def mark(function: _Operation) -> Callable[..., Answer]:
        @functools.wraps(function)
        def serve(self: BoxService, request: Request) -> Answer:
            return self.operate(method, path, function, request)

        for host in hosts:
            serve = route(method, host + path)(serve)
        return serve

    return mark


class BoxService(StandIn):
    """What every route has in common; see the package's docstring for the options."""

    token_path = "/oauth2/token"
    authorize_path = "/api/oauth2/authorize"
    revoke_path = "/oauth2/revoke"
    scopes = (SCOPE,)

    quota: int = 10_737_418_240
    max_upload_size: int = 5_368_709_120
    direct_limit: int | None = None
    chunked_floor: int = 20_000_000
    part_size: int = 8_388_608
    session_life: float = 7 * 86_400.0
    listed_to: int = 10_000
    file_conflicts: Shape = "object"
    folder_conflicts: Shape = "list"
    reserve_names: bool = True
    only_server_urls: bool = False
    trash_enabled: bool = True
    put_off: int = 0
    mismatches: int = 0
    retry_after: int = 1
    commit_again: bool = False
    calls_per_minute: int | None = None
    uploads_per_minute: int | None = None

    rules: BoxRules

    def __init__(
        self, *, rules: BoxRules | None = None, certificates: Certificates | None = None, port: int = 0
    ) -> None:
        super().__init__(rules=rules or BoxRules(), certificates=certificates, port=port)
        self.rules.clock = lambda: self.now()
        self.tree = Tree(lambda: self.now(), lambda: self.user(self.rules.account))
        self.sessions: dict[str, Session] = {}
        self.blocked: set[str] = set()
        self.read_only: set[str] = set()
        self.broken: set[str] = set()
        self.defects: list[str] = []
        self.tickets: dict[str, tuple[Path, float]] = {}
        self._calls: dict[str, deque[float]] = {"calls": deque(), "uploads": deque()}

    # --- a call ------------------------------------------------------------------------------------

    def operate(
        self, method: str, path: str, function: Callable[[Any, Call], Answer], request: Request
    ) -> Answer:
        """Hold a request to the description, carry it out, hold the answer to it."""
        try:
            answer = function(self, self._understood(method, path, request))
        except Refused as refusal:
            answer = refusal.answer
        try:
            if answer.status not in (401, 413, 429):
                shown = self._as_described(answer)
                description().answer(method, path, answer.status, shown)
        except Wrong as wrong:
            self.defects.append(f"{method} {path}: {wrong}")
            return Answer(500, document("internal_server_error", f"the stand-in's own mistake: {wrong}"))
        return answer

    def _as_described(self, answer: Answer) -> Any:
        """The description has a list of conflicts only, where the service gives one object, too."""
        found = answer.document
        context = found.get("context_info") if isinstance(found, dict) else None
        if context and isinstance(context.get("conflicts"), dict):
            return {**found, "context_info": {"conflicts": [context["conflicts"]]}}
        return found

    def _understood(self, method: str, path: str, request: Request) -> Call:
        account = self.authenticate(request, *((SCOPE, "root_readonly") if method == "GET" else (SCOPE,)))
        self._throttle("uploads" if method == "POST" and path.endswith("/content") else "calls")
        media, body = description().media(method, path), None
        try:
            query = description().parameters(method, path, request.query, request.headers)
            if media == "application/json":
                body = self._json(request)
                description().body(method, path, media, body)
        except Wrong as wrong:
            raise self._wrong(path, wrong) from None
        return Call(request, query, body, account)

    def _json(self, request: Request) -> Any:
        """A content type is not required (https://developer.box.com/guides/api-calls/types-and-formats/)."""
        try:
            return json.loads(request.data())
        except ValueError:
            raise invalid("body", "Invalid JSON") from None

    def _wrong(self, path: str, wrong: Wrong) -> Refused:
        codes = {"limit": "invalid_limit", "offset": "invalid_offset"}
        if path.endswith("/upload_sessions"):  # the codes that its description lists
            missing = wrong.message == "is missing"
            codes = {
                "folder_id": "missing_destination" if missing else "invalid_folder_id",
                "file_name": "missing_file_name" if missing else "item_name_invalid",
                "file_size": "missing_file_size" if missing else "invalid_file_size",
            }
        return invalid(wrong.name, wrong.message, codes.get(wrong.name, "bad_request"))

    def _throttle(self, kind: str) -> None:
        """https://developer.box.com/guides/api-calls/permissions-and-errors/rate-limits/ (1000 and 240)."""
        limit = self.uploads_per_minute if kind == "uploads" else self.calls_per_minute
        if limit is None:
            return
        with self.lock:
            now, times = self.now(), self._calls[kind]
            while times and times[0] <= now - 60:
                times.popleft()
            if len(times) >= limit:
                raise refused("rate_limit_exceeded", Retry_After=str(max(1, int(times[0] + 60 - now))))
            times.append(now)

    # --- sign-in -----------------------------------------------------------------------------------

    def serve_sign_in(self, request: Request) -> Answer | None:
        """As the kit has it; answers held to the description."""
        if (request.method, request.path) == ("POST", self.revoke_path):
            form = request.form()
            self.rules.check_client(form)
            self.rules.revoke(form.get("token", ""))
            return Answer(200)
        answer = super().serve_sign_in(request)
        if answer is not None and request.path == self.token_path:
            description().answer("POST", "/oauth2/token", answer.status, answer.document)
        return answer

    def grant(self, form: Mapping[str, str], client: tuple[str, str | None]) -> dict[str, Any]:
        """Raises:
        No: invalid_request where a field has another form than the description gives it.
        """
        known = {name: value for name, value in form.items() if name not in ("redirect_uri", "code_verifier")}
        try:
            description().body("POST", "/oauth2/token", "application/x-www-form-urlencoded", known)
        except Wrong as wrong:
            if wrong.name == "grant_type":
                raise No("unsupported_grant_type", "The grant type is unknown") from None
            raise No("invalid_request", str(wrong)) from None
        return super().grant(form, client)

    def unauthorized(self) -> Refused:
        """An empty body; the reason stands in a header."""
        why = 'error="invalid_token", error_description="The access token provided is invalid."'
        return Refused(401, None, WWW_Authenticate=f'Bearer realm="Service", {why}')

    def out_of_scope(self, scopes: tuple[str, ...]) -> Refused:
        """403 insufficient_scope."""
        why = 'Bearer realm="Service", error="insufficient_scope"'
        return refused("insufficient_scope", WWW_Authenticate=why)

    def not_found(self, request: Request) -> Answer:
        """No such address."""
        return Answer(404, document("not_found"))

    def user(self, account: str) -> dict[str, Any]:
        """A user as others show it."""
        if account == self.rules.account:
            return {"type": "user", "id": USER, "name": account, "login": f"{account}@example.com"}
        login = "AutomationUser_1_example@boxdevedition.com"
        return {"type": "user", "id": SERVICE, "name": "Conveyor", "login": login}

    # --- rules that several routes have --------------------------------------------------------------

    def check_folder(self, folder: Item) -> None:
        """Raises:
        Refused: 403 where it may not be written to, 409 where it is busy.
        """
        chain = {above.id for above in folder.above()} | {folder.id}
        if chain & self.read_only:
            raise refused("access_denied_insufficient_permissions")
        if chain & self.blocked:
            raise refused("operation_blocked_temporary")

    def check_size(self, size: int) -> None:
        """Raises:
        Refused: 403 file_size_limit_exceeded or storage_limit_exceeded.
        """
        if size > self.max_upload_size:
            raise refused("file_size_limit_exceeded")
        if self.tree.used() + size > self.quota:
            raise refused("storage_limit_exceeded")

    def check_etag(self, call: Call, item: Item | None) -> None:
        """Raises:
        Refused: 412 where If-Match names another state.
        """
        wanted = call.header("if-match")
        if wanted is not None and (item is None or wanted.strip('"') != str(item.etag)):
            raise refused("precondition_failed")

    # --- the second route ----------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """Addresses as the SDK's ``BaseUrls`` wants them, and what each way of signing in needs."""
        return {
            **super().facts(),
            "base_url": self.url,
            "upload_url": self.url + "/api",
            "oauth_2_url": self.url + "/api/oauth2",
            "authorize_url": self.url + self.authorize_path,
            "revoke_url": f"{self.url}{self.revoke_path}",
            "enterprise_id": ENTERPRISE,
            "user_id": USER,
            "app_config": app_config(),
        }

    def files(self) -> list[tuple[str, Path]]:
        """All that is not in the trash."""
        with self.lock:
            found = list(self.tree.root.below())
            return [(item.path, item.content) for item in found if item.content is not None]

    def put(self, path: str, data: bytes) -> None:
        """A stranger's file; a new version where the name is taken."""
        *above, name = path.strip("/").split("/")
        with self.lock:
            folder = self.make(above)
            there = folder.inside.get(key(name))
            kept = stored(iter([data]), self.folder)
            if there is None:
                self.tree.add(folder, name, content=kept.path, size=kept.size, sha1=kept.sha1)
            else:
                self.tree.renew(there, kept.path, kept.size, kept.sha1, None)

    def make(self, names: list[str]) -> Item:
        """The folder of this path, made where it is missing."""
        folder = self.tree.root
        for name in names:
            folder = folder.inside.get(key(name)) or self.tree.add(folder, name)
        return folder

    def at(self, path: str) -> Item:
        """The item of a path, for a test."""
        item = self.tree.root
        for name in filter(None, path.split("/")):
            item = item.inside[key(name)]
        return item

    def unfinished(self) -> set[str]:
        """Sessions that are neither committed, aborted nor expired."""
        with self.lock:
            now = self.now()
            return {name for name, one in self.sessions.items() if one.result is None and one.until > now}

    def wipe(self) -> None:
        """An empty account; limits stay as they are set."""
        with self.lock:
            for session in self.sessions.values():
                session.discard()
            self.sessions.clear()
            self.tickets.clear()
            self.tree.wipe()
            self.blocked.clear()
            self.read_only.clear()
            self.broken.clear()

    def reset(self) -> None:
        """As it was at the start: empty, limits as the class has them, the log and the faults gone."""
        self.wipe()
        self.forget()
        with self.lock:
            for name in [name for name in vars(self) if hasattr(BoxService, name)]:
                delattr(self, name)
            for times in self._calls.values():
                times.clear()
            self.refused_tokens.clear()
            self.defects.clear()
            self.now = time.time
            self.rules = BoxRules(clock=lambda: self.now())
