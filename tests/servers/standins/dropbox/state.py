"""What a Dropbox holds, and the rules of writing to it. The caller holds the stand-in's lock."""

from __future__ import annotations

import datetime
import itertools
import secrets
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dropbox import files
from dropbox.content_hash import DropboxContentHasher

FORBIDDEN_NAMES = frozenset({"desktop.ini", "thumbs.db", ".ds_store", "icon\r", ".dropbox", ".dropbox.attr"})
"""https://help.dropbox.com/organize/file-names, as rclone's docs/content/dropbox.md lists them."""
LONGEST_NAME = 255
"""rclone, backend/dropbox, maxFileNameLength."""
BLOCK = 4 * 1024 * 1024
"""Of a content hash (https://www.dropbox.com/developers/reference/content-hash), and what the offsets of
concurrent sessions are multiples of (files.stone, UploadSessionType.concurrent)."""


class Failed(Exception):
    """A write that a rule forbids."""

    def __init__(self, error: Any) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass
class Content:
    """Bytes on disk, with the vendor's own digest of them."""

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


def key(path: str) -> str:
    """What is one path: upper and lower case do not count (files.stone, Metadata.path_lower)."""
    return unicodedata.normalize("NFC", path).lower()


def kept(blocks: Iterator[bytes], folder: Path) -> Content:
    """Bytes on disk, from blocks."""
    hasher, size, path = DropboxContentHasher(), 0, folder / secrets.token_hex(8)
    with path.open("wb") as out:
        for block in blocks:
            out.write(block)
            hasher.update(block)
            size += len(block)
    return Content(path, size, hasher.hexdigest())


