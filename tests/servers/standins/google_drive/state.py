"""Files, folders and shared drives of the stand-in, and the rules about them; no HTTP here.

Sources: the description's File schema (limits of appProperties, ids, parents), and
https://developers.google.com/workspace/drive/api/guides/ (create-file, folder, enable-shareddrives).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from servers.standins.google_drive.description import error
from servers.standins.kit import StandIn
from servers.standins.messages import Refused, Spooled, spool

FOLDER = "application/vnd.google-apps.folder"
APP, STRANGER = "app-1", "a stranger"


@dataclass
class Node:
    """A file or folder; ``meta`` is its metadata as the description has it."""

    meta: dict[str, Any]
    owner: str
    shown: float
    """When files.list begins to know it."""
    content: Spooled | None = None
    drive: str | None = None
    versions: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        return self.content.size if self.content else 0


def missing(file: str) -> Refused:
    """What an id gets that the caller cannot see."""
    return error(404, "notFound", f"File not found: {file}.", location="fileId", locationType="parameter")


class State(StandIn):
    """What is kept. Attributes that tests may set: ``lag`` (seconds), ``quota`` (bytes)."""

    lag: float = 0.0
    quota: int | None = None

    def reset(self) -> None:
        """Empty, with the root."""
        self.nodes: dict[str, Node] = {}
        self.generated: set[str] = set()
        self.root = self._folder("My Drive", [])

    def stamp(self) -> str:
        """Now, in RFC 3339."""
        return datetime.fromtimestamp(self.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"

    def _folder(self, name: str, parents: list[str], drive: str | None = None) -> str:
        meta = {"name": name, "mimeType": FOLDER, "parents": parents}
        return str(self.add(meta, STRANGER, None, drive).meta["id"])

    def new_id(self) -> str:
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
        full = {"kind": "drive#file", "trashed": False, "createdTime": now, "modifiedTime": now,
                "version": "1", "mimeType": "application/octet-stream", "name": "Untitled",
                **meta}  # fmt: skip
        full.setdefault("id", self.new_id())
        if drive is not None:
            full["driveId"] = drive
        node = Node(full, owner, self.now() + self.lag, None, drive)
        if full["mimeType"] != FOLDER:
            self.fill(node, content or self.empty())
        self.nodes[full["id"]] = node
        return node

    def empty(self) -> Spooled:
        """Content of no bytes."""
        return self.keep(iter(()))

    def keep(self, blocks: Iterator[bytes]) -> Spooled:
        """Content on disk."""
        with (self.folder / secrets.token_hex(8)).open("wb") as out:
            return spool(blocks, out)

    def fill(self, node: Node, content: Spooled) -> None:
        """New content is a new revision."""
        node.content = content
        node.versions.append(self.new_id())
        node.meta.update(
            size=str(content.size), md5Checksum=content.md5, sha1Checksum=content.sha1,
            sha256Checksum=content.sha256, headRevisionId=node.versions[-1],
        )  # fmt: skip

    def visible(self, file: str, granted: set[str], query: Mapping[str, str]) -> Node:
        """The file of an id.

        Raises:
            Refused: 404 for what is not there, is not the app's (drive.file), or is in a shared drive
                while the caller did not say ``supportsAllDrives``.
        """
        node = self.nodes.get(self.root if file == "root" else file)
        if node is None or (node.drive and query.get("supportsAllDrives") != "true"):
            raise missing(file)
        container = node.meta["id"] in (self.root, node.drive)
        if "drive" not in granted and node.owner != APP and not container:
            raise missing(file)
        return node

    def parent(self, meta: dict[str, Any], granted: set[str], query: Mapping[str, str]) -> Node:
        """The folder that new metadata names, which may be one only (since September 2020)."""
        parents = meta.get("parents") or ["root"]
        if len(parents) > 1:
            raise error(403, "multipleParentsNotSupported", "A file cannot have more than one parent.")
        found = self.visible(parents[0], granted, query)
        if found.meta["mimeType"] != FOLDER:
            raise error(403, "parentNotAFolder", "The specified parent is not a folder.")
        meta["parents"] = [found.meta["id"]]
        return found

    def check_id(self, meta: Mapping[str, Any]) -> None:
        """A caller's id was generated for it and is used once."""
        wanted = meta.get("id")
        if wanted in self.nodes:
            raise error(409, "fileIdInUse", "A file already exists with the provided ID.")
        if wanted is not None and wanted not in self.generated:
            raise error(400, "invalid", "The provided file ID is not usable.", location="file.id")

    def check_room(self, size: int, drive: str | None, service: bool) -> None:
        """Quota; a service account has none of its own."""
        used = sum(n.size for n in self.nodes.values() if n.drive is None)
        if drive is None and service:
            raise error(403, "storageQuotaExceeded", "Service Accounts do not have storage quota.")
        if drive is None and self.quota is not None and used + size > self.quota:
            raise error(403, "storageQuotaExceeded", "The user's Drive storage quota has been exceeded.")


TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
WRITABLE = {"id", "name", "mimeType", "parents", "description", "appProperties", "properties", "modifiedTime",
            "createdTime", "trashed", "starred"}  # fmt: skip


def check_meta(meta: Mapping[str, Any]) -> None:
    """Values of metadata that a caller sends.

    Raises:
        Refused: 403 for a field that cannot be written, 400 for a bad time, 403 over a limit of properties.
    """
    for key in set(meta) - WRITABLE:
        raise error(
            403,
            "fieldNotWritable",
            f"The resource body includes fields which are not directly writable: {key}",
        )
    for key in ("modifiedTime", "createdTime"):
        if key in meta and not TIME.fullmatch(meta[key]):
            raise error(400, "invalid", f"Invalid value for: {meta[key]}", location=f"file.{key}")
    held = meta.get("appProperties") or {}
    if len(held) > 30:
        raise error(403, "propertyCountExceeded", "Too many private properties.")
    if any(len(k.encode()) + len((v or "").encode()) > 124 for k, v in held.items()):
        raise error(403, "propertyTooLarge", "A property is larger than 124 bytes.")
