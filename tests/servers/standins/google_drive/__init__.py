"""A stand-in for Google Drive v3, held to the vendor's own description.

Sources: the discovery document (:mod:`servers.standins.google_drive.description`) and, for uploads,
https://developers.google.com/workspace/drive/api/guides/manage-uploads.

Not enforced yet: multipart uploads, the assertion grant of service accounts, scopes of the device flow,
`removeParents`, helpers for each usage error. Not enforced at all: sharing, comments, watching, changes,
exports, revisions' content, cost of requests per minute (throttling is by faults), virus scans.
"""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers.standins.google_drive import query as search
from servers.standins.google_drive.description import (
    DEFAULT,
    check_body,
    check_query,
    error,
    method,
    mismatch,
    select,
)
from servers.standins.google_drive.state import APP, FOLDER, STRANGER, Node, State, check_meta
from servers.standins.kit import route
from servers.standins.messages import Answer, Refused, Request, Spooled

PREFIX = "https://www.googleapis.com/auth/"
UPLOAD = "/upload/drive/v3/files"


@dataclass
class Session:
    """A resumable upload."""

    meta: dict[str, Any]
    file: str | None
    granted: set[str]
    query: dict[str, str]
    service: bool
    total: int | None
    part: Path
    until: float
    have: int = 0
    done: dict[str, Any] | None = None