class Account:
    """What the trees of one account share: its clock, its numbers, its quota."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.numbers = itertools.count(1)
        self.quota: int | None = None
        self.used = 0


class Tree:
    """Files and folders of one namespace, by path.

    Attributes:
        changes: Keys of what was written or deleted, in order.
        deleted: Paths of what was deleted and is not there again, by key.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self.entries: dict[str, Entry] = {}
        self.changes: list[str] = []
        self.deleted: dict[str, str] = {}

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

    def _clear_way(self, path: str) -> None:
        """Nothing above is a file.

        Raises:
            Failed: conflict/file_ancestor.
        """
        for above in _above(path):
            found = self.entries.get(key(above))
            if found is not None and found.content is not None:
                raise Failed(files.WriteError.conflict(files.WriteConflictError.file_ancestor))

    def _under_parents(self, path: str) -> str:
        """Make the folders above, which Dropbox does by itself; the path with their spelling."""
        shown = ""
        for above in _above(path):
            found = self.entries.get(key(above))
            if found is None:
                found = self._enter(Entry(f"{shown}/{above.rpartition('/')[2]}", self._id()))
            shown = found.display
        return f"{shown}/{path.rpartition('/')[2]}"

    def commit(self, path: str, info: files.CommitInfo, content: Content) -> Entry:
        """Put content under a path by its write mode (files.stone, WriteMode).

        Content that stands there already is not written again, whatever the mode: its times stay, too, which
        is why rclone (backend/dropbox, SetModTime) deletes before it uploads to set a time.

        Raises:
            Failed: A rule forbids it; the content is left alone, and nothing has changed.
        """
        path = self.named(path)
        self.check_path(path)
        self._clear_way(path)
        there = self.entries.get(key(path))
        same = there is not None and there.content is not None and there.content.hash == content.hash
        if there is not None and same and not info.strict_conflict:
            content.path.unlink()
            return there
        if (conflict := _conflict(info, there)) is not None:
            if not info.autorename:
                raise Failed(files.WriteError.conflict(conflict))
            path, there = self._free(path, copy=info.mode.is_update()), None
        before = there.content.size if there is not None and there.content else 0
        quota = self._account.quota
        if quota is not None and self._account.used - before + content.size > quota:
            raise Failed(files.WriteError.insufficient_space)
        return self._write(path, there, info, content)

    def _write(self, path: str, there: Entry | None, info: files.CommitInfo, content: Content) -> Entry:
        entry = there or Entry(self._under_parents(path), self._id())
        self._discard(entry)
        now = datetime.datetime.fromtimestamp(int(self._account.now()), datetime.UTC).replace(tzinfo=None)
        entry.content, entry.rev = content, f"{next(self._account.numbers):016x}"
        entry.client_modified, entry.server_modified = info.client_modified or now, now
        self._account.used += content.size
        return self._enter(entry)

    def _enter(self, entry: Entry) -> Entry:
        place = key(entry.display)
        self.entries[place] = entry
        self.deleted.pop(place, None)
        self.changes.append(place)
        return entry

    def _discard(self, entry: Entry) -> None:
        if entry.content is not None:
            entry.content.path.unlink(missing_ok=True)
            self._account.used -= entry.content.size

    def _free(self, path: str, *, copy: bool = False) -> str:
        """``photo (1).jpg`` and so on; of an update, ``photo (conflicted copy).jpg``."""
        head, _, name = path.rpartition("/")
        stem, dot, ext = name.rpartition(".")
        stem, dot, ext = (stem, dot, ext) if stem else (name, "", "")
        marks = (f"({number})" for number in itertools.count(1))
        if copy:
            numbered = (f"(conflicted copy {number})" for number in itertools.count(1))
            marks = itertools.chain(("(conflicted copy)",), numbered)  # type: ignore[assignment]
        return next(
            taken for mark in marks if key(taken := f"{head}/{stem} {mark}{dot}{ext}") not in self.entries
        )

    def folder(self, path: str, *, autorename: bool) -> Entry:
        """A new folder.

        Raises:
            Failed: conflict: a folder, a file or a file above.
        """
        self.check_path(path)
        self._clear_way(path)
        there = self.entries.get(key(path))
        if there is not None and not autorename:
            kind = files.WriteConflictError.folder if there.content is None else files.WriteConflictError.file
            raise Failed(files.WriteError.conflict(kind))
        place = path if there is None else self._free(path)
        return self._enter(Entry(self._under_parents(place), self._id()))

    def named(self, path: str) -> str:
        """A path that begins with an id (``id:…``, ``id:…/name``), without it.

        Raises:
            Failed: malformed_path, when nothing has the id.
        """
        if not path.startswith("id:"):
            return path
        number, slash, below = path.partition("/")
        found = next((entry for entry in self.entries.values() if entry.id == number), None)
        if found is None:
            raise Failed(files.WriteError.malformed_path(None))
        return found.display + slash + below

    def find(self, path: str) -> Entry | None:
        """By path, ``id:…`` or ``rev:…``."""
        if path.startswith("rev:"):
            return next((entry for entry in self.entries.values() if entry.rev == path[4:]), None)
        try:
            return self.entries.get(key(self.named(path)))
        except Failed:
            return None

    def below(self, path: str, *, recursive: bool = False) -> list[str]:
        """Keys of what is in a folder, in order; '' is the root."""
        start = key(path) + "/"
        return sorted(place for place in self.entries if within(place, start, recursive=recursive))

    def delete(self, entry: Entry) -> None:
        """With all that is below."""
        for place in [key(entry.display), *self.below(entry.display, recursive=True)]:
            gone = self.entries.pop(place)
            self._discard(gone)
            self.deleted[place] = gone.display
            self.changes.append(place)

    def wipe(self) -> None:
        """Nothing left."""
        for entry in self.entries.values():
            self._discard(entry)
        self.entries.clear()
        self.changes.clear()
        self.deleted.clear()

    def _id(self) -> str:
        return f"id:{next(self._account.numbers):022d}"


def within(place: str, start: str, *, recursive: bool) -> bool:
    """Whether a key stands in the folder whose key is ``start`` without its last slash."""
    return place.startswith(start) and (recursive or "/" not in place[len(start) :])


def _above(path: str) -> list[str]:
    names = path.split("/")[1:-1]
    return ["/" + "/".join(names[:depth]) for depth in range(1, len(names) + 1)]


def _conflict(info: files.CommitInfo, there: Entry | None) -> files.WriteConflictError | None:
    """What is in the way, by the write mode (files.stone, WriteMode and CommitInfo.strict_conflict)."""
    mode = info.mode
    if there is None:
        gone = mode.is_update() and info.strict_conflict
        return files.WriteConflictError.file if gone else None
    if there.content is None:
        return files.WriteConflictError.folder
    held = mode.is_overwrite() or (mode.is_update() and mode.get_update() == there.rev)
    return None if held else files.WriteConflictError.file
