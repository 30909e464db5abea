"""A private folder under a temporary name, where something is put together before it gets its place.

One process at a time has it, by a lock that dies with it; what a dead one left there is cleared by the next.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conveyor.errors import BackupError, ConveyorError
from conveyor.payloads.problems import FORBIDDEN, FULL
from conveyor.payloads.writing import sync_folder


@contextmanager
def workplace(path: Path) -> Iterator[Path]:
    """Have an empty folder of mode 0700 for the length of the block; gone afterwards, unless it was renamed.

    Args:
        path: Its temporary name; the folder around it exists.

    Raises:
        BackupError: Another process is at work there, or it cannot be written; also for what the operating
            system refuses within the block.
    """
    with refusals(path.parent):
        descriptor = _own(path)
        try:
            _clear(path)
            yield path
        finally:
            if _is_still(path, descriptor):
                shutil.rmtree(path, ignore_errors=True)
            os.close(descriptor)


@contextmanager
def refusals(folder: Path) -> Iterator[None]:
    """Say what the operating system refuses as one sentence with its cure."""
    try:
        yield
    except OSError as error:
        raise _refused(error, folder) from None
    except ConveyorError as error:
        if _was_full(error):
            raise _refused(OSError(errno.ENOSPC, "no space"), folder) from None
        raise


def publish(path: Path, final: Path) -> None:
    """Give a workplace its name: all at once, durable when this returns. Nothing may be there yet."""
    sync_folder(path)
    os.rename(path, final)
    sync_folder(final.parent)


def _own(path: Path) -> int:
    """Make the folder, or take over a dead process's; returns the descriptor that holds the lock."""
    path.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise BackupError(f"{path} is somebody else's", cure="remove it")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _busy(path) from None
        if not _is_still(path, descriptor):  # it has just got its final name
            raise _busy(path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _busy(path: Path) -> BackupError:
    return BackupError(f"another process is at work in {path}", cure="let it end, then try again")


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _clear(path: Path) -> None:
    with os.scandir(path) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)


def _refused(error: OSError, folder: Path) -> BackupError:
    place = error.filename or folder
    if error.errno in FULL:
        return BackupError(
            f"the disk of {folder} is full; nothing was kept", cure="free some space, or name another folder"
        )
    if error.errno == errno.ENOENT and not folder.is_dir():
        return BackupError(f"the folder {folder} does not exist", cure=f"mkdir -p {folder}")
    cure = "give this user access to it" if error.errno in FORBIDDEN else "check the disk that holds it"
    return BackupError(f"{place}: {error.strerror or type(error).__name__}", cure=cure)


def _was_full(error: BaseException) -> bool:
    cause = error.__cause__ or error.__context__
    if cause is None:
        return False
    code: int = getattr(cause, "sqlite_errorcode", 0) or 0
    return (isinstance(cause, sqlite3.Error) and code & 0xFF == sqlite3.SQLITE_FULL) or _was_full(cause)
