"""Files and folders: names, conflicts, trash, quota, and how they are shown."""

from __future__ import annotations

import datetime
import itertools
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from servers.standins.box.errors import invalid, refused

Shape = Literal["object", "list"]

ROOT = "0"
UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")


@dataclass
class Item:
    """A folder, or, with ``content``, a file."""

    id: str
    name: str
    parent: Item | None
    created: float
    changed: float
    content: Path | None = None
    size: int = 0
    sha1: str = ""
    version: str = ""
    version_number: int = 1
    older: int = 0
    """Bytes of earlier versions; they count for the quota."""
    content_created: float = 0.0
    content_changed: float = 0.0
    etag: int = 0
    trashed: float | None = None
    inside: dict[str, Item] = field(default_factory=dict, repr=False)
    """By :func:`key`; without what is in the trash."""

    @property
    def kind(self) -> str:
        """``file`` or ``folder``."""
        return "folder" if self.content is None else "file"

    def above(self) -> Iterator[Item]:
        """The folders it is in, the root first."""
        if self.parent is not None:
            yield from self.parent.above()
            yield self.parent

    def below(self) -> Iterator[Item]:
        """Everything in it that is not in the trash."""
        for item in self.inside.values():
            yield item
            yield from item.below()

    @property
    def gone(self) -> bool:
        """In the trash, alone or with a folder above."""
        return self.trashed is not None or any(folder.trashed is not None for folder in self.above())

    @property
    def path(self) -> str:
        """From the root, without a leading slash."""
        return "/".join([*(folder.name for folder in self.above() if folder.parent), self.name])


def key(name: str) -> str:
    """What has to be unique in a folder, "case-insensitive" (description, POST /files/content)."""
    return unicodedata.normalize("NFC", name).casefold()


def when(seconds: float) -> str:
    """A time as Box writes it: whole seconds, with an offset."""
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC).isoformat()


def parsed(name: str, text: str) -> float:
    """A time of a request; fractions of a second are dropped. RFC 3339, not before 1970
    (https://developer.box.com/guides/api-calls/types-and-formats/).

    Raises:
        Refused: 400 bad_request.
    """
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None or "T" not in text or found.timestamp() < 0:
        raise invalid(name, f"Invalid value '{text}'. Entity with property '{name}' is not a date")
    return float(int(found.timestamp()))


