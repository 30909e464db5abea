"""The routes of Graph."""

from __future__ import annotations

import base64
import re
import secrets
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from servers.standins.kit import route
from servers.standins.messages import Answer, Refused, Request
from servers.standins.onedrive.described import asked, described, failed
from servers.standins.onedrive.drive import Content, Digests, Drive, Item
from servers.standins.onedrive.sessions import Sessions
from servers.standins.onedrive.sign_in import SignIn

WRITE = ("Files.ReadWrite", "Files.ReadWrite.All", "Sites.ReadWrite.All")
READ = (*WRITE, "Files.Read", "Files.Read.All", "Sites.Read.All")
BEHAVIOR = "@microsoft.graph.conflictBehavior"
_Method = TypeVar("_Method", bound=Callable[..., Answer])


def item_route(
    method: str, ending: str, *, by_path: bool = True, by_id: bool = True
) -> Callable[[_Method], _Method]:
    """Mark a method as serving an item by path or id (graph/onedrive-addressing-driveitems)."""
    colon = ":" if ending else ""
    ways = ["/root:/{path:path}" + colon, "/items/{item}:/{path:path}" + colon] if by_path else []
    ways += ["/items/{item}", "/root"] if by_id else []

    def mark(function: _Method) -> _Method:
        for way in ways:
            for base in ("/v1.0/me/drive", "/v1.0/drives/{drive}"):
                function = route(method, base + way + ending)(function)
        return function

    return mark


