"""Items of a drive, and folders by path."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from conveyor.contract import DeliveryError, ErrorKind, Parcel
from conveyor_connectors.onedrive.graph import BEHAVIOR, Graph, item

OFFICE = (".docx", ".docm", ".xlsx", ".xlsm", ".pptx", ".pptm", ".vsdx", ".dotx", ".xltx", ".potx")
"""Files that SharePoint writes its own properties into (rclone docs, onedrive)."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of a drive.

    Attributes:
        hash: Its quickXorHash, hex; None while the service has not made it.
        created: When its client says it was made; whole seconds since the epoch.
        rewritten: SharePoint may have written into it: size and hash say nothing.
    """

    id: str
    name: str
    etag: str
    size: int
    hash: str | None
    created: int | None
    rewritten: bool

    def holds(self, parcel: Parcel) -> bool:
        """It has the parcel's bytes, as far as can be told."""
        return self.size == parcel.size and self.hash in (None, parcel.digests["quickxor"])

    def written_for(self, parcel: Parcel) -> bool:
        """It has the time of submission that an upload of this delivery gives, and its bytes."""
        return self.created == int(parcel.submitted_at) and (self.rewritten or self.holds(parcel))


def stored(found: Mapping[str, Any]) -> Stored:
    """A driveItem that is a file.

    Raises:
        DeliveryError: UNKNOWN_OUTCOME, when it is none.
    """
    try:
        hashes = found["file"].get("hashes") or {}
        times = found.get("fileSystemInfo") or {}
        library = (found.get("parentReference") or {}).get("driveType") in ("business", "documentLibrary")
        return Stored(
            str(found["id"]),
            str(found["name"]),
            str(found.get("eTag", "")),
            int(found["size"]),
            _hex(hashes.get("quickXorHash")),
            _seconds(times.get("createdDateTime")),
            library and str(found["name"]).lower().endswith(OFFICE),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DeliveryError(ErrorKind.UNKNOWN_OUTCOME, "Graph's answer does not name the file") from None


def _hex(encoded: Any) -> str | None:
    if not isinstance(encoded, str):
        return None
    try:
        return base64.b64decode(encoded).hex()
    except binascii.Error:
        return None


def _seconds(text: Any) -> int | None:
    try:
        return int(datetime.fromisoformat(str(text)).timestamp()) if text else None
    except ValueError:
        return None


def stamp(seconds: float) -> str:
    """A time as Graph writes it, in whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Drive:
    """What is asked about items."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def look(self, folder: str, name: str) -> Stored | str | None:
        """The file of that name, ``"folder"``, or None."""
        try:
            found = self.graph.ask("look at the file", "GET", item(folder, name))
        except DeliveryError as error:
            if missing(error):
                return None
            raise
        return stored(found) if "file" in found else "folder"

    def by_id(self, number: str) -> Stored:
        """A file by its id."""
        return stored(self.graph.ask("look at the file", "GET", item(number)))

    def empty(self, folder: str, name: str, behavior: str) -> Stored:
        """A file of no bytes, which an upload session cannot make."""
        path = item(folder, name, "/content")
        return stored(self.graph.put("upload the file", path, {BEHAVIOR: behavior}, b""))

    def delete(self, number: str, etag: str = "") -> None:
        """Remove an item; one that is gone is fine, and so is one of another ``etag``, which stays."""
        headers = {"If-Match": etag} if etag else None
        try:
            self.graph.ask("delete the file", "DELETE", item(number), headers=headers)
        except DeliveryError as error:
            if not missing(error) and not (etag and error.kind is ErrorKind.CONFLICT):
                raise

    def describe(self) -> str:
        """What kind of drive it is."""
        found = self.graph.ask("look at the drive", "GET", "")
        return f"{found.get('driveType', 'drive')} ({found.get('id', '?')})"


class FolderIds:
    """Folders for :class:`conveyor.kit.folders.Folders`: names are unique, whatever their case."""

    def __init__(self, drive: Drive) -> None:
        self._drive = drive

    def find(self, parent: str, name: str) -> str | None:
        """The folder of this name."""
        try:
            found = self._drive.graph.ask("look at the folder", "GET", item(parent, name))
        except DeliveryError as error:
            if missing(error):
                return None
            raise
        return str(found["id"]) if "folder" in found else None

    def create(self, parent: str, name: str, planned: str | None) -> str:
        """Make it; ``fail``, since ``replace`` on a folder is refused on business."""
        body = {"name": name, "folder": {}, BEHAVIOR: "fail"}
        try:
            made = self._drive.graph.ask(
                "create the folder", "POST", item(parent, ending="/children"), json=body
            )
        except DeliveryError as error:
            if error.code != "nameAlreadyExists":
                raise
            if (found := self.find(parent, name)) is None:
                text = f"a file is called {name} where the path needs a folder"
                raise DeliveryError(ErrorKind.NAME, text) from None
            return found
        return str(made["id"])

    def is_still(self, folder: str, parent: str, name: str) -> bool:
        """Whether it lies there under this name."""
        return self.find(parent, name) == folder

    def plan(self) -> str | None:
        """Graph gives ids itself."""
        return None


def missing(error: DeliveryError) -> bool:
    """What was asked for is gone."""
    return error.code in ("itemNotFound", "ResourceNotFound", "404")
