"""The drive: items by id, names without case, versions, conflicts, quota. No HTTP here but its refusals."""

from __future__ import annotations

import hashlib
import itertools
import mimetypes
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from servers.standins.onedrive.described import failed, stamp
from servers.standins.onedrive.names import QuickXor, check_name, check_path

OFFICE = (".docx", ".xlsx", ".pptx")


class Digests:
    """Size, quickXorHash and SHA-1 of what arrived."""

    def __init__(self) -> None:
        self.xor, self.sha1, self.size = QuickXor(), hashlib.sha1(), 0

    def copy(self) -> Digests:
        """One that goes on from here by itself."""
        other = Digests()
        other.xor, other.sha1, other.size = self.xor.copy(), self.sha1.copy(), self.size
        return other

    def update(self, data: bytes) -> None:
        """Add bytes."""
        self.xor.update(data)
        self.sha1.update(data)
        self.size += len(data)


@dataclass
class Content:
    """Bytes on disk."""

    path: Path
    digests: Digests


@dataclass
class Item:
    """A file or folder; a folder has no content."""

    id: str
    name: str
    parent: str | None
    made: float
    modified: float
    content: Content | None = None
    version: int = 1
    content_version: int = 1
    committed: float = 0.0
    info: dict[str, str] = field(default_factory=dict)
    description: str | None = None
    locked: bool = False

    @property
    def etag(self) -> str:
        return f'"{{{self.id}}},{self.version}"'

    @property
    def ctag(self) -> str:
        return f'"c:{{{self.id}}},{self.content_version}"'


