"""Dropbox API v2, as far as a file uploader meets it: :class:`DropboxStandIn`.

Held to the vendor's own description, the Stone specification as it is compiled into the package ``dropbox``
(dropbox/files.py, users.py; text at https://github.com/dropbox/dropbox-api-spec): each argument is decoded by
its validator, strictly, and each result and error is encoded by its own, so that no answer can be malformed.

Rules beyond it, with their source:

* request styles, headers, content types and the errors 400, 401, 403, 409, 422, 429:
  https://www.dropbox.com/developers/documentation/http/documentation (Request and response formats, Errors);
* upload ≤ 150 MiB a request, sessions of seven days, offsets, closed sessions, a commit that failed keeps its
  data in a session: documentation of the routes in files.stone;
* scopes of the routes: the documentation of each; a refresh token only for ``token_access_type=offline``,
  four hours of an access token, PKCE without a secret: https://developers.dropbox.com/oauth-guide;
* write contention in one namespace: https://developers.dropbox.com/error-handling-guide (429,
  ``too_many_write_operations``).

To be set: ``tree.quota``, ``upload_limit``, ``session_life``, ``commits_at_once`` (None: any number),
``commit_time`` (seconds that a commit holds its namespace), ``retry_after`` of the 429, ``namespaces``,
``suspended``, ``now``. :meth:`reset` brings all back. The SDK comes by overriding ``_get_route_url``, which
has https built in.

Not enforced: app folders (one tree, whatever the type of the application), team spaces beyond the header's
form, shared folders, team quotas, ``mute``, property groups, restore and revisions, longpoll, batch jobs, and
limits of calls other than the contention above.
"""

from __future__ import annotations

import json
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from dropbox import common, files, users, users_common
from dropbox.stone_serializers import json_decode, json_encode
from dropbox.stone_validators import ValidationError

from conveyor.contract import Rotation
from servers.oauth_rules import CLIENT, Rules
from servers.standins.dropbox.state import BLOCK, Content, Entry, Failed, Session, Tree, hash_of, spooled
from servers.standins.kit import StandIn, route
from servers.standins.messages import Answer, Refused, Request

WRITE, READ, LOOK, ACCOUNT = (
    "files.content.write", "files.content.read", "files.metadata.read", "account_info.read",
)  # fmt: skip
MIB = 1024 * 1024


class DropboxRules(Rules):
    """Sign-in of a public application with PKCE."""

    def __init__(self, **known: Any) -> None:
        settings: dict[str, Any] = {"rotation": Rotation.KEPT, "life": 14_400.0, "secret": None}
        super().__init__(**{**settings, **known})
        self._offline: set[str] = set()

    def authorize(self, asked: Mapping[str, str]) -> str:
        """A code, and whether it will bring a refresh token."""
        code = super().authorize(asked)
        if asked.get("token_access_type") == "offline":
            self._offline.add(code)
        return code

    def _by_code(self, form: Mapping[str, str]) -> dict[str, Any]:
        answer = super()._by_code(form)
        if form["code"] not in self._offline:
            self.refresh.pop(answer.pop("refresh_token"), None)
        return {**answer, "account_id": ACCOUNT_ID, "uid": "12345"}

    def _issue(self, family: Any, refresh: str | None, replaces: str | None = None) -> dict[str, Any]:
        answer = super()._issue(family, refresh, replaces)
        return {**answer, "expires_in": math.ceil(self.life)}


ACCOUNT_ID = "dbid:AAH4f99T0taONIb-OurWxbNQ6ywGRopQngc"


