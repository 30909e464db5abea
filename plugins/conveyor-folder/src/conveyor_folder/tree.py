"""A folder and what is below it, reached level by level from an open folder: no symlink leads anybody out.

Each level is opened with ``O_NOFOLLOW`` relative to the one above it (``openat``, POSIX.1-2008), so that
nobody who may write there can turn a level into a symlink between our look and our use. The configured
folder itself may be a symlink: it is the operator's word.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from conveyor.contract import DeliveryError, ErrorKind

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
BELOW = FOLDER | os.O_NOFOLLOW
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""``O_NONBLOCK``: opening a FIFO that somebody put there must not wait for its writer."""
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def opened_root(path: Path, marker: str | None) -> Iterator[int]:
    """A descriptor of the configured folder.

    Args:
        path: The folder.
        marker: A name that must be in it.

    Raises:
        DeliveryError: CONFIG, when it is not there, is no folder, or lacks the marker.
    """
    try:
        root = os.open(path, FOLDER)
    except FileNotFoundError:
        raise DeliveryError(
            ErrorKind.CONFIG, f"there is no folder {path}", hint="Create or mount it."
        ) from None
    except NotADirectoryError:
        raise DeliveryError(ErrorKind.CONFIG, f"{path} is no folder") from None
    try:
        if marker is not None and not exists(root, marker):
            raise DeliveryError(
                ErrorKind.CONFIG,
                f"{path} has no file {marker}: is the share mounted?",
                hint=f"Mount it, or create {marker} in it.",
            )
        yield root
    finally:
        os.close(root)


@contextlib.contextmanager
def opened_folder(root: int, levels: Sequence[str], *, make: bool = False) -> Iterator[int]:
    """A descriptor of the folder at ``levels`` below ``root``.

    Args:
        root: Where to start.
        levels: Names, outermost first.
        make: Create what is missing, each new name synced.

    Raises:
        FileNotFoundError: A level is missing, and is not to be made.
        DeliveryError: NAME, when a level is a file or a symlink.
    """
    at = os.dup(root)
    try:
        for level in levels:
            if make:
                _make(at, level)
            try:
                below = os.open(level, BELOW, dir_fd=at)
            except OSError:
                seen = status(at, level)
                if seen is not None and not stat.S_ISDIR(seen.st_mode):
                    raise DeliveryError(
                        ErrorKind.NAME, f"{level!r} is in the way: a file or a symlink, which is not followed"
                    ) from None
                raise
            os.close(at)
            at = below
        yield at
    finally:
        os.close(at)


def _make(folder: int, name: str) -> None:
    """Create a folder, unless it is there."""
    if exists(folder, name):
        return
    with contextlib.suppress(FileExistsError):  # another worker was faster
        os.mkdir(name, dir_fd=folder)
    os.fsync(folder)


def status(folder: int, name: str) -> os.stat_result | None:
    """What has this name, a symlink for itself; None when nothing does."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def exists(folder: int, name: str) -> bool:
    """Something has this name, be it a symlink that leads nowhere."""
    return status(folder, name) is not None


def regular(folder: int, name: str) -> int | None:
    """A descriptor of the regular file of this name; None when there is none. Never follows a symlink."""
    try:
        file = os.open(name, FILE, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError:
        seen = status(folder, name)
        if seen is not None and not stat.S_ISREG(seen.st_mode):
            return None
        raise
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    return None


def remove(folder: int, name: str) -> None:
    """Remove a file; that it is gone already is success."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
