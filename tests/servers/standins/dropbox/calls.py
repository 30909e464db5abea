"""What every call to Dropbox goes through: login, headers, argument, root; and what the account holds."""

from __future__ import annotations

import re
import secrets
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from dropbox import auth, common, files
from dropbox.stone_serializers import json_decode
from dropbox.stone_validators import ValidationError, Void

from servers.oauth_rules import CLIENT
from servers.standins.dropbox import described
from servers.standins.dropbox.described import DESCRIBED, MEDIA_TYPES, Bad, Described
from servers.standins.dropbox.sessions import Session
from servers.standins.dropbox.sign_in import DropboxRules, account_id
from servers.standins.dropbox.state import Account, Entry, Failed, Tree, kept
from servers.standins.kit import Fault, StandIn
from servers.standins.messages import Answer, Cut, Refused, Request

MIB = 1024 * 1024
HOME, APP = "3235641", "3235642"
"""Namespaces: the user's own, and the application's folder in it."""


class Calls(StandIn):
    """The account and the way to it. The attributes are described in the package's docstring."""

    token_path = "/oauth2/token"
    authorize_path = "/oauth2/authorize"
    revoke_path = "/2/auth/token/revoke"
    scopes = ("files.content.write", "files.content.read", "files.metadata.read", "account_info.read")
    upload_limit: int = 150 * MIB
    max_file: int = 2**41 - 2**22
    session_life: float = 7 * 86_400.0
    page: int = 500
    commits_at_once: int | None = None
    commit_time: float = 0.0
    contention_in: str = "answer"
    retry_after: int = 1
    after_commit: str = "not_found"
    closed_before_offset: bool = False
    suspended: bool = False
    app_folder: str | None = None
    root_namespace: str = HOME
    _SETTABLE: ClassVar = (
        "upload_limit", "max_file", "session_life", "page", "commits_at_once", "commit_time", "contention_in",
        "retry_after", "after_commit", "closed_before_offset", "suspended", "app_folder", "root_namespace",
    )  # fmt: skip

    rules: DropboxRules

    def __init__(self, **known: Any) -> None:
        known.setdefault("rules", DropboxRules())
        super().__init__(**known)
        self.rules.app_scopes = self.scopes
        self.rules.clock = lambda: self.now()
        self.account = Account(lambda: self.now())
        self.trees = {HOME: Tree(self.account), APP: Tree(self.account)}
        self.sessions: dict[str, Session] = {}
        self.cursors: dict[str, Any] = {}
        self.namespaces: set[str] = set()
        self.defects: list[str] = []
        self._committing: Counter[str] = Counter()
        self._counter = threading.Lock()

    @property
    def quota(self) -> int | None:
        """Bytes; None for two gibibytes that nobody counts."""
        return self.account.quota

    @quota.setter
    def quota(self, size: int | None) -> None:
        self.account.quota = size

    def facts(self) -> dict[str, Any]:
        """The kit's, the other endpoints of the sign-in, and whose account it is; there is no secret."""
        return {
            **super().facts(),
            "client_id": CLIENT,
            "client_secret": None,
            "authorize_url": self.url + self.authorize_path,
            "revoke_url": self.url + self.revoke_path,
            "account_id": account_id(self.rules.account),
            "app_folder": self.app_folder,
        }

    def reset(self) -> None:
        """Empty, with every limit as it is by default."""
        self.wipe()
        self.forget()
        self.refused_tokens.clear()
        self.namespaces.clear()
        self.defects.clear()
        self.quota, self.now, self.rules.redirects = None, time.time, None
        for name in self._SETTABLE:
            self.__dict__.pop(name, None)

    # --- the second route ------------------------------------------------------------------------

    def files(self) -> list[tuple[str, Path]]:
        """All files of the user; of other namespaces as ``ns:42/photo.jpg``."""
        heads = {HOME: "", APP: f"{self.app_folder or f'ns:{APP}'}/"}
        with self.lock:
            return [
                (heads.get(number, f"ns:{number}/") + entry.display[1:], entry.content.path)
                for number, tree in self.trees.items()
                for entry in tree.entries.values()
                if entry.content
            ]

    def put(self, path: str, data: bytes) -> None:
        """A stranger's file."""
        content = kept(iter([data]), self.folder)
        number, inside = HOME, "/" + path
        if self.app_folder is not None and path.startswith(self.app_folder + "/"):
            number, inside = APP, path.removeprefix(self.app_folder)
        with self.lock:
            info = files.CommitInfo(inside, mode=files.WriteMode.overwrite)
            self.trees[number].commit(inside, info, content)

    def unfinished(self) -> set[str]:
        """Sessions are the service's to remove, after seven days: no call of a client can."""
        return set()

    def open_sessions(self) -> set[str]:
        """Sessions that live and were not committed."""
        with self.lock:
            return {s.id for s in self.sessions.values() if not s.committed and s.until > self.now()}

    def wipe(self) -> None:
        """No file and no session."""
        with self.lock:
            for tree in self.trees.values():
                tree.wipe()
            for session in self.sessions.values():
                session.path.unlink(missing_ok=True)
            self.sessions.clear()
            self.cursors.clear()

    # --- serving -----------------------------------------------------------------------------------

    def serve(self, request: Request) -> tuple[str | None, Answer | None, Fault | None]:
        """The kit's; every answer has an id, which the SDK's exceptions carry."""
        name, answer, fault = super().serve(request)
        if answer is not None:
            answer.headers = {**answer.headers, "X-Dropbox-Request-Id": secrets.token_hex(16)}
        return name, answer, fault

    def _carry_out(self, name: str | None, request: Request) -> Answer:
        """A mistake of the stand-in's own, an answer that is not as described above all, is written down."""
        try:
            return super()._carry_out(name, request)
        except (Cut, OSError):
            raise
        except Exception:
            self.defects.append(traceback.format_exc())
            return Answer(500, body=b"the stand-in's own mistake", media_type="text/plain")

    def serve_sign_in(self, request: Request) -> Answer | None:
        """As the kit's; revoking is a call like the others, and a code may be shown instead of sent."""
        if request.path == self.revoke_path:
            return None
        if (request.method, request.path) == ("GET", self.authorize_path):
            asked = dict(request.query)
            if "redirect_uri" not in asked:
                return Answer(200, body=self.rules.authorize(asked).encode(), media_type="text/html")
        return super().serve_sign_in(request)

    def not_found(self, request: Request) -> Answer:
        """Dropbox answers in text."""
        return Answer(404, body=b"Unknown API function", media_type="text/plain")

    def called(self, request: Request, where: Any) -> Any:
        """Check login, root, headers and argument; the argument.

        Raises:
            Refused: 400, 401 or 422.
        """
        known = DESCRIBED[where]
        self._allow(request, known)
        self.root(request)
        kind = re.sub(r"\s*;\s*", "; ", (request.headers.get("Content-Type") or "").strip().lower())
        void = isinstance(known.takes, Void)
        if kind not in MEDIA_TYPES[known.style] and not (kind == "" and (known.style == "download" or void)):
            expected = ", ".join(f'"{one}"' for one in MEDIA_TYPES[known.style])
            raise Bad(known.name, f'Bad HTTP "Content-Type" header: "{kind}". Expecting one of {expected}.')
        if known.style == "rpc":
            data = request.data()
            if void and not data and not kind:
                return None
            return described.decoded(known, data.decode(errors="replace"), "request body")
        if known.style == "download" and any(request.body.blocks()):
            raise Bad(known.name, "The HTTP request body must be empty.")
        text = request.headers.get("Dropbox-API-Arg", request.query.get("arg"))
        if text is None:
            raise Bad(known.name, 'Must provide HTTP header "Dropbox-API-Arg" or URL parameter "arg".')
        if "Dropbox-API-Arg" in request.headers and not text.isascii():
            raise Bad(known.name, 'HTTP header "Dropbox-API-Arg": could not decode input as JSON')
        return described.decoded(known, text, 'HTTP header "Dropbox-API-Arg"')

    def _allow(self, request: Request, known: Described) -> None:
        """The login (documentation, Authentication types, and Errors by status code)."""
        header = request.headers.get("Authorization")
        if header is None:
            raise Bad(
                known.name, 'Must provide HTTP header "Authorization" or URL parameter "authorization".'
            )
        scheme, _, token = header.partition(" ")
        if scheme != "Bearer" or not token or " " in token:
            raise Bad(known.name, 'Invalid authorization value in HTTP header "Authorization".')
        held = self.rules.access.get(token)
        if token in self.refused_tokens or (held is not None and held.until < self.rules.clock()):
            raise described.unauthorized(auth.AuthError.expired_access_token)
        if held is None or held.family.revoked:
            raise described.unauthorized(auth.AuthError.invalid_access_token)
        if self.suspended:
            raise described.unauthorized(auth.AuthError.user_suspended)
        if known.scope is not None and known.scope not in held.family.scopes.split():
            missing = auth.TokenScopeError(known.scope)
            raise described.unauthorized(auth.AuthError.missing_scope(missing))
        self.rules.whose(token)

    def root_info(self) -> common.RootInfo:
        """Where the user's files and the team's begin."""
        if self.root_namespace == HOME:
            return common.UserRootInfo(HOME, HOME)
        return common.TeamRootInfo(self.root_namespace, HOME, f"/{self.rules.account}")

    def root(self, request: Request) -> str:
        """The namespace that paths begin in.

        https://www.dropbox.com/developers/reference/path-root-header-modes.

        Raises:
            Refused: 400 or 422.
        """
        home = HOME if self.app_folder is None else APP
        text = request.headers.get("Dropbox-API-Path-Root")
        if text is None:
            return home
        try:
            root = json_decode(common.PathRoot_validator, text, strict=True)
        except (ValidationError, ValueError) as error:
            raise Bad(request.path[3:], f'HTTP header "Dropbox-API-Path-Root": {error}') from None
        if root.is_root():
            if root.get_root() != self.root_namespace:
                raise described.another_root(common.PathRootError.invalid_root(self.root_info()))
            return home if self.root_namespace == HOME else self.root_namespace
        if root.is_namespace_id():
            if not self._may_enter(root.get_namespace_id()):
                raise described.another_root(common.PathRootError.no_permission)
            return str(root.get_namespace_id())
        return home

    def _may_enter(self, number: str) -> bool:
        if self.app_folder is not None:
            return number == APP
        return number in {HOME, self.root_namespace, *self.namespaces}

    def at(self, request: Request, path: str) -> tuple[str, str]:
        """Namespace and path; ``ns:42/photo.jpg`` leaves the request's root.

        Raises:
            Failed: no_write_permission; the namespace is not this user's.
        """
        number, inside = self.root(request), path
        if path.startswith("ns:"):
            number, slash, below = path[3:].partition("/")
            inside = slash + below
            if not self._may_enter(number):
                raise Failed(files.WriteError.no_write_permission)
        with self.lock:
            self.trees.setdefault(number, Tree(self.account))
        return number, inside

    # --- contention --------------------------------------------------------------------------------

    @contextmanager
    def committing(self, number: str) -> Iterator[files.WriteError | None]:
        """Commits to one namespace get into each other's way.

        Yields the error that the call has to word, or None.

        Raises:
            Refused: 429, where contention is told instead of the call's answer.
        """
        with self._counter:
            busy = self.commits_at_once is not None and self._committing[number] >= self.commits_at_once
            if busy and self.contention_in == "answer":
                refused = Refused(429)
                refused.answer = described.rate_limited("too_many_write_operations", self.retry_after)
                raise refused
            self._committing[number] += not busy
        try:
            if self.commit_time and not busy:
                time.sleep(self.commit_time)
            yield files.WriteError.too_many_write_operations if busy else None
        finally:
            with self._counter:
                self._committing[number] -= not busy

    def written(self, request: Request, path: str, write: Callable[[Tree, str], Entry]) -> Entry:
        """Write to the tree that a path is in, in turn with others.

        Raises:
            Failed: A rule forbids it, or others write.
            Refused: 429.
        """
        number, inside = self.at(request, path)
        with self.committing(number) as busy:
            if busy is not None:
                raise Failed(busy)
            with self.lock:
                return write(self.trees[number], inside)
