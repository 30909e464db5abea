"""Files, folders and shared drives of the stand-in, and the rules about them; no HTTP here.

Sources, beside the description's File schema (limits of ids, parents, output-only fields):

* one parent only: https://developers.google.com/workspace/drive/api/guides/ref-single-parent;
  ``cannotAddParent`` as errors.py says;
* properties: https://developers.google.com/workspace/drive/api/guides/properties (124 bytes each, 30 of an
  application's own and 30 public ones);
* ids: https://developers.google.com/workspace/drive/api/guides/create-file ("409 Conflict" for one that is
  used); ``fileIdInUse``, "not usable" and "Generated IDs are not supported …" are what users of the real
  service report (github.com/mmedum/google-drive-mcp, internal/drivetest, "observed live");
* service accounts: https://developers.google.com/workspace/drive/api/guides/about-shareddrives ("don't have
  storage quota and can't own any files"), the message by github.com/n8n-io/n8n/issues/26050;
* limits of folders and drives: handle-errors, and https://support.google.com/a/answer/7338880;
* 404 for a shared drive's files without ``supportsAllDrives``:
  https://developers.google.com/workspace/drive/api/guides/enable-shareddrives.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

from servers.standins.google_drive.content import received
from servers.standins.google_drive.description import TIME, properties
from servers.standins.google_drive.errors import bad, documented, error, invalid, missing
from servers.standins.google_drive.sign_in import SERVICE
from servers.standins.kit import StandIn
from servers.standins.messages import Spooled

GOOGLE_TYPE = "application/vnd.google-apps."
FOLDER = GOOGLE_TYPE + "folder"
APP, STRANGER = "app-1", "a stranger"
MIME = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(\s*;.*)?")
EVERYTHING = {"drive", "drive.readonly", "drive.metadata", "drive.metadata.readonly"}
"""Scopes that see files which the application has not made."""


@dataclass
class Node:
    """A file or folder; ``meta`` is its metadata, without what others decide (:meth:`State.view`)."""

    meta: dict[str, Any]
    owner: str
    shown: float
    """When files.list begins to know it."""
    content: Spooled | None = None
    drive: str | None = None
    versions: list[str] = field(default_factory=list)
    past: list[Spooled] = field(default_factory=list)
    """The content of each version but the newest."""

    @property
    def id(self) -> str:
        return str(self.meta["id"])

    @property
    def folder(self) -> bool:
        return bool(self.meta["mimeType"] == FOLDER)

    @property
    def size(self) -> int:
        return self.content.size if self.content else 0


@dataclass(frozen=True)
class Caller:
    """Who asks, and how.

    Attributes:
        account: Of the token.
        granted: Scopes, without their prefix.
        query: Parameters of the request.
    """

    account: str
    granted: frozenset[str]
    query: Mapping[str, str]

    @property
    def everywhere(self) -> bool:
        """Shared drives are meant, too."""
        return self.query.get("supportsAllDrives") == "true" or self.query.get("supportsTeamDrives") == "true"


class State(StandIn):
    """What is kept.

    Attributes (tests may set them; ``wipe()`` undoes the first two, ``reset()`` all):
        lag: Seconds until files.list knows a new file.
        quota: Bytes of My Drive.
        folder_items: Items directly in a folder, but the root.
        drive_items: Items of a shared drive, those in the trash included.
        depth: Levels of folders.
        folds_case: ``name = 'a'`` finds ``A``, too, as users report of the real service.
        service_accounts: Accounts that count as service accounts, beside the one of ``facts()``.
        read_only: Ids of files and folders that the caller may not change.
    """

    lag: float = 0.0
    quota: int | None = None
    folder_items: int = 500_000
    drive_items: int = 500_000
    depth: int = 100
    folds_case: bool = False

    def _begin(self) -> None:
        """Empty, with the root."""
        self.nodes: dict[str, Node] = {}
        self.generated: set[str] = set()
        self.used: set[str] = set()
        self.service_accounts: set[str] = set()
        self.read_only: set[str] = set()
        self.root = self._folder("My Drive", [])

    def stamp(self) -> str:
        """Now, in RFC 3339."""
        return datetime.fromtimestamp(self.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"

    def _folder(self, name: str, parents: list[str], drive: str | None = None) -> str:
        meta = {"name": name, "mimeType": FOLDER, "parents": parents}
        return self.add(meta, STRANGER, None, drive).id

    def new_id(self) -> str:
        """As Google makes them: 33 characters."""
        return "1" + secrets.token_urlsafe(24)

    def add_drive(self, name: str) -> str:
        """A shared drive; its id is that of its top folder."""
        with self.lock:
            made = self._folder(name, [])
            self.nodes[made].drive = made
            return made

    def add(self, meta: Mapping[str, Any], owner: str, content: Spooled | None, drive: str | None) -> Node:
        """Keep a new file whose metadata was checked."""
        now = self.stamp()
        told = {key: value for key, value in meta.items() if value is not None}
        full = {"createdTime": now, "modifiedTime": now, "version": "1", "trashed": False, "starred": False,
                "mimeType": "application/octet-stream", "name": "Untitled", **told}  # fmt: skip
        full.setdefault("id", self.new_id())
        for key in ("appProperties", "properties"):
            if key in full:
                full[key] = {name: value for name, value in full[key].items() if value is not None}
        node = Node(full, owner, self.now() + self.lag, None, drive)
        if not node.meta["mimeType"].startswith(GOOGLE_TYPE):
            self.fill(node, content or received(self.folder, iter(())))
        self.nodes[node.id] = node
        self.used.add(node.id)
        return node

    def keep(self, blocks: Iterator[bytes]) -> Spooled:
        """Content on disk."""
        return received(self.folder, blocks)

    def fill(self, node: Node, content: Spooled) -> None:
        """New content is a new revision, the newest."""
        if node.content is not None:
            node.past.append(node.content)
        node.content = content
        node.versions.append(self.new_id())

    def remove_version(self, node: Node, version: str) -> None:
        """Of the newest one the place is taken by the one before it."""
        at = node.versions.index(version)
        contents = [*node.past, node.content]
        gone = contents.pop(at)
        del node.versions[at]
        node.past, node.content = [each for each in contents[:-1] if each], contents[-1]
        if gone is not None:
            gone.path.unlink(missing_ok=True)

    def discard(self, node: Node) -> None:
        """Its bytes go, of every revision."""
        for each in (*node.past, node.content):
            if each is not None:
                each.path.unlink(missing_ok=True)

    def remove(self, node: Node) -> None:
        """With all that is below, and the bytes."""
        for below in [each for each in self.nodes.values() if node.id in each.meta["parents"]]:
            self.remove(below)
        self.nodes.pop(node.id, None)
        self.discard(node)

    _remove = remove

    # --- looking -----------------------------------------------------------------------------------

    def above(self, node: Node) -> Iterator[Node]:
        """The folders above, the nearest first."""
        while node.meta["parents"]:
            node = self.nodes[node.meta["parents"][0]]
            yield node

    def _path(self, node: Node) -> str:
        names = [node.meta["name"], *(each.meta["name"] for each in self.above(node))]
        return "/".join(reversed(names[:-1]))

    def trashed(self, node: Node) -> bool:
        """In the trash: itself, or a folder above (File.trashed)."""
        return bool(node.meta["trashed"]) or any(each.meta["trashed"] for each in self.above(node))

    def view(self, node: Node) -> dict[str, Any]:
        """The file as the File schema has it."""
        shown = {"kind": "drive#file", **node.meta, "trashed": self.trashed(node), "spaces": ["drive"],
                 "explicitlyTrashed": node.meta["trashed"], "quotaBytesUsed": str(node.size)}  # fmt: skip
        if node.drive is not None:
            shown["driveId"] = node.drive
        else:
            shown["ownedByMe"] = True
        if node.content is not None:
            shown.update(
                size=str(node.size), md5Checksum=node.content.md5, sha1Checksum=node.content.sha1,
                sha256Checksum=node.content.sha256, headRevisionId=node.versions[-1],
                originalFilename=node.meta.get("originalFilename", node.meta["name"]),
            )  # fmt: skip
        return shown

    def find(self, file: str, caller: Caller) -> Node:
        """The file of an id.

        Raises:
            Refused: 404 for what is not there, is not the app's (drive.file), or is in a shared drive
                while the caller did not say ``supportsAllDrives``.
        """
        node = self.nodes.get(self.root if file == "root" else file)
        if node is None or (node.drive and not caller.everywhere) or not self.may_see(node, caller):
            raise missing(file)
        return node

    def may_see(self, node: Node, caller: Caller) -> bool:
        """By the token's scopes."""
        top = node.id in (self.root, node.drive)
        return bool(caller.granted & EVERYTHING) or node.owner == APP or top

    def change_of(self, node: Node) -> None:
        """Raises:
        Refused: 403, the caller may not change it.
        """
        if node.id in self.read_only or any(each.id in self.read_only for each in self.above(node)):
            raise documented("insufficientFilePermissions")

    # --- rules of what is made -----------------------------------------------------------------------

    def parent(self, meta: Mapping[str, Any], caller: Caller) -> Node:
        """The folder that new metadata names."""
        parents = meta.get("parents") or ["root"]
        if len(parents) > 1:
            raise documented("cannotAddParent")
        found = self.find(parents[0], caller)
        if not found.folder:
            raise error(403, "parentNotAFolder", "The specified parent is not a folder.")
        self.change_of(found)
        return found

    def check_place(self, parent: Node, *, folder: bool) -> None:
        """Limits of a folder, of a shared drive and of levels."""
        levels = 1 + sum(1 for _ in self.above(parent))
        if folder and levels > self.depth:
            raise documented(
                "teamDriveHierarchyTooDeep" if parent.drive else "myDriveHierarchyDepthLimitExceeded"
            )
        if len(self.nodes) <= min(self.folder_items, self.drive_items):
            return
        inside = sum(1 for node in self.nodes.values() if parent.id in node.meta["parents"])
        if parent.id != self.root and inside >= self.folder_items:
            raise documented("numChildrenInNonRootLimitExceeded")
        held = sum(1 for node in self.nodes.values() if node.drive == parent.drive and node.id != node.drive)
        if parent.drive is not None and held >= self.drive_items:
            raise documented("teamDriveFileLimitExceeded")

    def check_id(self, meta: Mapping[str, Any]) -> None:
        """A caller's id was generated for it and is used once."""
        wanted = meta.get("id")
        if wanted is None:
            return
        if wanted in self.used:
            raise error(409, "fileIdInUse", "A file already exists with the provided ID.")
        if wanted not in self.generated:
            raise error(400, "invalid", "The provided file ID is not usable.", location="file.id")
        kind = meta.get("mimeType") or ""
        if kind.startswith(GOOGLE_TYPE) and kind != FOLDER:
            text = "Generated IDs are not supported for Docs Editors formats."
            raise documented("insufficientFilePermissions", text)

    def check_room(self, size: int, drive: str | None, caller: Caller) -> None:
        """Quota; a service account has none of its own. What is in the trash counts."""
        if drive is not None:
            return
        if caller.account == SERVICE or caller.account in self.service_accounts:
            text = (
                "Service Accounts do not have storage quota. Leverage shared drives, or use OAuth delegation."
            )
            raise documented("storageQuotaExceeded", text)
        if self.quota is not None and self.usage() + size > self.quota:
            raise documented("storageQuotaExceeded")

    def usage(self) -> int:
        """Bytes in My Drive."""
        return sum(node.size for node in self.nodes.values() if node.drive is None)


