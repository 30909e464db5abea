"""What all routes have in common: sign-in, callers, defects; and the kit's second route."""

from __future__ import annotations

import json
import time
import traceback
from pathlib import Path
from typing import Any

from servers.oauth_rules import Rules
from servers.standins.google_drive.description import (
    DEFAULT,
    check_answer,
    check_body,
    check_query,
    method,
    select,
)
from servers.standins.google_drive.errors import documented, error
from servers.standins.google_drive.sessions import Session
from servers.standins.google_drive.sign_in import GOOGLE, PREFIX, GoogleRules, service_account
from servers.standins.google_drive.state import STRANGER, Caller, Node, State, check_meta
from servers.standins.messages import Answer, Cut, Refused, Request


class Service(State):
    """See the package's docstring for the options."""

    token_path = "/token"
    authorize_path = "/o/oauth2/v2/auth"
    revoke_path = "/revoke"
    device_path = "/device/code"
    scopes = (PREFIX + "drive.file", PREFIX + "drive")

    def __init__(self, *, rules: Rules | None = None, **options: Any) -> None:
        super().__init__(rules=rules or GoogleRules(), **options)
        self.sessions: dict[str, Session] = {}
        self.ended: set[str] = set()
        self.defects: list[str] = []
        self._take(self.rules)
        self._begin()

    def _take(self, rules: Rules) -> None:
        self.rules = rules
        rules.clock = lambda: self.now()
        if isinstance(rules, GoogleRules):
            rules.audiences = frozenset({GOOGLE, self.url + self.token_path})
            rules.known = frozenset(PREFIX + scope for scope in _SCOPES)

    # --- the kit's second route ------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """As the kit has it, and the other addresses, and a service account's JSON key."""
        return {
            **super().facts(),
            "authorize_url": self.url + self.authorize_path,
            "revoke_url": self.url + self.revoke_path,
            "device_url": self.url + self.device_path,
            "service_account": service_account(self.url + self.token_path),
        }

    def files(self) -> list[tuple[str, Path]]:
        """Every file that is not in the trash."""
        with self.lock:
            kept = [n for n in self.nodes.values() if n.content and not self.trashed(n)]
            return [(self._path(n), n.content.path) for n in kept if n.content]

    def put(self, path: str, data: bytes) -> None:
        """A stranger's file, with its folders."""
        with self.lock:
            *above, name = path.split("/")
            parent = self.root
            for folder in above:
                parent = self._inside(parent, folder) or self._folder(folder, [parent])
            content = self.keep(iter([data]))
            self.add({"name": name, "parents": [parent]}, STRANGER, content, None)

    def _inside(self, parent: str, name: str) -> str | None:
        found = (n.meta for n in self.nodes.values() if n.meta["parents"] == [parent] and n.folder)
        return next((m["id"] for m in found if m["name"] == name and not m["trashed"]), None)

    def unfinished(self) -> set[str]:
        """Sessions that are neither done nor over."""
        with self.lock:
            return {key for key, s in self.sessions.items() if s.done is None and s.until > self.now()}

    def wipe(self) -> None:
        """Empty, with ``lag``, ``quota`` and the clock as at the start; shared drives go too."""
        with self.lock:
            for session in self.sessions.values():
                if session.done is None:
                    session.end()
            for node in self.nodes.values():
                self.discard(node)
            self.sessions.clear()
            self.ended.clear()
            self.lag, self.quota, self.now = 0.0, None, time.time
            self._begin()

    def reset(self) -> None:
        """As it was at the start: empty, limits as the class has them; log, faults, logins, defects gone."""
        self.wipe()
        self.forget()
        with self.lock:
            for name in [name for name in vars(self) if hasattr(type(self), name) and name != "rules"]:
                delattr(self, name)
            self.refused_tokens.clear()
            self.defects.clear()
            self._take(GoogleRules())

    # --- defects -----------------------------------------------------------------------------------

    def _carry_out(self, name: str | None, request: Request) -> Answer:
        """As the kit; what a route does not expect is the stand-in's mistake, and noted."""
        try:
            return super()._carry_out(name, request)
        except Cut:
            raise
        except Exception as wrong:
            place = traceback.extract_tb(wrong.__traceback__)[-1]
            where = f"{request.method} {request.path} ({Path(place.filename).name}:{place.lineno})"
            with self.lock:
                self.defects.append(f"{where}: {type(wrong).__name__}: {wrong}")
            return documented("backendError", f"the stand-in's own mistake: {wrong}").answer

    # --- sign-in -----------------------------------------------------------------------------------

    def serve_sign_in(self, request: Request) -> Answer | None:
        """As the kit; revocation is Google's own."""
        if (request.method, request.path) == ("POST", self.revoke_path):
            token = request.form().get("token") or request.query.get("token")
            assert isinstance(self.rules, GoogleRules)
            self.rules.end(token)
            return Answer(200, {})
        return super().serve_sign_in(request)

    def unauthorized(self) -> Refused:
        """As Drive says it."""
        refused = documented("authError")
        why = 'Bearer realm="https://accounts.google.com/", error="invalid_token"'
        refused.answer.headers = {"WWW-Authenticate": why}
        return refused

    def out_of_scope(self, scopes: tuple[str, ...]) -> Refused:
        """As Drive says it."""
        return documented("insufficientPermissions")

    def not_found(self, request: Request) -> Answer:
        """No such method."""
        return error(404, "notFound", "Not Found").answer

    # --- a call ------------------------------------------------------------------------------------

    def enter(self, name: str, request: Request, *, upload: bool = False) -> Caller:
        """Sign-in, scopes and parameters of a method."""
        account = self.authenticate(request, *method(name).get("scopes", ()))
        check_query(name, request.query, upload=upload)
        token = (request.headers.get("Authorization") or "").partition(" ")[2]
        granted = {s.removeprefix(PREFIX) for s in self.rules.access[token].family.scopes.split()}
        return Caller(account, frozenset(granted), dict(request.query))

    def body(self, request: Request) -> dict[str, Any]:
        """Metadata that a caller sends; of a type that is said."""
        data = request.data()
        if not data:
            return {}
        kind = request.headers.get_content_type() if request.headers.get("Content-Type") else "nothing"
        if kind != "application/json":
            raise error(400, "badContent", f"Unsupported content with type: {kind}")
        return self.metadata(data)

    def metadata(self, data: bytes) -> dict[str, Any]:
        """A JSON document of metadata.

        Raises:
            Refused: 400 and 403; see :func:`check_meta`.
        """
        try:
            sent = json.loads(data)
        except ValueError:
            raise error(400, "parseError", "Parse Error") from None
        check_body(sent)
        check_meta(sent)
        return dict(sent)

    def show(self, node: Node, caller: Caller) -> dict[str, Any]:
        """The file as answered, held to the description."""
        full = self.view(node)
        check_answer(full, "File")
        return select(caller.query.get("fields", DEFAULT), full, "File")


_SCOPES = ("drive", "drive.appdata", "drive.file", "drive.metadata", "drive.metadata.readonly",
           "drive.photos.readonly", "drive.readonly")  # fmt: skip