class Drive:
    """All items; every method is atomic.

    Args:
        kind: ``personal``, ``business`` or ``documentLibrary``.
        now: The service's clock.
    """

    def __init__(self, kind: str, now: Callable[[], float]) -> None:
        self.kind, self.now = kind, now
        self.business = kind != "personal"
        self.id = "b!conveyor-drive" if self.business else "c0ffee00c0ffee00"
        self.quota: int | None = None
        self.creates_parents = False
        self.rewrites_office = False
        self.hash_delay = 0.0
        self.lock = threading.RLock()
        self._numbers = itertools.count(1)
        self.clear()

    def clear(self) -> None:
        """Only the root is left."""
        self.root = Item("root-0", "root", None, self.now(), self.now())
        self.items = {self.root.id: self.root}
        self.below: dict[str, dict[str, str]] = {self.root.id: {}}

    # --- finding ---------------------------------------------------------------------------------

    def by_id(self, item: str) -> Item:
        """Raises Refused 404 for an unknown id."""
        with self.lock:
            found = self.root if item == "root" else self.items.get(item)
            if found is None:
                raise failed(404, "itemNotFound", "The resource could not be found.")
            return found

    def child(self, parent: Item, name: str) -> Item | None:
        """Names differ by more than case."""
        with self.lock:
            found = self.below.get(parent.id, {}).get(name.casefold())
            return None if found is None else self.items[found]

    def children(self, parent: Item) -> list[Item]:
        """In the order of names."""
        with self.lock:
            return [self.items[found] for _, found in sorted(self.below.get(parent.id, {}).items())]

    def walk(self, start: Item, names: list[str]) -> Item:
        """The item at a relative path; 404 where there is none."""
        for name in names:
            found = self.child(start, name)
            if found is None:
                raise failed(404, "itemNotFound", "The resource could not be found.")
            start = found
        return start

    def names_of(self, item: Item) -> list[str]:
        """Names from the root down."""
        names: list[str] = []
        while item.parent is not None:
            names.insert(0, item.name)
            item = self.items[item.parent]
        return names

    def place(self, start: Item, names: list[str]) -> tuple[Item, str]:
        """Parent and name for a file to be written.

        Raises:
            Refused: 400 by the rules of names; 404 without its parents, unless they are created.
        """
        check_path(self.names_of(start) + names, business=self.business)
        with self.lock:
            for name in names[:-1]:
                found = self.child(start, name)
                if found is None and self.creates_parents:
                    found = self._add(start, name)
                if found is None:
                    raise failed(404, "itemNotFound", "The parent folder does not exist.")
                start = found
        if start.content is not None:
            raise failed(400, "invalidRequest", "The parent is not a folder.")
        return start, names[-1]

    def files(self) -> Iterator[tuple[str, Path]]:
        """Path and content of each file."""
        with self.lock:
            for item in list(self.items.values()):
                if item.content is not None:
                    yield "/".join(self.names_of(item)), item.content.path

    # --- changing --------------------------------------------------------------------------------

    def _add(self, parent: Item, name: str) -> Item:
        number = next(self._numbers)
        made = f"01CONVEYOR{number:08d}" if self.business else f"{self.id.upper()}!{number}"
        item = Item(made, name, parent.id, self.now(), self.now())
        self.items[item.id] = item
        self.below[parent.id][name.casefold()] = item.id
        self.below[item.id] = {}
        return item

    def free_name(self, parent: Item, name: str) -> str:
        """``a 1.jpg`` where ``a.jpg`` is taken: how ``rename`` chooses."""
        stem, dot, end = name.rpartition(".")
        for number in itertools.count(1):
            new = f"{stem} {number}.{end}" if dot and stem else f"{name} {number}"
            if self.child(parent, new) is None:
                return new
        raise AssertionError

    def folder(self, parent: Item, name: str, behavior: str) -> tuple[Item, bool]:
        """Make a folder; the second value is whether it is new."""
        with self.lock:
            check_path([*self.names_of(parent), name], business=self.business)
            found = self.child(parent, name)
            if found is None:
                return self._add(parent, name), True
            if behavior == "rename":
                return self._add(parent, self.free_name(parent, name)), True
            if behavior == "replace" and found.content is None and not self.business:
                return found, False
            raise taken()

    def room(self, size: int) -> None:
        """Refused 507 when so many more bytes do not fit."""
        if self.quota is not None and self.used + size > self.quota:
            raise failed(
                507, "quotaLimitReached", "The user has reached their quota limit.", "insufficientStorage"
            )

    @property
    def used(self) -> int:
        """Bytes in all files."""
        with self.lock:
            return sum(i.content.digests.size for i in self.items.values() if i.content)

    def conflict(self, parent: Item, name: str, behavior: str) -> None:
        """Refused 409 where ``fail`` meets a name that is taken, or a file would replace a folder."""
        found = self.child(parent, name)
        if found is not None and (behavior == "fail" or (found.content is None and behavior == "replace")):
            raise taken()

    def write(
        self, parent: Item, name: str, content: Content, behavior: str, info: dict[str, str] | None = None
    ) -> tuple[Item, bool]:
        """Bring a file in; the second value is whether the item is new."""
        with self.lock:
            check_name(name, top=parent is self.root, business=self.business)
            if parent.id not in self.items:
                raise failed(404, "itemNotFound", "The parent folder is gone.")
            self.conflict(parent, name, behavior)
            found = self.child(parent, name)
            if found is not None and behavior == "replace" and found.locked:
                raise locked()
            self.room(content.digests.size)
            if found is None or behavior == "rename":
                item = self._add(parent, name if found is None else self.free_name(parent, name))
            else:
                item = found
                item.version += 1
                item.content_version += 1
            if self.business and self.rewrites_office and name.lower().endswith(OFFICE):
                _rewrite(content)
            old, item.content = item.content, content
            if old is not None:
                old.path.unlink(missing_ok=True)
            item.modified = item.committed = self.now()
            item.info = dict(info or {})
            return item, item is not found

    def remove(self, item: Item) -> None:
        """With all below it."""
        with self.lock:
            if item.locked:
                raise locked()
            for child in self.children(item):
                self.remove(child)
            if item.parent is None:
                raise failed(403, "accessDenied", "The root cannot be deleted.")
            del self.below[item.parent][item.name.casefold()]
            del self.items[item.id], self.below[item.id]
            if item.content is not None:
                item.content.path.unlink(missing_ok=True)

    def move(self, item: Item, parent: Item, name: str, behavior: str) -> None:
        """Rename, move, or both."""
        with self.lock:
            if item.parent is None or item.locked:
                raise locked()
            check_path([*self.names_of(parent), name], business=self.business)
            found = self.child(parent, name)
            if found is not None and found is not item:
                if behavior == "fail":
                    raise taken()
                if behavior == "rename":
                    name = self.free_name(parent, name)
                else:
                    self.remove(found)
            del self.below[item.parent][item.name.casefold()]
            item.name, item.parent = name, parent.id
            self.below[parent.id][name.casefold()] = item.id

    # --- showing ---------------------------------------------------------------------------------

    def document(self, item: Item) -> dict[str, Any]:
        """A driveItem, without its download address."""
        with self.lock:
            shown: dict[str, Any] = {
                "id": item.id, "name": item.name, "eTag": item.etag,
                "createdDateTime": stamp(item.made), "lastModifiedDateTime": stamp(item.modified),
                "size": item.content.digests.size if item.content else 0,
                "webUrl": f"https://onedrive.example/{item.id}",
                "fileSystemInfo": {
                    "createdDateTime": stamp(item.made), "lastModifiedDateTime": stamp(item.modified),
                    **item.info,
                },
            }  # fmt: skip
            if item.description is not None:
                shown["description"] = item.description
            if item.parent is None:
                shown["root"] = {}
            else:
                above = "/".join(self.names_of(self.items[item.parent]))
                path = f"/drives/{self.id}/root:" + (f"/{above}" if above else "")
                shown["parentReference"] = {
                    "driveId": self.id, "driveType": self.kind, "id": item.parent, "path": path
                }  # fmt: skip
            if item.content is None:
                shown["folder"] = {"childCount": len(self.below[item.id])}
                return shown
            shown["cTag"] = item.ctag
            shown["file"] = {"mimeType": mimetypes.guess_type(item.name)[0] or "application/octet-stream"}
            if self.now() - item.committed >= self.hash_delay:
                hashes = {"quickXorHash": item.content.digests.xor.base64()}
                if not self.business:
                    hashes["sha1Hash"] = item.content.digests.sha1.hexdigest().upper()
                shown["file"]["hashes"] = hashes
            return shown


def _rewrite(content: Content) -> None:
    """SharePoint writes its own properties into Office files (rclone docs, onedrive: file sizes differ)."""
    added = b"<SharePoint/>"
    with content.path.open("ab") as file:
        file.write(added)
        os.fsync(file.fileno())
    content.digests.update(added)


def taken() -> Exception:
    """409."""
    return failed(409, "nameAlreadyExists", "An item with the same name already exists under the parent.")


def locked() -> Exception:
    """423."""
    return failed(423, "resourceLocked", "The resource you are attempting to access is locked.")