class Tree:
    """All items of an account. The caller holds the stand-in's lock."""

    refused_characters = "/\\"
    """The error page lists ``< > : | ? *`` as well; the service takes them (rclone's backend/box encodes
    slash, backslash, controls, and a space at the right end only)."""
    longest_name = 255

    def __init__(self, now: Callable[[], float], user: Callable[[], dict[str, Any]]) -> None:
        self._now, self._user = now, user
        self._numbers = itertools.count(1_000_000_001)
        self.items: dict[str, Item] = {}
        self.reserved: set[tuple[str, str]] = set()
        """Folder id and :func:`key` of the name of an upload that is running."""
        self.wipe()

    def wipe(self) -> None:
        """Nothing but the root; ids do not come again."""
        for item in self.items.values():
            if item.content is not None:
                item.content.unlink(missing_ok=True)
        self.root = Item(ROOT, "All Files", None, self._now(), self._now())
        self.items = {ROOT: self.root}
        self.reserved.clear()

    # --- finding -----------------------------------------------------------------------------------

    def find(self, kind: str, number: str, *, trash: bool = False) -> Item:
        """The item of a path parameter.

        Raises:
            Refused: 405 where the id has not the form of one, 404 not_found or trashed.
        """
        if not (number.isascii() and number.isdigit()):
            raise refused("method_not_allowed")
        item = self.items.get(number)
        if item is None or item.kind != kind:
            raise refused("not_found", context=_not_found(kind, number))
        if item.gone and not trash:
            raise refused("trashed")
        return item

    def parent(self, number: str) -> Item:
        """The folder that a body names.

        Raises:
            Refused: 404 not_found or trashed.
        """
        item = self.items.get(number)
        if item is None or item.kind != "folder":
            raise refused("not_found", context=_not_found("parent", number))
        if item.gone:
            raise refused("trashed")
        return item

    def used(self) -> int:
        """Bytes that count: the trash and older versions, too (common-errors, storage_limit_exceeded)."""
        return sum(item.size + item.older for item in self.items.values())

    # --- names -------------------------------------------------------------------------------------

    def check_name(self, name: str) -> None:
        """Raises:
        Refused: 400 item_name_too_long or item_name_invalid (common-errors).
        """
        if len(name) > self.longest_name:
            raise invalid("name", "Name is longer than 255 characters", "item_name_too_long")
        bad = name.strip() != name or name in ("", ".", "..") or set(name) & set(self.refused_characters)
        if bad or any(unicodedata.category(character) in UNPRINTABLE for character in name):
            raise invalid("name", f"Invalid value '{name}'", "item_name_invalid")

    def check_free(self, folder: Item, name: str, shape: Shape, itself: Item | None = None) -> None:
        """Raises:
        Refused: 409 item_name_in_use, with what has the name.
        """
        there = folder.inside.get(key(name))
        if there is not None and there is not itself:
            conflict = mini(there)
            found: Any = conflict if shape == "object" else [conflict]
            raise refused("item_name_in_use", context={"conflicts": found})

    def check_reserved(self, folder: Item, name: str) -> None:
        """Raises:
        Refused: 409 name_temporarily_reserved.
        """
        if (folder.id, key(name)) in self.reserved:
            raise refused("name_temporarily_reserved")

    # --- changing ----------------------------------------------------------------------------------

    def add(self, folder: Item, name: str, **content: Any) -> Item:
        """A new item, whose name has been checked."""
        now = self._now()
        times = {"content_created": now, "content_changed": now, **content}
        item = Item(str(next(self._numbers)), name, folder, now, now, **times)
        if item.content is not None:
            item.version = str(next(self._numbers))
        self.items[item.id] = folder.inside[key(name)] = item
        return item

    def renew(self, item: Item, content: Path, size: int, sha1: str, changed: float | None) -> None:
        """A new version of a file."""
        assert item.content is not None
        item.content.unlink(missing_ok=True)
        item.older += item.size
        item.content, item.size, item.sha1 = content, size, sha1
        item.version, item.version_number = str(next(self._numbers)), item.version_number + 1
        item.changed = self._now()
        item.content_changed = item.changed if changed is None else changed
        item.etag += 1

    def place(self, item: Item, folder: Item, name: str) -> None:
        """Move or rename to a place that has been checked."""
        assert item.parent is not None
        if item.trashed is None:
            del item.parent.inside[key(item.name)]
        item.parent, item.name, item.changed, item.trashed = folder, name, self._now(), None
        item.etag += 1
        folder.inside[key(name)] = item

    def trash(self, item: Item, *, for_good: bool) -> None:
        """Delete: what is below goes with it."""
        assert item.parent is not None
        del item.parent.inside[key(item.name)]
        item.trashed = self._now()
        item.etag += 1
        if not for_good:
            return
        for one in [item, *item.below()]:
            del self.items[one.id]
            if one.content is not None:
                one.content.unlink(missing_ok=True)

    # --- showing -----------------------------------------------------------------------------------

    def full(self, item: Item, fields: list[str] | None = None) -> dict[str, Any]:
        """An item as its own address shows it; with ``fields`` those, and what is always there."""
        user, folders = self._user(), [mini(folder) for folder in item.above()]
        root = item.parent is None
        shown = {
            **mini(item),
            "description": "",
            "size": item.size if item.content else sum(one.size for one in item.below()),
            "path_collection": {"total_count": len(folders), "entries": folders},
            "created_at": None if root else when(item.created),
            "modified_at": None if root else when(item.changed),
            "trashed_at": None if item.trashed is None else when(item.trashed),
            "purged_at": None,
            "content_created_at": None if root else when(item.content_created),
            "content_modified_at": None if root else when(item.content_changed),
            "created_by": user,
            "modified_by": user,
            "owned_by": user,
            "shared_link": None,
            "parent": None if item.parent is None else mini(item.parent),
            "item_status": "active" if item.trashed is None else "trashed",
        }
        if fields is None:
            return shown
        if item.content is not None:
            shown.update(version_number=str(item.version_number), extension=Path(item.name).suffix[1:])
        return {name: value for name, value in shown.items() if name in ("type", "id", "etag", *fields)}


def mini(item: Item) -> dict[str, Any]:
    """An item as it is shown in others."""
    etag = None if item.parent is None else str(item.etag)
    shown = {"type": item.kind, "id": item.id, "sequence_id": etag, "etag": etag, "name": item.name}
    if item.content is not None:
        version = {"type": "file_version", "id": item.version, "sha1": item.sha1}
        shown |= {"sha1": item.sha1, "file_version": version}  # type: ignore[dict-item]
    return shown


def _not_found(name: str, number: str) -> Mapping[str, Any]:
    message = f"Invalid value '{number}'. '{name}' with value '{number}' not found"
    return {"errors": [{"reason": "invalid_parameter", "name": name, "message": message}]}
