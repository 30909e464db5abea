"""What a Dropbox holds, and the rules of writing to it. The caller holds the stand-in's lock."""

from __future__ import annotations

import datetime
import itertools
import secrets
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dropbox import files

from conveyor.hashing import new_hasher
from servers.standins.messages import Request

FORBIDDEN_NAMES = frozenset({"desktop.ini", "thumbs.db", ".ds_store", "icon\r", ".dropbox", ".dropbox.attr"})
"""https://help.dropbox.com/organize/file-names, as rclone's docs/content/dropbox.md lists them."""
LONGEST_NAME = 255
BLOCK = 4 * 1024 * 1024
"""Of a content hash (https://www.dropbox.com/developers/reference/content-hash), and what the offsets of
concurrent sessions are multiples of (files.stone, UploadSessionType.concurrent)."""


class Failed(Exception):
    """A write that a rule forbids."""

    def __init__(self, error: files.WriteError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass
class Content:
    """Bytes on disk."""

    path: Path
    size: int
    hash: str


@dataclass
class Entry:
    """A file or, without content, a folder."""

    display: str
    id: str
    content: Content | None = None
    rev: str = ""
    client_modified: datetime.datetime | None = None
    server_modified: datetime.datetime | None = None

    @property
    def name(self) -> str:
        """The last level."""
        return self.display.rpartition("/")[2]

    def metadata(self) -> files.FileMetadata | files.FolderMetadata:
        """As Dropbox shows it."""
        known = {
            "name": self.name,
            "id": self.id,
            "path_lower": key(self.display),
            "path_display": self.display,
        }
        if self.content is None:
            return files.FolderMetadata(**known)
        return files.FileMetadata(
            **known,
            client_modified=self.client_modified,
            server_modified=self.server_modified,
            rev=self.rev,
            size=self.content.size,
            is_downloadable=True,
            content_hash=self.content.hash,
        )


@dataclass
class Session:
    """An upload session (files.stone, upload_session/start): seven days."""

    id: str
    path: Path
    until: float
    concurrent: bool = False
    closed: bool = False
    size: int = 0
    ranges: dict[int, int] = field(default_factory=dict)
    """Of a concurrent session: size by offset."""


def key(path: str) -> str:
    """What is one path: upper and lower case do not count (files.stone, Metadata.path_lower)."""
    return unicodedata.normalize("NFC", path).lower()


def spooled(request: Request, folder: Path) -> Content:
    """The request's body on disk, with its content hash."""
    hasher, size = new_hasher("dropbox"), 0
    path = folder / secrets.token_hex(8)
    with path.open("wb") as out:
        for block in request.body.blocks():
            out.write(block)
            hasher.update(block)
            size += len(block)
    return Content(path, size, hasher.hexdigest())


def hash_of(path: Path) -> str:
    """The content hash of a file."""
    hasher = new_hasher("dropbox")
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            hasher.update(block)
    return hasher.hexdigest()


class Tree:
    """Files and folders by path."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._numbers = itertools.count(1)
        self.entries: dict[str, Entry] = {}
        self.quota: int | None = None

    def used(self) -> int:
        """Bytes."""
        return sum(entry.content.size for entry in self.entries.values() if entry.content)

    def check_path(self, path: str) -> None:
        """Raises:
        Failed: malformed_path or disallowed_name.
        """
        names = path.split("/")
        if names[0] or len(names) < 2 or any(name in ("", ".", "..") for name in names[1:]):
            raise Failed(files.WriteError.malformed_path(None))
        for name in names[1:]:
            bad = any(char in "\\\x00\x7f" or ord(char) < 32 for char in name)
            if bad or name.endswith(" ") or len(name) > LONGEST_NAME or name.lower() in FORBIDDEN_NAMES:
                raise Failed(files.WriteError.disallowed_name)

    def parents(self, path: str) -> None:
        """Make the folders above, which Dropbox does by itself.

        Raises:
            Failed: conflict/file_ancestor.
        """
        names = path.split("/")[1:-1]
        for depth in range(1, len(names) + 1):
            above = "/" + "/".join(names[:depth])
            found = self.entries.get(key(above))
            if found is None:
                self.entries[key(above)] = Entry(above, self._id())
            elif found.content is not None:
                raise Failed(files.WriteError.conflict(files.WriteConflictError.file_ancestor))

    def commit(self, info: files.CommitInfo, content: Content) -> Entry:
        """Put content under a path by its write mode (files.stone, WriteMode).

        Raises:
            Failed: A rule forbids it; the content is left alone.
        """
        path = info.path
        self.check_path(path)
        self.parents(path)
        there = self.entries.get(key(path))
        if there is not None and there.content is None:
            raise Failed(files.WriteError.conflict(files.WriteConflictError.folder))
        if there is not None and there.content is not None:
            same = there.content.hash == content.hash
            mode = info.mode
            if mode.is_add() and same and not info.strict_conflict:
                content.path.unlink()
                return there
            held = mode.is_overwrite() or (mode.is_update() and mode.get_update() == there.rev)
            if not held and not info.autorename:
                raise Failed(files.WriteError.conflict(files.WriteConflictError.file))
            if not held:
                path, there = self._free(path), None
        elif info.mode.is_update() and not info.autorename:
            raise Failed(files.WriteError.conflict(files.WriteConflictError.file))
        before = there.content.size if there is not None and there.content else 0
        if self.quota is not None and self.used() - before + content.size > self.quota:
            raise Failed(files.WriteError.insufficient_space)
        return self._write(path, there, info, content)

    def _write(self, path: str, there: Entry | None, info: files.CommitInfo, content: Content) -> Entry:
        entry = there or Entry(path, self._id())
        if entry.content is not None:
            entry.content.path.unlink(missing_ok=True)
        now = datetime.datetime.fromtimestamp(int(self._now()), datetime.UTC).replace(tzinfo=None)
        entry.content, entry.rev = content, f"{next(self._numbers):016x}"
        entry.client_modified, entry.server_modified = info.client_modified or now, now
        self.entries[key(path)] = entry
        return entry

    def _free(self, path: str) -> str:
        """``photo (1).jpg`` and so on."""
        head, _, name = path.rpartition("/")
        stem, dot, ext = name.rpartition(".")
        stem, dot, ext = (stem, dot, ext) if stem else (name, "", "")
        return next(
            taken
            for number in itertools.count(1)
            if key(taken := f"{head}/{stem} ({number}){dot}{ext}") not in self.entries
        )

    def folder(self, path: str, *, autorename: bool) -> Entry:
        """A new folder.

        Raises:
            Failed: conflict/folder or conflict/file.
        """
        self.check_path(path)
        self.parents(path)
        there = self.entries.get(key(path))
        if there is not None and not autorename:
            kind = files.WriteConflictError.folder if there.content is None else files.WriteConflictError.file
            raise Failed(files.WriteError.conflict(kind))
        place = path if there is None else self._free(path)
        made = self.entries[key(place)] = Entry(place, self._id())
        return made

    def find(self, path: str) -> Entry | None:
        """By path, ``id:…`` or ``rev:…``."""
        if path.startswith("id:"):
            return next((entry for entry in self.entries.values() if entry.id == path), None)
        if path.startswith("rev:"):
            return next((entry for entry in self.entries.values() if entry.rev == path[4:]), None)
        return self.entries.get(key(path))

    def below(self, path: str, *, recursive: bool = False) -> list[Entry]:
        """What is in a folder; '' is the root."""
        start = key(path) + "/"
        found = [entry for place, entry in sorted(self.entries.items()) if place.startswith(start)]
        return found if recursive else [e for e in found if "/" not in key(e.display)[len(start) :]]

    def delete(self, entry: Entry) -> None:
        """With all that is below."""
        for one in [entry, *self.below(entry.display, recursive=True)]:
            self.entries.pop(key(one.display), None)
            if one.content is not None:
                one.content.path.unlink(missing_ok=True)

    def wipe(self) -> None:
        """Nothing left."""
        for entry in self.entries.values():
            if entry.content is not None:
                entry.content.path.unlink(missing_ok=True)
        self.entries.clear()

    def _id(self) -> str:
        return f"id:{next(self._numbers):022d}"