# --- metadata that is sent -------------------------------------------------------------------------------


@cache
def _read_only_fields() -> frozenset[str]:
    fields = properties("File")
    said = {key for key, kind in fields.items() if kind.get("description", "").startswith("Output only")}
    return frozenset(said | {"trashedTime", "trashingUser", "fullFileExtension", "permissionIds"})


def check_meta(meta: Mapping[str, Any]) -> None:
    """Values of metadata that a caller sends; null is nothing.

    Raises:
        Refused: 403 for a field that cannot be written, 400 for a bad time, 403 over a limit of properties.
    """
    told = {key: value for key, value in meta.items() if value is not None}
    if unwritable := sorted(set(told) & _read_only_fields()):
        text = f"The resource body includes fields which are not directly writable: {', '.join(unwritable)}"
        raise error(403, "fieldNotWritable", text)
    for key in ("modifiedTime", "createdTime"):
        if key in told and not TIME.fullmatch(told[key]):
            raise invalid(f"file.{key}", f"Invalid value for: {told[key]}", kind="")
    for key in ("appProperties", "properties"):
        check_properties(told.get(key, {}))
    if "mimeType" in told and not MIME.fullmatch(told["mimeType"]):
        raise bad("Invalid MIME type provided for the uploaded content.")


def check_properties(held: Mapping[str, str | None]) -> None:
    """Raises:
    Refused: 403, too many or too long.
    """
    if sum(value is not None for value in held.values()) > 30:
        raise error(403, "propertyCountExceeded", "Too many properties.")
    if any(len(key.encode()) + len((value or "").encode()) > 124 for key, value in held.items()):
        raise error(403, "propertyTooLarge", "A property is larger than 124 bytes.")