class DropboxStandIn(StandIn):
    """The service: api.dropboxapi.com and content.dropboxapi.com at one address."""

    token_path = "/oauth2/token"
    authorize_path = "/oauth2/authorize"
    revoke_path = "/2/auth/token/revoke"
    scopes = (WRITE, READ, LOOK, ACCOUNT)
    upload_limit: int = 150 * MIB
    session_life: float = 7 * 86_400.0
    commits_at_once: int | None = None
    commit_time: float = 0.0
    retry_after: int = 1
    suspended: bool = False
    _SETTABLE: ClassVar = (
        "upload_limit",
        "session_life",
        "commits_at_once",
        "commit_time",
        "retry_after",
        "suspended",
    )

    def __init__(self, **known: Any) -> None:
        known.setdefault("rules", DropboxRules())
        super().__init__(**known)
        self.tree = Tree(lambda: self.now())
        self.sessions: dict[str, Session] = {}
        self.namespaces: set[str] = set()
        self.defects: list[str] = []
        self._committing = 0
        self._counter = threading.Lock()

    def facts(self) -> dict[str, Any]:
        """The kit's; there is no secret."""
        return {**super().facts(), "client_id": CLIENT, "client_secret": None}

    def reset(self) -> None:
        """Empty, with every limit as it is by default."""
        self.wipe()
        self.forget()
        self.refused_tokens.clear()
        self.namespaces.clear()
        self.defects.clear()
        self.tree.quota, self.now = None, time.time
        for name in self._SETTABLE:
            self.__dict__.pop(name, None)

    # --- the second route ------------------------------------------------------------------------

    def files(self) -> list[tuple[str, Path]]:
        """All files."""
        with self.lock:
            return [(e.display[1:], e.content.path) for e in self.tree.entries.values() if e.content]

    def put(self, path: str, data: bytes) -> None:
        """A stranger's file."""
        place = self.folder / secrets.token_hex(8)
        place.write_bytes(data)
        with self.lock:
            content = Content(place, len(data), hash_of(place))
            self.tree.commit(files.CommitInfo("/" + path, mode=files.WriteMode.overwrite), content)

    def unfinished(self) -> set[str]:
        """Sessions are the service's to remove, after seven days: no call of a client can."""
        return set()

    def wipe(self) -> None:
        """No file and no session."""
        with self.lock:
            self.tree.wipe()
            for session in self.sessions.values():
                session.path.unlink(missing_ok=True)
            self.sessions.clear()

    # --- what every route does -------------------------------------------------------------------

    def authenticate(self, request: Request, *scopes: str) -> str:
        """As the kit's, in Dropbox's words."""
        scheme, _, token = (request.headers.get("Authorization") or "").partition(" ")
        if scheme != "Bearer" or not token:
            raise Refused(400, {"error": "missing authorization header"})
        held = self.rules.access.get(token)
        if token in self.refused_tokens or (held is not None and held.until < self.rules.clock()):
            raise _unauthorized("expired_access_token")
        if held is None or held.family.revoked:
            raise _unauthorized("invalid_access_token")
        if self.suspended:
            raise _unauthorized("user_suspended")
        granted = held.family.scopes.split()
        if missing := [scope for scope in scopes if scope not in granted]:
            raise _unauthorized("missing_scope", required_scope=missing[0])
        return self.rules.whose(token)

    def _argument(self, request: Request, route_: Any, *scopes: str, content: bool = False) -> Any:
        """Check login, headers and argument."""
        self.authenticate(request, *scopes)
        self._path_root(request)
        name = f"files/{route_.name}" if route_ in files.ROUTES.values() else f"users/{route_.name}"
        kind = (request.headers.get("Content-Type") or "").partition(";")[0].strip()
        if content:
            text = request.headers.get("Dropbox-API-Arg")
            if kind not in ("application/octet-stream", "text/plain"):
                raise _bad(name, f'Bad HTTP "Content-Type" header: "{kind}".')
            if text is None:
                raise _bad(name, 'Must provide HTTP header "Dropbox-API-Arg" or URL parameter "arg".')
            if not text.isascii():
                raise _bad(name, 'HTTP header "Dropbox-API-Arg": could not decode')
        else:
            if kind != "application/json":
                raise _bad(name, f'Bad HTTP "Content-Type" header: "{kind}".')
            text = request.data().decode()
        try:
            return json_decode(route_.arg_type, text, strict=True)
        except (ValidationError, ValueError) as error:
            where = 'HTTP header "Dropbox-API-Arg"' if content else "request body"
            raise _bad(name, f"{where}: {error}") from None

    def _path_root(self, request: Request) -> None:
        """https://www.dropbox.com/developers/reference/path-root-header-modes."""
        text = request.headers.get("Dropbox-API-Path-Root")
        if text is None:
            return
        try:
            root = json_decode(common.PathRoot_validator, text, strict=True)
        except (ValidationError, ValueError):
            raise Refused(400) from None
        if root.is_namespace_id() and root.get_namespace_id() not in self.namespaces:
            error = {".tag": "no_permission"}
            raise Refused(422, {"error_summary": "no_permission/..", "error": error})

    @contextmanager
    def _committing_one(self) -> Iterator[None]:
        """Commits to one namespace take turns, and too many at once are refused."""
        with self._counter:
            if self.commits_at_once is not None and self._committing >= self.commits_at_once:
                raise self.contention()
            self._committing += 1
        try:
            if self.commit_time:
                time.sleep(self.commit_time)
            yield
        finally:
            with self._counter:
                self._committing -= 1

    def contention(self) -> Refused:
        """Write contention, as an answer to the request."""
        reason = {".tag": "too_many_write_operations"}
        document = {
            "error_summary": "too_many_write_operations/..",
            "error": {"reason": reason, "retry_after": self.retry_after},
        }
        return Refused(429, document, Retry_After=str(self.retry_after))

    # --- uploads ---------------------------------------------------------------------------------

    @route("POST", "/2/files/upload")
    def upload(self, request: Request) -> Answer:
        """A whole file in one request."""
        argument = self._argument(request, files.upload, WRITE, content=True)
        content = self._received(request, argument, files.upload, files.UploadError)
        with self._committing_one(), self.lock:
            try:
                entry = self.tree.commit(argument, content)
            except Failed as failed:
                # files.stone, UploadWriteFailed: the data waits in a session, to be committed by finish.
                session = self._session(closed=True)
                content.path.replace(session.path)
                session.size = content.size
                reason = files.UploadWriteFailed(failed.error, session.id)
                raise _failed(files.upload, files.UploadError.path(reason)) from None
        return _result(files.upload, entry.metadata())

    def _received(self, request: Request, argument: Any, route_: Any, errors: Any) -> Content:
        content = spooled(request, self.folder)
        if content.size > self.upload_limit:
            content.path.unlink()
            raise _failed(route_, errors.payload_too_large)
        if argument.content_hash is not None and argument.content_hash != content.hash:
            content.path.unlink()
            raise _failed(route_, errors.content_hash_mismatch)
        return content

    def _session(self, *, concurrent: bool = False, closed: bool = False) -> Session:
        number = "pid_upload_session:" + secrets.token_urlsafe(18)
        path = self.folder / secrets.token_hex(8)
        path.touch()
        made = Session(number, path, self.now() + self.session_life, concurrent, closed)
        self.sessions[number] = made
        return made

    @route("POST", "/2/files/upload_session/start")
    def session_start(self, request: Request) -> Answer:
        """A session, with its first bytes."""
        where, errors = files.upload_session_start, files.UploadSessionStartError
        argument = self._argument(request, where, WRITE, content=True)
        content = self._received(request, argument, where, errors)
        concurrent = argument.session_type is not None and argument.session_type.is_concurrent()
        if concurrent and content.size:
            raise _failed(where, errors.concurrent_session_data_not_allowed)
        if concurrent and argument.close:
            raise _failed(where, errors.concurrent_session_close_not_allowed)
        with self.lock:
            session = self._session(concurrent=concurrent, closed=argument.close)
            content.path.replace(session.path)
            session.size = content.size
        return _result(where, files.UploadSessionStartResult(session.id))

    def _lookup(self, cursor: files.UploadSessionCursor, errors: Any) -> Session:
        """The session at the cursor; ``errors`` makes the route's error of a lookup error.

        Raises:
            Refused: 409.
        """
        session = self.sessions.get(cursor.session_id)
        if session is None or session.until <= self.now():
            raise errors("not_found", None)
        if not session.concurrent and cursor.offset != session.size:
            raise errors("incorrect_offset", files.UploadSessionOffsetError(session.size))
        if session.concurrent and cursor.offset % BLOCK:
            raise errors("concurrent_session_invalid_offset", None)
        return session

    @route("POST", "/2/files/upload_session/append_v2")
    def session_append(self, request: Request) -> Answer:
        """More bytes."""
        where, kind = files.upload_session_append_v2, files.UploadSessionAppendError

        def errors(tag: str, value: Any) -> Refused:
            return _failed(where, kind(tag, value))

        argument = self._argument(request, where, WRITE, content=True)
        with self.lock:
            if (session := self._lookup(argument.cursor, errors)).closed:
                raise errors("closed", None)
        content = self._received(request, argument, where, kind)
        try:
            with self.lock:
                session = self._lookup(argument.cursor, errors)
                if session.closed:
                    raise errors("closed", None)
                if session.concurrent and content.size % BLOCK and not argument.close:
                    raise errors("concurrent_session_invalid_data_size", None)
                _append(session, argument.cursor.offset, content)
                session.closed = session.closed or argument.close
        finally:
            content.path.unlink(missing_ok=True)
        return _result(where, None)

    @route("POST", "/2/files/upload_session/finish")
    def session_finish(self, request: Request) -> Answer:
        """The last bytes, and the commit. When it fails, the session stays and can be committed again."""
        where, kind = files.upload_session_finish, files.UploadSessionFinishError

        def errors(tag: str, value: Any) -> Refused:
            return _failed(where, kind.lookup_failed(files.UploadSessionLookupError(tag, value)))

        argument = self._argument(request, where, WRITE, content=True)
        with self.lock:
            self._lookup(argument.cursor, errors)
        content = self._received(request, argument, where, kind)
        with self._committing_one(), self.lock:
            session = self._lookup(argument.cursor, errors)
            if content.size and session.closed:
                raise errors("closed", None)
            if session.concurrent and not session.closed:
                raise errors("not_closed", None)
            _append(session, argument.cursor.offset, content)
            content.path.unlink(missing_ok=True)
            whole = Content(session.path, session.size, hash_of(session.path))
            try:
                entry = self.tree.commit(argument.commit, whole)
            except Failed as failed:
                session.closed = True
                raise _failed(where, kind.path(failed.error)) from None
            del self.sessions[session.id]
        return _result(where, entry.metadata())

    # --- looking and changing --------------------------------------------------------------------

    def _found(self, path: str, where: Any, errors: Callable[[Any], Any]) -> Entry:
        entry = self.tree.find(path)
        if entry is None:
            raise _failed(where, errors(files.LookupError.not_found))
        return entry

    @route("POST", "/2/files/get_metadata")
    def get_metadata(self, request: Request) -> Answer:
        """One file or folder."""
        argument = self._argument(request, files.get_metadata, LOOK)
        with self.lock:
            entry = self._found(argument.path, files.get_metadata, files.GetMetadataError.path)
            return _result(files.get_metadata, entry.metadata())

    @route("POST", "/2/files/list_folder")
    def list_folder(self, request: Request) -> Answer:
        """All in one page."""
        argument = self._argument(request, files.list_folder, LOOK)
        with self.lock:
            if argument.path:
                self._found(argument.path, files.list_folder, files.ListFolderError.path)
            entries = self.tree.below(argument.path, recursive=argument.recursive)
            shown = [entry.metadata() for entry in entries]
        return _result(files.list_folder, files.ListFolderResult(shown, "end", has_more=False))

    @route("POST", "/2/files/create_folder_v2")
    def create_folder(self, request: Request) -> Answer:
        """A folder."""
        where = files.create_folder_v2
        argument = self._argument(request, where, WRITE)
        with self._committing_one(), self.lock:
            try:
                made = self.tree.folder(argument.path, autorename=argument.autorename)
            except Failed as failed:
                raise _failed(where, files.CreateFolderError.path(failed.error)) from None
        return _result(where, files.CreateFolderResult(made.metadata()))

    @route("POST", "/2/files/delete_v2")
    def delete(self, request: Request) -> Answer:
        """A file, or a folder with all in it."""
        where = files.delete_v2
        argument = self._argument(request, where, WRITE)
        with self._committing_one(), self.lock:
            entry = self._found(argument.path, where, files.DeleteError.path_lookup)
            shown = entry.metadata()
            self.tree.delete(entry)
        return _result(where, files.DeleteResult(shown))

    @route("POST", "/2/files/download")
    def download(self, request: Request) -> Answer:
        """Its bytes, its metadata in a header."""
        self.authenticate(request, READ)
        text = request.headers.get("Dropbox-API-Arg") or ""
        try:
            argument = json_decode(files.download.arg_type, text, strict=True)
        except (ValidationError, ValueError) as error:
            raise _bad("files/download", f'HTTP header "Dropbox-API-Arg": {error}') from None
        with self.lock:
            entry = self._found(argument.path, files.download, files.DownloadError.path)
            if entry.content is None:
                raise _failed(files.download, files.DownloadError.path(files.LookupError.not_file))
            told = json_encode(files.download.result_type, entry.metadata())
            header = {"Dropbox-API-Result": json.dumps(json.loads(told))}
            return Answer(200, file=entry.content.path, headers=header, media_type="application/octet-stream")

    @route("POST", "/2/users/get_current_account")
    def get_current_account(self, request: Request) -> Answer:
        """Who am I."""
        account = self.authenticate(request, ACCOUNT)
        name = users.Name(account, "Example", account, f"{account} Example", account[:2].upper())
        shown = users.FullAccount(
            account_id=ACCOUNT_ID, name=name, email=f"{account}@example.org", email_verified=True,
            disabled=False, locale="en", referral_link="https://db.tt/x", is_paired=False,
            account_type=users_common.AccountType.basic,
            root_info=common.UserRootInfo("3235641", "3235641"),
        )  # fmt: skip
        return _result(users.get_current_account, shown)

    @route("POST", "/2/users/get_space_usage")
    def get_space_usage(self, request: Request) -> Answer:
        """How much of how much."""
        self.authenticate(request, ACCOUNT)
        allocated = users.IndividualSpaceAllocation(self.tree.quota or 2 << 30)
        usage = users.SpaceUsage(self.tree.used(), users.SpaceAllocation.individual(allocated))
        return _result(users.get_space_usage, usage)

    def serve_sign_in(self, request: Request) -> Answer | None:
        """As the kit's; the answer to a revocation is null."""
        answer = super().serve_sign_in(request)
        if answer is not None and request.path == self.revoke_path:
            return Answer(200, body=b"null")
        return answer

    def not_found(self, request: Request) -> Answer:
        """Dropbox answers in text."""
        return Answer(404, body=b"Unknown API function", media_type="text/plain")