class OneDrive(SignIn, Sessions):
    """Graph's drives.

    Args:
        kind: ``personal``, ``business`` or ``documentLibrary``.
        options: Of :class:`~servers.standins.kit.StandIn`.
    """

    put_limit = 250 << 20
    page_size = 200
    put_default = "replace"
    session_default = "replace"
    """Graph's page says ``fail``, what was observed is ``replace`` (microsoft-graph-docs#19010)."""

    def __init__(self, *, kind: str = "personal", **options: Any) -> None:
        super().__init__(**options)
        self.drive = Drive(kind, lambda: self.now())
        self._downloads: dict[str, tuple[str, float]] = {}

    def facts(self) -> dict[str, Any]:
        """Also the base URL of Graph, the drive's id and kind, and the authority for msal."""
        known = {"graph_url": self.url + "/v1.0", "drive_id": self.drive.id, "kind": self.drive.kind}
        return {**super().facts(), **known, "authority": f"{self.url}/{self.tenant}"}

    # --- who and where ---------------------------------------------------------------------------

    def _enter(self, request: Request, scopes: tuple[str, ...], *query: str) -> None:
        """Token, drive, query parameters and percent-encoding."""
        account = self.authenticate(request, *scopes)
        if request.path.startswith("/v1.0/me") and account == "the application":
            raise failed(400, "BadRequest", "/me request is only valid with delegated authentication flow.")
        if request.params.get("drive", self.drive.id) != self.drive.id:
            raise failed(404, "itemNotFound", "The drive could not be found.")
        unknown = set(request.query) - set(query)
        if unknown:
            raise failed(
                400, "invalidRequest", f"Unknown query options: {sorted(unknown)}.", "invalidQueryOption"
            )
        if re.search(r"%(?![0-9A-Fa-f]{2})", request.path):
            raise failed(400, "invalidRequest", "Bad percent-encoding.", "invalidPath")

    def _start(self, request: Request) -> tuple[Item, list[str]]:
        start = self.drive.by_id(request.params.get("item", "root"))
        path = request.params.get("path", "")
        return start, path.split("/") if path else []

    def _item(self, request: Request) -> Item:
        return self.drive.walk(*self._start(request))

    def _behavior(self, value: str | None, default: str) -> str:
        if value is not None and value not in ("fail", "replace", "rename"):
            raise failed(400, "invalidRequest", f"{BEHAVIOR} must be fail, replace or rename.")
        return value or default

    def _check_tags(self, request: Request, item: Item | None) -> None:
        """If-Match and If-None-Match, by eTag or cTag; 412."""
        held = {item.etag, item.ctag} if item else set()
        wanted, unwanted = request.headers.get("If-Match"), request.headers.get("If-None-Match")
        if wanted is not None and wanted not in held | ({"*"} if item else set()):
            pass
        elif unwanted is None or unwanted not in held | ({"*"} if item else set()):
            return
        code = "preconditionFailed" if self.drive.business else "resourceModified"
        raise failed(412, code, "ETag does not match the current item's value.", "entityTagDoesNotMatch")

    def unauthorized(self) -> Refused:
        """401."""
        return failed(401, "InvalidAuthenticationToken", "Access token is missing, expired or not valid.")

    def out_of_scope(self, scopes: tuple[str, ...]) -> Refused:
        """403."""
        return failed(403, "accessDenied", "Insufficient privileges to complete the operation.")

    def not_found(self, request: Request) -> Answer:
        """400, as for a segment that Graph does not know."""
        return failed(400, "BadRequest", "Resource not found for the segment.").answer

    @route("GET", "/v1.0/me")
    def me(self, request: Request) -> Answer:
        """Who has signed in."""
        self._enter(request, ("User.Read", *READ), "$select")
        name = f"{self.rules.account}@example.org"
        return described(
            "user", {"id": "user-0001", "displayName": self.rules.account, "userPrincipalName": name}
        )

    @route("GET", "/v1.0/me/drive")
    @route("GET", "/v1.0/drives/{drive}")
    def get_drive(self, request: Request) -> Answer:
        """Kind and quota."""
        self._enter(request, READ, "$select")
        total, used = self.drive.quota or 5 << 40, self.drive.used
        state = "exceeded" if used >= total else "normal"
        quota = {
            "total": total,
            "used": used,
            "remaining": max(0, total - used),
            "deleted": 0,
            "state": state,
        }
        return described("drive", {"id": self.drive.id, "driveType": self.drive.kind, "quota": quota})

    # --- content ---------------------------------------------------------------------------------

    @item_route("PUT", "/content")
    def put_content(self, request: Request) -> Answer:
        """A file in one request (driveitem-put-content)."""
        self._enter(request, WRITE, BEHAVIOR)
        behavior = self._behavior(request.query.get(BEHAVIOR), self.put_default)
        parent, name = self._target(request)
        if (request.body.length or 0) > self.put_limit:
            raise failed(413, "invalidRequest", "The request is too large.", "maxFileSizeExceeded")
        self._check_tags(request, self.drive.child(parent, name))
        self.drive.conflict(parent, name, behavior)
        digests = Digests()
        with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
            try:
                for block in request.body.blocks():
                    file.write(block)
                    digests.update(block)
                    if digests.size > self.put_limit:
                        raise failed(
                            413, "invalidRequest", "The request is too large.", "maxFileSizeExceeded"
                        )
                file.flush()
                with self.drive.lock:
                    self._check_tags(request, self.drive.child(parent, name))
                    item, new = self.drive.write(parent, name, Content(Path(file.name), digests), behavior)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
        return described("driveItem", self._show(item), 201 if new else 200)

    def _target(self, request: Request) -> tuple[Item, str]:
        """Parent and name of what will be written."""
        start, names = self._start(request)
        if names:
            return self.drive.place(start, names)
        if start.parent is None or start.content is None:
            raise failed(400, "invalidRequest", "The item is not a file.")
        return self.drive.items[start.parent], start.name

    @item_route("POST", "/createUploadSession")
    def create_session(self, request: Request) -> Answer:
        """Open an upload session."""
        self._enter(request, WRITE)
        body = asked("createUploadSession", request)
        item = body.get("item", {})
        parent, name = self._target(request)
        if item.get("name", name) != name:
            raise failed(400, "invalidRequest", "The name in the body is not the one in the path.")
        if item.get("fileSize") == 0:
            raise failed(400, "invalidRequest", "An upload session needs at least one byte.")
        if "description" in item and self.drive.business:
            raise failed(400, "invalidRequest", "description is only for OneDrive Personal.")
        self._check_tags(request, self.drive.child(parent, name))
        behavior = self._behavior(item.get(BEHAVIOR), self.session_default)
        return self.open_session(request, parent, name, behavior, body)

    @item_route("GET", "/content")
    def get_content(self, request: Request) -> Answer:
        """302 to an address that needs no token (driveitem-get-content)."""
        self._enter(request, READ)
        item = self._item(request)
        if item.content is None:
            raise failed(400, "invalidRequest", "The item is not a file.")
        if request.headers.get("If-None-Match") in (item.etag, item.ctag):
            return Answer(304)
        return Answer(302, headers={"Location": self._download_url(item)})

    def _download_url(self, item: Item) -> str:
        token = secrets.token_urlsafe(24)
        with self.lock:
            self._downloads[token] = item.id, self.now() + 3600
        return f"{self.url}/download/{token}"

    @route("GET", "/download/{token}")
    def download(self, request: Request) -> Answer:
        """The bytes."""
        with self.lock:
            item, until = self._downloads.get(request.params["token"], ("", 0.0))
        if until < self.now():
            raise failed(401, "unauthenticated", "The download URL has expired.")
        content = self.drive.by_id(item).content
        assert content is not None
        return Answer(200, file=content.path, media_type="application/octet-stream")

    # --- items -----------------------------------------------------------------------------------

    def _show(self, item: Item) -> dict[str, Any]:
        shown = self.drive.document(item)
        if item.content is not None:
            shown["@microsoft.graph.downloadUrl"] = self._download_url(item)
        return shown

    @item_route("GET", "/children")
    def list_children(self, request: Request) -> Answer:
        """A page of a folder (driveitem-list-children)."""
        self._enter(request, READ, "$top", "$skiptoken", "$select")
        parent = self._item(request)
        try:
            top = min(int(request.query.get("$top", self.page_size)), self.page_size)
            token = request.query.get("$skiptoken", "")
            after = base64.urlsafe_b64decode(token.encode()).decode() if token else ""
        except ValueError:
            raise failed(400, "invalidRequest", "Bad $top or $skiptoken.", "invalidQueryOption") from None
        if top < 1:
            raise failed(400, "invalidRequest", "$top must be positive.", "invalidQueryOption")
        rest = [child for child in self.drive.children(parent) if child.name.casefold() > after]
        page: dict[str, Any] = {"value": [self._pick(request, self._show(child)) for child in rest[:top]]}
        if len(rest) > top:
            token = base64.urlsafe_b64encode(rest[top - 1].name.casefold().encode()).decode()
            page["@odata.nextLink"] = f"{self.url}{request.path}?$top={top}&$skiptoken={token}"
        return described("children", page)

    def _pick(self, request: Request, shown: dict[str, Any]) -> dict[str, Any]:
        wanted = request.query.get("$select")
        return (
            shown if wanted is None else {k: v for k, v in shown.items() if k in {"id", *wanted.split(",")}}
        )

    @item_route("POST", "/children")
    def create_folder(self, request: Request) -> Answer:
        """A folder (driveitem-post-children); without a behavior a taken name is a conflict."""
        self._enter(request, WRITE)
        body = asked("createFolder", request)
        parent = self._item(request)
        if parent.content is not None:
            raise failed(400, "invalidRequest", "The parent is not a folder.")
        item, new = self.drive.folder(parent, body["name"], self._behavior(body.get(BEHAVIOR), "fail"))
        return described("driveItem", self._show(item), 201 if new else 200)

    @item_route("GET", "")
    def get_item(self, request: Request) -> Answer:
        """An item."""
        self._enter(request, READ, "$select")
        return described("driveItem", self._pick(request, self._show(self._item(request))))

    @item_route("DELETE", "")
    def delete_item(self, request: Request) -> Answer:
        """To the recycle bin, with all below it."""
        self._enter(request, WRITE)
        with self.drive.lock:
            item = self._item(request)
            self._check_tags(request, item)
            self.drive.remove(item)
        return Answer(204)

    @item_route("PATCH", "")
    def update_item(self, request: Request) -> Answer:
        """Rename, move, set times (driveitem-update, driveitem-move)."""
        self._enter(request, WRITE, BEHAVIOR)
        body = asked("updateItem", request)
        behavior = self._behavior(body.get(BEHAVIOR, request.query.get(BEHAVIOR)), "fail")
        with self.drive.lock:
            item = self._item(request)
            self._check_tags(request, item)
            if "name" in body or "parentReference" in body:
                above = body.get("parentReference", {}).get("id", item.parent)
                self.drive.move(
                    item, self.drive.by_id(above or "root"), body.get("name", item.name), behavior
                )
            item.info.update(body.get("fileSystemInfo", {}))
            item.description = body.get("description", item.description)
            item.version += 1
        return described("driveItem", self._show(item))

    @item_route("PUT", "")
    def commit_by_url(self, request: Request) -> Answer:
        """Commit a session under another name: the path is the parent's (createUploadSession)."""
        self._enter(request, WRITE)
        body = asked("commitSession", request)
        parent = self._item(request)
        session = self.session(body["@microsoft.graph.sourceUrl"].rpartition("/up/")[2])
        self._check_tags(
            request, self.drive.child(parent, body["name"]) if "If-Match" in request.headers else None
        )
        with session.lock:
            behavior = self._behavior(body.get(BEHAVIOR), self.put_default)
            return self.commit(session, parent, body["name"], behavior)

    # --- the second route ------------------------------------------------------------------------

    def files(self) -> list[tuple[str, Path]]:
        """Path and content of each file."""
        return list(self.drive.files())

    def put(self, path: str, data: bytes) -> None:
        """Place a stranger's file, with the folders above it."""
        with self.drive.lock:
            parent = self.drive.root
            *above, name = path.split("/")
            for folder in above:
                parent = self.drive.child(parent, folder) or self.drive.folder(parent, folder, "fail")[0]
            digests = Digests()
            digests.update(data)
            with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
                file.write(data)
            self.drive.write(parent, name, Content(Path(file.name), digests), "replace")

    def reset(self) -> None:
        """Empty, without faults or log, and with every option of state as it was at first."""
        self.wipe()
        self.forget()
        drive = self.drive
        drive.quota, drive.hash_delay = None, 0.0
        drive.creates_parents = drive.rewrites_office = False
        self.consented = self.account_exists = True
        self.app_certificate, self.now = None, time.time
        self.refused_tokens.clear()

    def wipe(self) -> None:
        """Remove everything, unfinished uploads included."""
        with self.lock, self.drive.lock:
            for session in list(self.sessions.values()):
                self.drop(session)
            for _, path in self.files():
                path.unlink(missing_ok=True)
            self.drive.clear()
            self._downloads.clear()
