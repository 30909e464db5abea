"""Payloads as files in a backup, and back: a second name for the same bytes where that can be, else a copy.

A payload is never written to once it has its name, so two names for it are as good as two copies against
whatever Conveyor does; against a damaged disk they are one.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from conveyor.ownership import inherit, make_folder
from conveyor.payloads.writing import sync_folder

CHUNK: Final = 1 << 20
_CANNOT: Final = frozenset(
    {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS}
)
"""Other file system, no hard links there, not ours to link (fs.protected_hardlinks), too many names."""

Progress = Callable[[int], object]


def link(source: Path, target: Path) -> bool:
    """Give a file of this user's alone a second name; False where that cannot be.

    Raises:
        OSError: ``source`` is gone, ``target`` exists, the disk is full.
    """
    status = os.lstat(source)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        return False
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno in _CANNOT:
            return False
        raise
    return True


def copy(stream: io.RawIOBase, target: Path, progress: Progress) -> str:
    """Write a stream to a new file of mode 0600, durable when this returns; its SHA-256 in hex.

    Raises:
        OSError: The file cannot be written; also whatever the stream raises. Then there is no file.
    """
    descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            inherit(descriptor, target.parent)
            found = _pour(stream, lambda chunk: _write(file, chunk), progress)
            os.fsync(descriptor)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return found


def digest_of(stream: Any, progress: Progress) -> str:
    """The SHA-256 in hex of what is left of a stream."""
    return _pour(stream, lambda chunk: None, progress)


def digest(path: Path, progress: Progress = lambda count: None) -> str:
    """The SHA-256 of a file in hex. Raises OSError."""
    with path.open("rb", buffering=0) as file:
        return digest_of(file, progress)


def sync(file: Path) -> None:
    """Make a file durable. Raises OSError."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def bring(source: Path, target: Path, progress: Progress) -> None:
    """Have at ``target`` what lies at ``source``, whole or not at all, durable when this returns.

    What is right already stays, what is damaged is replaced.

    Args:
        source: A file that is known to be right.
        target: Its folder is made.
        progress: Told the number of bytes of each chunk.

    Raises:
        OSError: It cannot be written.
    """
    if target.exists() and (target.samefile(source) or digest(target) == digest(source)):
        progress(source.stat().st_size)
        return
    temporary = target.with_name(f".{target.name}.part")
    temporary.unlink(missing_ok=True)
    if not target.parent.is_dir():
        make_folder(target.parent)
        sync_folder(target.parent.parent)
    if link(source, temporary):
        progress(source.stat().st_size)
    else:
        with source.open("rb", buffering=0) as stream:
            copy(stream, temporary, progress)
    os.replace(temporary, target)
    sync_folder(target.parent)


def _pour(stream: Any, sink: Callable[[memoryview], object], progress: Progress) -> str:
    hasher, buffer = hashlib.sha256(), memoryview(bytearray(CHUNK))
    while count := stream.readinto(buffer):
        chunk = buffer[:count]
        hasher.update(chunk)
        sink(chunk)
        progress(count)
    return hasher.hexdigest()


def _write(file: Any, chunk: memoryview) -> None:
    """Write everything; a full disk may take a part of a chunk first."""
    while chunk:
        chunk = chunk[file.write(chunk) :]