def _append(session: Session, offset: int, content: Content) -> None:
    with session.path.open("r+b") as out, content.path.open("rb") as source:
        out.seek(offset)
        while block := source.read(BLOCK):
            out.write(block)
    session.size = max(session.size, offset + content.size)


def _result(where: Any, value: Any) -> Answer:
    return Answer(200, body=json_encode(where.result_type, value).encode())


def _failed(where: Any, error: Any) -> Refused:
    """An error of the route itself: 409."""
    told = json.loads(json_encode(where.error_type, error))
    return Refused(409, {"error_summary": f"{_summary(told)}/..", "error": told})


def _summary(told: Any) -> str:
    tag = told.get(".tag", "") if isinstance(told, dict) else str(told)
    deeper = told.get(tag) if isinstance(told, dict) else None
    if tag == "path" and isinstance(told, dict) and "reason" in told:
        deeper = told["reason"]
    return f"{tag}/{_summary(deeper)}" if isinstance(deeper, dict) else tag


def _unauthorized(tag: str, **more: str) -> Refused:
    return Refused(401, {"error_summary": f"{tag}/..", "error": {".tag": tag, **more}})


class _bad(Refused):
    """400, in text (documentation, Errors by status code)."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(400)
        text = f'Error in call to API function "{name}": {message}'
        self.answer = Answer(400, body=text.encode(), media_type="text/plain; charset=utf-8")
