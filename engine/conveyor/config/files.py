"""The files that a config was read from, and whether one of them has changed since."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Stamp(NamedTuple):
    """What tells one version of a file from the next. An inode changes when a file is replaced."""

    mtime_ns: int
    size: int
    inode: int


def stamp_of(path: Path) -> Stamp | None:
    """The file's present stamp, None when it cannot be looked at."""
    try:
        return _stamp(path.stat())
    except OSError:
        return None


class Files:
    """Reads files and remembers the stamp each had when it was read.

    Attributes:
        stamps: By path; None for a file that could not be read.
        patterns: Glob patterns of included files with the paths that each matched.
    """

    def __init__(self) -> None:
        self.stamps: dict[Path, Stamp | None] = {}
        self.patterns: dict[Path, tuple[Path, ...]] = {}

    def read(self, path: Path, *, limit: int = -1) -> bytes:
        """The content, at most ``limit`` bytes of it.

        Raises:
            OSError: As :func:`open` does; the path is remembered all the same.
        """
        self.stamps[path] = None
        with path.open("rb") as stream:
            self.stamps[path] = _stamp(os.fstat(stream.fileno()))
            return stream.read(limit)

    def matching(self, pattern: Path) -> tuple[Path, ...]:
        """The files that a pattern matches, sorted; remembered."""
        self.patterns[pattern] = found = matches(pattern)
        return found

    def now(self) -> dict[Path, object]:
        """The present stamps and matches; compare two answers to learn of a change."""
        return _facts(((path, stamp_of(path)) for path in self.stamps), self.patterns, fresh=True)

    def then(self) -> dict[Path, object]:
        """The stamps and matches at the time of reading."""
        return _facts(self.stamps.items(), self.patterns, fresh=False)


def matches(pattern: Path) -> tuple[Path, ...]:
    """The files that an absolute glob pattern matches, sorted."""
    import glob

    return tuple(
        Path(name) for name in sorted(glob.glob(str(pattern), recursive=True)) if Path(name).is_file()
    )


def _facts(
    stamps: Iterable[tuple[Path, Stamp | None]], patterns: dict[Path, tuple[Path, ...]], *, fresh: bool
) -> dict[Path, object]:
    facts: dict[Path, object] = dict(stamps)
    for pattern, matched in patterns.items():
        facts[pattern / "*"] = matches(pattern) if fresh else matched
    return facts


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_mtime_ns, status.st_size, status.st_ino)
