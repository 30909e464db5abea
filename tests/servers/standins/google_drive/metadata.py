"""Routes of metadata: about, ids, lists, files without content.

Sources: the description (methods, parameters, keys of ``orderBy``); handle-errors, "badRequest" (a parent
that the file has, a cycle); ref-single-parent (``addParents`` alone moves what the caller owns; nothing may
be left without a parent); for ``parents`` in an update github.com/cryptomator/cryptomator-ios/issues/35;
enable-shareddrives (``driveId`` goes with ``corpora=drive`` and ``includeItemsFromAllDrives``).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from servers.standins.google_drive import query as search
from servers.standins.google_drive.description import DEFAULT, check_answer, select, wrong_parameter
from servers.standins.google_drive.errors import bad, documented, error, invalid
from servers.standins.google_drive.service import Service
from servers.standins.google_drive.sign_in import SERVICE, USER
from servers.standins.google_drive.state import APP, FOLDER, Caller, Node, check_properties
from servers.standins.kit import route
from servers.standins.messages import Answer, Request, Spooled


def _natural(name: str) -> tuple[tuple[int, int, str], ...]:
    pieces = re.findall(r"\d+|\D+", name)
    return tuple((0, int(each), "") if each.isdecimal() else (1, 0, each.casefold()) for each in pieces)


_ORDERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "createdTime": lambda file: search.moment(file["createdTime"]),
    "folder": lambda file: "".join(file["parents"]),
    "modifiedByMeTime": lambda file: search.moment(file["modifiedTime"]),
    "modifiedTime": lambda file: search.moment(file["modifiedTime"]),
    "name": lambda file: file["name"].casefold(),
    "name_natural": lambda file: _natural(file["name"]),
    "quotaBytesUsed": lambda file: int(file["quotaBytesUsed"]),
    "recency": lambda file: max(search.moment(file["createdTime"]), search.moment(file["modifiedTime"])),
    "sharedWithMeTime": lambda file: "",
    "starred": lambda file: file["starred"],
    "viewedByMeTime": lambda file: "",
}


class Metadata(Service):
    """Routes below ``/drive/v3``."""

    @route("GET", "/drive/v3/about")
    def about(self, request: Request) -> Answer:
        """about.get; ``fields`` has to be said."""
        caller = self.enter("about.get", request)
        mail = SERVICE if caller.account == SERVICE else USER
        number = hashlib.sha256(caller.account.encode()).hexdigest()
        user = {"kind": "drive#user", "displayName": caller.account, "emailAddress": mail, "me": True,
                "permissionId": str(int(number[:16], 16))}  # fmt: skip
        with self.lock:
            used, limit = str(self.usage()), self.quota
        quota = {"usage": used, "usageInDrive": used, **({} if limit is None else {"limit": str(limit)})}
        if caller.account == SERVICE:
            quota = {"usage": "0", "limit": "0"}
        full = {"kind": "drive#about", "user": user, "storageQuota": quota}
        check_answer(full, "About")
        return Answer(200, select(request.query["fields"], full, "About"))

    @route("GET", "/drive/v3/files/generateIds")
    def generate_ids(self, request: Request) -> Answer:
        """files.generateIds; of files in My Drive and shared drives."""
        caller = self.enter("files.generateIds", request)
        for name, known in (("space", {"drive"}), ("type", {"files", "shortcuts"})):
            if caller.query.get(name, min(known)) not in known:
                raise invalid(name)
        made = [self.new_id() for _ in range(int(caller.query.get("count", 10)))]
        if caller.query.get("type", "files") == "files":
            with self.lock:
                self.generated.update(made)
        full = {"kind": "drive#generatedIds", "space": "drive", "ids": made}
        check_answer(full, "GeneratedIds")
        return Answer(200, select(caller.query.get("fields", "*"), full, "GeneratedIds"))

    @route("GET", "/drive/v3/files")
    def list(self, request: Request) -> Answer:
        """files.list; without ``orderBy`` as they were made, which Google does not promise."""
        caller = self.enter("files.list", request)
        asked = caller.query
        with self.lock:
            found = self._found(caller)
        for key in reversed(asked["orderBy"].split(",") if asked.get("orderBy") else ()):
            name, _, way = key.strip().partition(" ")
            if name not in _ORDERS or way not in ("", "desc"):
                raise invalid("orderBy")
            found = sorted(found, key=_ORDERS[name], reverse=bool(way))
        # A token belongs to the question that it came with.
        question = {key: value for key, value in asked.items() if key not in ("pageToken", "fields")}
        mark = hashlib.sha256(repr(sorted(question.items())).encode()).hexdigest()[:16]
        start, size = 0, int(asked.get("pageSize", 100))
        if "pageToken" in asked:
            match = re.fullmatch(rf"~{mark}(\d+)", asked["pageToken"])
            if match is None:
                raise invalid("pageToken")
            start = int(match[1])
        full: dict[str, Any] = {"kind": "drive#fileList", "incompleteSearch": False}
        full["files"] = found[start : start + size]
        if start + size < len(found):
            full["nextPageToken"] = f"~{mark}{start + size}"
        check_answer(full, "FileList")
        default = f"kind,incompleteSearch,nextPageToken,files({DEFAULT})"
        return Answer(200, select(asked.get("fields", default), full, "FileList"))

    def _found(self, caller: Caller) -> Sequence[dict[str, Any]]:
        asked = caller.query
        if not set(asked.get("spaces", "drive").split(",")) <= {"drive"}:
            raise invalid("spaces")
        included = "true" in (asked.get("includeItemsFromAllDrives"), asked.get("includeTeamDriveItems"))
        shared = included and caller.everywhere
        corpora, drive = asked.get("corpora", "user"), asked.get("driveId") or asked.get("teamDriveId")
        if corpora not in ("user", "drive", "domain", "allDrives"):
            raise invalid("corpora")
        if (drive is not None) != (corpora == "drive"):
            text = "The driveId parameter must be specified if and only if corpora is set to drive."
            raise wrong_parameter("driveId", text, "invalid")
        if corpora in ("drive", "allDrives") and not shared:
            text = "includeItemsFromAllDrives and supportsAllDrives must be true."
            raise wrong_parameter("includeItemsFromAllDrives", text, "invalid")
        if drive is not None and drive not in {node.drive for node in self.nodes.values()}:
            raise error(404, "notFound", f"Shared drive not found: {drive}", location="driveId")
        rules = search.Rules(lambda named: self._parent_named(named, caller), self.folds_case)
        query = search.parse(asked["q"], rules) if asked.get("q") else search.Query(lambda file: True, None)
        return [
            self.view(node) for node in self.nodes.values()
            if query.name in (None, node.meta["name"])
            and node.id not in (self.root, node.drive) and node.shown <= self.now()
            and (shared or node.drive is None) and drive in (None, node.drive) and self.may_see(node, caller)
            and query.test(search.Asked(node.meta, partial(self.trashed, node)))
        ]  # fmt: skip

    def _parent_named(self, named: str, caller: Caller) -> str | None:
        node = self.nodes.get(self.root if named == "root" else named)
        hidden = node is None or (node.drive is not None and not caller.everywhere)
        return None if node is None or hidden or not self.may_see(node, caller) else node.id

    @route("POST", "/drive/v3/files")
    def create(self, request: Request) -> Answer:
        """files.create without content: folders, mostly."""
        caller = self.enter("files.create", request)
        meta = self.body(request)
        with self.lock:
            return Answer(200, self.show(self.make(meta, caller, None), caller))

    def make(self, meta: Mapping[str, Any], caller: Caller, content: Spooled | None) -> Node:
        """A new file, once every rule has agreed."""
        self.check_id(meta)
        parent = self.parent(meta, caller)
        self.check_place(parent, folder=meta.get("mimeType") == FOLDER)
        self.check_room(content.size if content else 0, parent.drive, caller)
        return self.add({**meta, "parents": [parent.id]}, APP, content, parent.drive)

    @route("GET", "/drive/v3/files/{file}")
    def get(self, request: Request) -> Answer:
        """files.get; ``alt=media`` gives the content."""
        caller = self.enter("files.get", request)
        with self.lock:
            node = self.find(request.params["file"], caller)
            if request.query.get("alt") != "media":
                return Answer(200, self.show(node, caller))
            if not caller.granted & {"drive", "drive.file", "drive.readonly"}:
                raise documented("insufficientPermissions")
        if node.content is None:
            raise error(403, "fileNotDownloadable", "Only files with binary content can be downloaded.")
        return Answer(200, file=node.content.path, media_type=node.meta["mimeType"])

    @route("PATCH", "/drive/v3/files/{file}")
    def update(self, request: Request) -> Answer:
        """files.update of metadata: rename, trash, move."""
        caller = self.enter("files.update", request)
        meta = self.body(request)
        with self.lock:
            node = self.find(request.params["file"], caller)
            if meta.get("mimeType") not in (None, node.meta["mimeType"]):
                # File.mimeType: "cannot be changed unless a new revision is uploaded".
                raise invalid("file.mimeType", "The MIME type cannot be changed.", kind="")
            self.alter(node, meta, caller)
            return Answer(200, self.show(node, caller))

    def check_content(self, node: Node) -> None:
        """Raises:
        Refused: 403, a folder has no content.
        """
        if node.folder:
            raise error(403, "fieldNotWritable", "A folder has no content.")

    def alter(self, node: Node, meta: Mapping[str, Any], caller: Caller) -> None:
        """Metadata over metadata, and the move; all or nothing. Null clears what can be empty."""
        self.change_of(node)
        told = {key: value for key, value in meta.items() if value is not None}
        if "parents" in told:
            text = "The parents field is not directly writable in update requests. Use the addParents and "
            raise error(403, "fieldNotWritable", text + "removeParents parameters instead.")
        if told.pop("id", node.id) != node.id:
            raise error(403, "fieldNotWritable", "The ID of a file cannot be changed.")
        if node.id in (self.root, node.drive) and ("name" in told or told.get("trashed")):
            raise documented("insufficientFilePermissions")
        for key in ("appProperties", "properties"):
            if key in told:
                merged = {**node.meta.get(key, {}), **told[key]}
                told[key] = {name: value for name, value in merged.items() if value is not None}
                check_properties(told[key])
        self._move(node, caller)
        for key in ("description", "folderColorRgb", "originalFilename"):
            if key in meta and meta[key] is None:
                node.meta.pop(key, None)
        version = str(int(node.meta["version"]) + 1)
        node.meta.update({"modifiedTime": self.stamp(), **told, "version": version})

    def _move(self, node: Node, caller: Caller) -> None:
        added = _ids(caller.query.get("addParents"))
        removed = {self.root if each == "root" else each for each in _ids(caller.query.get("removeParents"))}
        has = set(node.meta["parents"])
        if not added:
            if removed & has:
                raise bad("A file has exactly one parent: say which by addParents.")
            if removed:
                raise invalid("removeParents")
            return
        if len(set(added)) > 1 or node.id in (self.root, node.drive):
            raise documented("cannotAddParent")
        if removed - has:
            raise invalid("removeParents")
        into = self.parent({"parents": added}, caller)
        if into.id in has:
            raise bad("The file has this parent already.")
        if not removed and node.owner != APP:
            raise documented("cannotAddParent")
        if node.id in {into.id, *(each.id for each in self.above(into))}:
            raise bad("The parent would create a cycle in the directory graph.")
        if node.folder and into.drive is not None and node.drive is None:
            raise documented("teamDrivesFolderMoveInNotSupported")
        self.check_place(into, folder=node.folder)
        if into.drive is None and node.drive is not None:
            self.check_room(node.size, None, caller)
        node.meta["parents"] = [into.id]
        self._belongs(node, into.drive)

    def _belongs(self, node: Node, drive: str | None) -> None:
        node.drive = drive
        for below in [each for each in self.nodes.values() if node.id in each.meta["parents"]]:
            self._belongs(below, drive)

    @route("DELETE", "/drive/v3/files/{file}")
    def delete(self, request: Request) -> Answer:
        """files.delete, with all that is below."""
        caller = self.enter("files.delete", request)
        with self.lock:
            node = self.find(request.params["file"], caller)
            self.change_of(node)
            if node.id in (self.root, node.drive):
                raise documented("insufficientFilePermissions")
            self.remove(node)
        return Answer(204)

    @route("DELETE", "/drive/v3/files/{file}/revisions/{revision}")
    def delete_revision(self, request: Request) -> Answer:
        """revisions.delete; it has no ``supportsAllDrives`` and works in shared drives as well."""
        caller = self.enter("revisions.delete", request)
        caller = replace(caller, query={**caller.query, "supportsAllDrives": "true"})
        with self.lock:
            node = self.find(request.params["file"], caller)
            self.change_of(node)
            version = request.params["revision"]
            if version not in node.versions:
                raise error(404, "notFound", f"Revision not found: {version}.", location="revisionId")
            if len(node.versions) == 1:  # the description: "the last remaining file version can't be deleted"
                raise error(403, "insufficientFilePermissions", "The last version cannot be deleted.")
            self.remove_version(node, version)
        return Answer(204)


def _ids(parameter: str | None) -> Sequence[str]:
    return [each.strip() for each in parameter.split(",")] if parameter else []
