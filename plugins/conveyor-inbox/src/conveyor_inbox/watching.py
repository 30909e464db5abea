"""Watches one folder. A file goes from the folder to ``.taken``, is submitted, and goes to ``done``.

What stands there if the process dies on a given line:

* before the file is taken: the file, in the folder; the next run takes it;
* after that: the file, alone in a folder of ``.taken``, where no sender replaces it. The next run submits it
  with the same key, and gets the first job if there is one; then it goes to ``done``.

A rename changes neither inode, size nor time stamp, so the key is the same in all three places. Two processes
at once (the lease of the first ran out while it was frozen) do no more than one: a file is taken into a
folder of a new name, so that neither overwrites what the other has taken.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from conveyor import ConveyorError, Item, LedgerError, PayloadError
from conveyor.hooks import SourceContext
from conveyor_inbox.settings import Inbox

TAKEN, DONE = ".taken", "done"
UNFINISHED = (".part", ".tmp", ".partial", ".filepart", ".crdownload", ".download")
"""How names end under which others write what they rename later. Names that begin with a dot count, too."""

FIRST_PAUSE, LAST_PAUSE = 5.0, 300.0
"""Seconds before a file that Conveyor refused is submitted again, doubling."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One file as it looked."""

    path: Path
    inode: tuple[int, int]
    version: tuple[int, int]
    """Time stamp of the last change in nanoseconds, and size."""

    @classmethod
    def at(cls, path: Path) -> Seen | None:
        """The regular file under this path; None for anything else. A symlink is not followed."""
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        return cls(path, (found.st_dev, found.st_ino), (found.st_mtime_ns, found.st_size))

    def key(self, inbox: str) -> str:
        """The idempotency key: the same wherever the file is by now. Devices are numbered anew by a mount."""
        facts = f"{inbox}\0{self.inode[1]}\0{self.version[0]}\0{self.version[1]}\0"
        return f"inbox-{hashlib.sha256(facts.encode() + os.fsencode(self.path.name)).hexdigest()}"


class Watcher:
    """Submits what appears in one folder.

    Args:
        inbox: The folder.
        clock: Seconds that never go back.
    """

    def __init__(self, inbox: Inbox, clock: Callable[[], float] = time.monotonic) -> None:
        self._inbox = inbox
        self._clock = clock
        self._since: dict[tuple[int, int], tuple[tuple[int, int], float]] = {}
        self._unfinished: dict[tuple[int, int], tuple[int, int]] = {}
        self._renamed: set[tuple[int, int]] = set()
        self._refused: dict[str, tuple[float, float]] = {}

    def run(self, context: SourceContext) -> None:
        """Look, take, submit, until the source must end.

        Raises:
            OSError: The folder cannot be used.
            LedgerError, PayloadError: Nothing can be submitted just now.
        """
        folder = self._inbox.folder
        try:
            for name in (TAKEN, DONE):
                with contextlib.suppress(FileExistsError):
                    (folder / name).mkdir()  # never the folder itself: a share that is away is not replaced
            while not context.wait(0):
                self.look(context)
                if context.wait(self._inbox.poll):
                    return
        except OSError as error:
            context.log.warning("an inbox cannot be used", folder=str(folder), error=error.strerror)
            raise

    def look(self, context: SourceContext) -> None:
        """Take what is complete, and submit what is taken."""
        now, before = self._clock(), self._since
        self._since = {}
        arrived, taken = list(self._arrived()), list(self._taken())
        for seen in [*arrived, *taken]:
            version, since = before.get(seen.inode, (None, now))
            self._since[seen.inode] = (seen.version, since if version == seen.version else now)
        for seen in arrived:
            if self._complete(seen, now):
                taken.extend(self._take(seen))
        keys = {seen.path: seen.key(self._inbox.name) for seen in taken}
        self._refused = {key: self._refused[key] for key in keys.values() if key in self._refused}
        for seen in taken:
            if context.wait(0):
                return
            until, _ = self._refused.get(keys[seen.path], (now, 0.0))
            if until <= now and self._complete(seen, now):
                self._submit(seen, keys[seen.path], context, now)

    def _arrived(self) -> Iterator[Seen]:
        """The files in the folder under finished names; how the others look is remembered.

        A file that looks as it did under an unfinished name was renamed: its inode alone does not tell, since
        file systems give the inode of a removed file to the next one.
        """
        before, self._unfinished, self._renamed = self._unfinished, {}, set()
        for path in sorted(self._inbox.folder.iterdir()):
            if (seen := Seen.at(path)) is None:
                continue
            if path.name.startswith(".") or path.name.lower().endswith(UNFINISHED):
                self._unfinished[seen.inode] = seen.version
                continue
            if before.get(seen.inode) == seen.version:
                self._renamed.add(seen.inode)
            yield seen

    def _taken(self) -> Iterator[Seen]:
        """The files that were taken; folders that a death left empty are removed."""
        for folder in sorted((self._inbox.folder / TAKEN).iterdir()):
            with contextlib.suppress(FileNotFoundError):  # another process is at it
                yield from filter(None, map(Seen.at, list(folder.iterdir())))
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _complete(self, seen: Seen, now: float) -> bool:
        """It has not changed for long enough, or got its name when it was finished."""
        version, since = self._since[seen.inode]
        settled = version == seen.version and now - since >= self._inbox.settle
        return settled or seen.inode in self._renamed

    def _take(self, seen: Seen) -> Iterator[Seen]:
        """Move it to where no sender writes; what was moved is what stood there at that moment."""
        place = self._inbox.folder / TAKEN / uuid.uuid4().hex
        place.mkdir()
        with contextlib.suppress(FileNotFoundError):  # taken back by its sender
            os.rename(seen.path, place / seen.path.name)
        now = Seen.at(place / seen.path.name)
        if now is not None and (now.inode, now.version) == (seen.inode, seen.version):
            yield now  # else it was replaced or written to meanwhile: the next look begins to wait anew

    def _submit(self, seen: Seen, key: str, context: SourceContext, now: float) -> None:
        item = Item(
            seen.path,
            to=self._inbox.to,
            filename=seen.path.name,
            tags=self._inbox.tags,
            source_name=f"inbox:{self._inbox.name}",
            key=key,
        )
        try:
            context.submit(item)
        except (LedgerError, PayloadError):
            raise
        except ConveyorError as error:
            pause = min(2 * self._refused.get(key, (0.0, FIRST_PAUSE / 2))[1], LAST_PAUSE)
            self._refused[key] = (now + pause, pause)
            context.log.warning("a file is not accepted", file=str(seen.path), error=error.message)
            return
        self._refused.pop(key, None)
        self._finish(seen, context)

    def _finish(self, seen: Seen, context: SourceContext) -> None:
        """Move a submitted file to ``done``; one that was written to meanwhile is submitted once more."""
        now = Seen.at(seen.path)
        if now is None:
            return
        if now.version != seen.version:
            context.log.warning("a file was written to after it was submitted", file=str(seen.path))
            return
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            os.rename(seen.path, self._free(seen))
        with contextlib.suppress(OSError):
            seen.path.parent.rmdir()

    def _free(self, seen: Seen) -> Path:
        """Its own name in ``done``; where that is taken, one that tells it from all other files."""
        place = self._inbox.folder / DONE / seen.path.name
        if not os.path.lexists(place):
            return place
        return place.with_name(f"{seen.version[0]}-{seen.inode[1]}{seen.path.suffix[:20]}")
