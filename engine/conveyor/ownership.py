"""What root makes in another user's folder is that user's: ``sudo conveyor send`` shuts no worker out."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def inherit(descriptor: int, folder: Path) -> None:
    """Give a new file, or a new folder, to the owner of the folder it was made in; only root can, and does.

    A root without that right (a share that squashes root, a container without CAP_CHOWN) leaves it as it is.

    Args:
        descriptor: Of what was made.
        folder: What it was made in.

    Raises:
        OSError: The folder is gone.
    """
    if os.geteuid() != 0:
        return
    owner = os.stat(folder)
    if (owner.st_uid, owner.st_gid) != (0, 0):
        with suppress(OSError):
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def make_folder(path: Path, mode: int = 0o700) -> None:
    """Make a folder, and what is missing above it as the umask has it, each its upper folder's owner's.

    Raises:
        OSError: It cannot be made.
    """
    if path.is_dir():
        return
    make_folder(path.parent, 0o777)
    path.mkdir(mode=mode, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        inherit(descriptor, path.parent)
    finally:
        os.close(descriptor)