class GoogleDrive(State):
    """Drive. Class attributes that tests may lower: ``unit``, ``largest``, ``session_life`` (seconds)."""

    token_path = "/token"
    authorize_path = "/o/oauth2/v2/auth"
    revoke_path = "/revoke"
    device_path = "/device/code"
    scopes = (PREFIX + "drive.file", PREFIX + "drive")
    unit = 256 * 1024
    largest = int(method("files.create")["mediaUpload"]["maxSize"])
    session_life = 7 * 86400.0

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sessions: dict[str, Session] = {}
        self.service_accounts: set[str] = set()
        self.reset()

    # --- the kit's second route ------------------------------------------------------------------

    def _path(self, node: Node) -> str:
        names = [node.meta["name"]]
        while node.meta["parents"]:
            node = self.nodes[node.meta["parents"][0]]
            names.append(node.meta["name"])
        return "/".join(reversed(names[:-1]))

    def files(self) -> list[tuple[str, Path]]:
        """Every file that is not in the trash."""
        with self.lock:
            kept = [n for n in self.nodes.values() if n.content and not n.meta["trashed"]]
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
        found = (n.meta for n in self.nodes.values() if n.meta["parents"] == [parent])
        return next((m["id"] for m in found if m["name"] == name and m["mimeType"] == FOLDER), None)

    def unfinished(self) -> set[str]:
        """Sessions that are neither done nor over."""
        with self.lock:
            return {key for key, s in self.sessions.items() if s.done is None and s.until > self.now()}

    def wipe(self) -> None:
        """Empty, with settings as at the start; shared drives go too."""
        with self.lock:
            self.sessions.clear()
            self.service_accounts.clear()
            self.lag, self.quota, self.now = 0.0, None, time.time
            self.reset()

    # --- checks ----------------------------------------------------------------------------------

    def unauthorized(self) -> Refused:
        """As Drive says it."""
        refused = error(
            401, "authError", "Invalid Credentials", location="Authorization", locationType="header"
        )
        refused.answer.headers = {
            "WWW-Authenticate": 'Bearer realm="https://accounts.google.com/", error="invalid_token"'
        }
        return refused

    def out_of_scope(self, scopes: tuple[str, ...]) -> Refused:
        """As Drive says it."""
        return error(403, "insufficientPermissions", "Request had insufficient authentication scopes.")

    def not_found(self, request: Request) -> Answer:
        """No such method."""
        return error(404, "notFound", "Not Found").answer

    def enter(self, name: str, request: Request) -> set[str]:
        """Sign-in, scopes and parameters of a method; gives the scopes, without their prefix."""
        self.authenticate(request, *method(name).get("scopes", ()))
        check_query(name, request.query)
        token = (request.headers.get("Authorization") or "").partition(" ")[2]
        return {s.removeprefix(PREFIX) for s in self.rules.access[token].family.scopes.split()}

    def is_service(self, request: Request) -> bool:
        """The token is a service account's."""
        token = (request.headers.get("Authorization") or "").partition(" ")[2]
        return self.rules.whose(token) in self.service_accounts

    def body(self, request: Request) -> dict[str, Any]:
        """Metadata that a caller sends."""
        try:
            sent = request.json() or {}
        except ValueError:
            raise error(400, "parseError", "Parse Error") from None
        check_body(sent)
        check_meta(sent)
        return dict(sent)

    def show(self, node: Node, request_query: dict[str, str]) -> dict[str, Any]:
        """The file as answered, held to the description."""
        problem = mismatch(node.meta, {"$ref": "File"}, "File")
        assert problem is None, problem
        return select(request_query.get("fields", DEFAULT), node.meta, "File")

    # --- metadata --------------------------------------------------------------------------------

    @route("GET", "/drive/v3/about")
    def about(self, request: Request) -> Answer:
        """about.get."""
        self.enter("about.get", request)
        if "fields" not in request.query:
            message = "The 'fields' parameter is required for this method."
            raise error(400, "required", message, location="fields", locationType="parameter")
        used = str(sum(n.size for n in self.nodes.values()))
        quota = {"usage": used, **({} if self.quota is None else {"limit": str(self.quota)})}
        user = {"kind": "drive#user", "displayName": self.rules.account, "emailAddress": "ann@example.org"}
        full = {"kind": "drive#about", "user": user, "storageQuota": quota}
        return Answer(200, select(request.query["fields"], full, "About"))

    @route("GET", "/drive/v3/files/generateIds")
    def generate_ids(self, request: Request) -> Answer:
        """files.generateIds."""
        self.enter("files.generateIds", request)
        made = [self.new_id() for _ in range(int(request.query.get("count", 10)))]
        with self.lock:
            self.generated.update(made)
        return Answer(200, {"kind": "drive#generatedIds", "space": "drive", "ids": made})

    @route("GET", "/drive/v3/files")
    def list(self, request: Request) -> Answer:
        """files.list; orderBy takes name, createdTime and modifiedTime."""
        granted = self.enter("files.list", request)
        asked = request.query
        test = search.parse(asked["q"].replace("'root' in", f"'{self.root}' in")) if asked.get("q") else None
        shared = asked.get("includeItemsFromAllDrives") == asked.get("supportsAllDrives") == "true"
        with self.lock:
            found = [
                n.meta for n in self.nodes.values()
                if n.meta["id"] not in (self.root, n.drive) and n.shown <= self.now()
                and (shared or n.drive is None) and ("drive" in granted or n.owner == APP)
                and (test is None or test(n.meta))
            ]  # fmt: skip
        for key in reversed(asked.get("orderBy", "").split(",") if asked.get("orderBy") else []):
            field, _, way = key.strip().partition(" ")
            if field not in ("name", "createdTime", "modifiedTime") or way not in ("", "desc"):
                raise error(400, "invalid", "Invalid Value", location="orderBy", locationType="parameter")
            found.sort(key=lambda meta: str(meta[field]), reverse=bool(way))
        start, size = asked.get("pageToken", "0"), int(asked.get("pageSize", 100))
        if not start.isdigit():
            raise error(400, "invalid", "Invalid Value", location="pageToken", locationType="parameter")
        page = found[int(start) : int(start) + size]
        full: dict[str, Any] = {"kind": "drive#fileList", "incompleteSearch": False, "files": page}
        if int(start) + size < len(found):
            full["nextPageToken"] = str(int(start) + size)
        default = f"kind,incompleteSearch,nextPageToken,files({DEFAULT})"
        return Answer(200, select(asked.get("fields", default), full, "FileList"))

    @route("POST", "/drive/v3/files")
    def create(self, request: Request) -> Answer:
        """files.create without content: folders, mostly."""
        granted = self.enter("files.create", request)
        meta = self.body(request)
        with self.lock:
            node = self.make(meta, granted, dict(request.query), self.is_service(request), None)
            return Answer(200, self.show(node, dict(request.query)))

    def make(
        self,
        meta: dict[str, Any],
        granted: set[str],
        asked: dict[str, str],
        service: bool,
        content: Spooled | None,
    ) -> Node:
        """A new file, once every rule has agreed."""
        self.check_id(meta)
        parent = self.parent(meta, granted, asked)
        self.check_room(content.size if content else 0, parent.drive, service)
        return self.add(meta, APP, content, parent.drive)

    @route("GET", "/drive/v3/files/{file}")
    def get(self, request: Request) -> Answer:
        """files.get; ``alt=media`` gives the content."""
        granted = self.enter("files.get", request)
        with self.lock:
            node = self.visible(request.params["file"], granted, request.query)
            if request.query.get("alt") != "media":
                return Answer(200, self.show(node, dict(request.query)))
        if node.content is None:
            raise error(403, "fileNotDownloadable", "Only files with binary content can be downloaded.")
        return Answer(200, file=node.content.path, media_type=node.meta["mimeType"])

    @route("PATCH", "/drive/v3/files/{file}")
    def update(self, request: Request) -> Answer:
        """files.update of metadata: rename, trash, move."""
        granted = self.enter("files.update", request)
        meta = self.body(request)
        if "parents" in meta:
            raise error(403, "fieldNotWritable", "Use addParents and removeParents to change parents.")
        with self.lock:
            node = self.visible(request.params["file"], granted, request.query)
            if added := request.query.get("addParents"):
                into = self.parent({"parents": added.split(",")}, granted, request.query)
                node.meta["parents"] = [into.meta["id"]]
            self.change(node, meta)
            return Answer(200, self.show(node, dict(request.query)))

    def change(self, node: Node, meta: dict[str, Any]) -> None:
        """Metadata over metadata; a property of null goes away."""
        held = {**node.meta.get("appProperties", {}), **meta.pop("appProperties", {})}
        node.meta["appProperties"] = {k: v for k, v in held.items() if v is not None}
        node.meta["modifiedTime"] = self.stamp()
        node.meta.update(meta)
        node.meta["version"] = str(int(node.meta["version"]) + 1)

    @route("DELETE", "/drive/v3/files/{file}")
    def delete(self, request: Request) -> Answer:
        """files.delete, with all that is below."""
        granted = self.enter("files.delete", request)
        with self.lock:
            self._remove(self.visible(request.params["file"], granted, request.query))
        return Answer(204)

    def _remove(self, node: Node) -> None:
        for below in [n for n in self.nodes.values() if node.meta["id"] in n.meta["parents"]]:
            self._remove(below)
        self.nodes.pop(node.meta["id"], None)

    # --- uploads ---------------------------------------------------------------------------------

    @route("POST", UPLOAD)
    def upload(self, request: Request) -> Answer:
        """files.create with content."""
        return self._upload("files.create", None, request)

    @route("PATCH", UPLOAD + "/{file}")
    def upload_again(self, request: Request) -> Answer:
        """files.update with content."""
        return self._upload("files.update", request.params["file"], request)

    def _upload(self, name: str, file: str | None, request: Request) -> Answer:
        granted, asked = self.enter(name, request), dict(request.query)
        kind, service = asked.get("uploadType"), self.is_service(request)
        if kind == "media":
            session = Session({}, file, granted, asked, service, None, Path(), 0)
            return Answer(200, self._finish(session, request.spool()))
        if kind != "resumable":
            raise error(400, "badRequest", f"Upload type {kind} is not supported.")
        meta, length = self.body(request), request.headers.get("X-Upload-Content-Length")
        if length is not None and (not length.isdigit() or int(length) > self.largest):
            raise error(413, "uploadTooLarge", "The upload is too large.")
        meta.setdefault(
            "mimeType", request.headers.get("X-Upload-Content-Type") or "application/octet-stream"
        )
        total = None if length is None else int(length)
        with self.lock:
            if file is None:
                self.check_id(meta)
                drive = self.parent(meta, granted, asked).drive
            else:
                drive = self.visible(file, granted, asked).drive
            self.check_room(total or 0, drive, service)
            key, part = secrets.token_urlsafe(24), self.folder / secrets.token_hex(8)
            part.touch()
            until = self.now() + self.session_life
            self.sessions[key] = Session(meta, file, granted, asked, service, total, part, until)
        # By the name that the client came by, so that a proxy in between stays in between.
        base = f"{self.url.partition('://')[0]}://{request.headers['Host']}"
        where = f"{base}{request.path}?uploadType=resumable&upload_id={key}"
        return Answer(200, headers={"Location": where, "X-GUploader-UploadID": key})

    def _finish(self, session: Session, content: Spooled) -> dict[str, Any]:
        with self.lock:
            if session.file is None:
                node = self.make(session.meta, session.granted, session.query, session.service, content)
            else:
                node = self.visible(session.file, session.granted, session.query)
                self.check_room(content.size - node.size, node.drive, session.service)
                self.fill(node, content)
                self.change(node, session.meta)
            session.done = self.show(node, session.query)
            return session.done

    @route("PUT", UPLOAD)
    @route("PUT", UPLOAD + "/{file}")
    def chunk(self, request: Request) -> Answer:
        """A piece of an upload, or ``Content-Range: bytes */N``, which asks how far it came."""
        session = self._session(request)
        if session.done is not None:
            return Answer(200, session.done)
        given = request.headers.get("Content-Range")
        if given and (asked := re.fullmatch(r"bytes \*/(\d+|\*)", given)):
            return self._progress(session) if asked[1] == "*" or int(asked[1]) else self._end(session)
        length = request.body.length or 0
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", given or f"bytes 0-{length - 1}/{length}")
        if given is None and not length:
            return self._end(session)
        if match is None:
            raise error(400, "badRequest", "Failed to parse Content-Range header.")
        first, last, total = int(match[1]), int(match[2]), match[3]
        ends = total != "*" and last + 1 == int(total)
        wrong_size = session.total is not None and total not in ("*", str(session.total))
        if (
            last - first + 1 != length
            or first != session.have
            or wrong_size
            or (not ends and length % self.unit)
        ):
            raise error(400, "badRequest", "Invalid request. The Content-Range does not fit the upload.")
        with session.part.open("ab") as out:
            for block in request.body.blocks():
                out.write(block)
                session.have += len(block)
        return self._end(session) if ends else self._progress(session)

    def _session(self, request: Request) -> Session:
        with self.lock:
            found = self.sessions.get(request.query.get("upload_id", ""))
        if found is None or found.until <= self.now():
            raise error(404, "notFound", "Upload session not found.")
        return found

    def _progress(self, session: Session) -> Answer:
        ranges = {"Range": f"bytes=0-{session.have - 1}"} if session.have else {}
        return Answer(308, headers=ranges)

    def _end(self, session: Session) -> Answer:
        def blocks() -> Any:
            with session.part.open("rb") as file:
                while data := file.read(1 << 20):
                    yield data

        content = self.keep(blocks())
        session.part.unlink()
        return Answer(200, self._finish(session, content))

    @route("DELETE", UPLOAD)
    def cancel(self, request: Request) -> Answer:
        """End a session: 499."""
        self._session(request)
        with self.lock:
            del self.sessions[request.query["upload_id"]]
        return Answer(499)
