"""Puts a file into a folder: a temporary file beside the target, synced, compared, published in one step.

Under ``overwrite`` it is published by rename(2), which replaces; else by link(2), which refuses a name that
is taken. The file's inode, saved before, tells afterwards whose work stands under a name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator

from conveyor.contract import (
    AttemptContext,
    CheckReport,
    CheckStep,
    ConflictPolicy,
    ConnectorEnv,
    DeliveryError,
    ErrorKind,
    Found,
    FoundKind,
    Parcel,
    Receipt,
    State,
    Target,
)
from conveyor.kit.bodies import BLOCK, read_some
from conveyor.kit.checking import canary, deleted, written
from conveyor.kit.naming import saved_candidates, sound_segments
from conveyor_folder import SPEC
from conveyor_folder.errors import NO_LINKS, classified, no_links
from conveyor_folder.options import FolderOptions
from conveyor_folder.tree import NEW, exists, opened_folder, opened_root, regular, remove, status

NAMES = SPEC.capabilities.names


class FolderConnector:
    """Implements :class:`conveyor.contract.Connector`; keeps nothing open between calls."""

    def __init__(self, options: FolderOptions, env: ConnectorEnv) -> None:
        self._options = options
        self._env = env

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        """Write, sync, compare, publish."""
        list(sound_segments(target, NAMES))
        with self._root() as root:
            if earlier := _earlier(root, parcel, target, context.state):
                return earlier
            _tidy(root, context.state)
            with opened_folder(root, target.parents, make=True) as folder:
                if receipt := _taken_already(folder, target):
                    return receipt
                temporary = f".{parcel.delivery_id}.{context.fence}.part"
                context.save(temporary=temporary, folder=list(target.parents))
                try:
                    with context.phase("transfer"):
                        inode = self._write(folder, temporary, parcel, context)
                    context.uploaded()
                    with context.phase("commit"):
                        context.save(inode=inode)
                        receipt = self._publish(folder, temporary, parcel, target, context)
                finally:
                    remove(folder, temporary)
                os.fsync(folder)  # the name is as durable as the bytes
                return receipt

    def find(self, parcel: Parcel, target: Target, context: AttemptContext) -> Found:
        """Ours is the file of the inode that was saved, under the name that was saved."""
        with self._root() as root:
            if earlier := _earlier(root, parcel, target, context.state):
                return Found(FoundKind.MINE, earlier)
            try:
                with opened_folder(root, target.parents) as folder:
                    if not exists(folder, target.name):
                        return Found(FoundKind.ABSENT)
                    size = _same(folder, target.name, parcel)
            except FileNotFoundError:
                return Found(FoundKind.ABSENT)
        if size is None:
            return Found(FoundKind.OTHER)
        return Found(FoundKind.SAME_BYTES, _receipt(target.path, size, target))

    def abandon(self, state: State, context: AttemptContext) -> None:
        """Remove the temporary file of a dead delivery. Folders stay: another delivery may be using them."""
        with self._root() as root:
            _tidy(root, state)

    def check(self, context: AttemptContext) -> CheckReport:
        """Write a canary as a delivery would be written, read it back, publish it, delete it."""
        parcel = canary(self._env.clock())
        name, temporary = f".conveyor-{parcel.filename}", f".conveyor-{parcel.filename}.part"
        with self._root() as root:
            try:
                self._write(root, temporary, parcel, context)
                if not _link(root, temporary, name):
                    raise DeliveryError(ErrorKind.TRANSIENT, f"somebody made a file {name}")
            finally:
                remove(root, temporary)
            gone = deleted(name, lambda: _delete(root, name))
        opened = CheckStep("open", True, str(self._options.path))
        links = CheckStep("refuse a taken name", True, "hard links")
        return CheckReport((opened, written(name, "sha256"), links, gone))

    def close(self) -> None:
        """Nothing is kept open."""

    @contextlib.contextmanager
    def _root(self) -> Iterator[int]:
        with classified(), opened_root(self._options.path, self._options.marker) as root:
            yield root

    def _write(self, folder: int, temporary: str, parcel: Parcel, context: AttemptContext) -> int:
        """Write and sync the temporary file; returns its inode.

        Raises:
            DeliveryError: SOURCE, when the payload is not what was submitted; INTEGRITY, when the folder
                returns other bytes.
        """
        digest, left = hashlib.sha256(), parcel.size
        file = os.open(temporary, NEW, 0o666, dir_fd=folder)
        try:
            with parcel.open() as source:
                while left:
                    block = read_some(source, min(left, BLOCK))
                    _write_all(file, block)
                    digest.update(block)
                    left -= len(block)
                    context.progress(len(block))
            os.fsync(file)
            inode = os.fstat(file).st_ino
            # What was just synced is clean: the read back asks the disk or the share, not the cache.
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)
        if digest.hexdigest() != parcel.digests["sha256"]:
            raise DeliveryError(ErrorKind.SOURCE, "the payload is not what was submitted")
        if self._options.read_back and _same(folder, temporary, parcel, context) is None:
            raise DeliveryError(ErrorKind.INTEGRITY, "the folder returns other bytes than were written")
        return inode

    def _publish(
        self, folder: int, temporary: str, parcel: Parcel, target: Target, context: AttemptContext
    ) -> Receipt:
        verified = "sha256" if self._options.read_back else "size"
        for path in saved_candidates(parcel, target, context, NAMES):
            name = path.rpartition("/")[2]
            if target.conflict is ConflictPolicy.OVERWRITE:
                context.before_commit()  # still ours? A worker that was frozen publishes nothing
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
                return _receipt(path, parcel.size, target, verified)
            context.before_commit()
            if _link(folder, temporary, name):
                return _receipt(path, parcel.size, target, verified)
            if receipt := _taken_already(folder, target):
                return receipt
        raise DeliveryError(ErrorKind.CONFLICT, "every name that rename tries is taken")


def _link(folder: int, temporary: str, name: str) -> bool:
    """Give the file its name; False when something has it."""
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno in NO_LINKS:
            raise no_links() from None
        raise
    return True


def _taken_already(folder: int, target: Target) -> Receipt | None:
    """What ``fail`` and ``skip`` say to a name that is taken; None when it is free, or another is."""
    if target.conflict not in (ConflictPolicy.FAIL, ConflictPolicy.SKIP) or not exists(folder, target.name):
        return None
    if target.conflict is ConflictPolicy.FAIL:
        raise DeliveryError(ErrorKind.CONFLICT, f"{target.path} is there already")
    return Receipt(reference=target.path, path=target.path, skipped=True, verified="none")


def _earlier(root: int, parcel: Parcel, target: Target, state: State) -> Receipt | None:
    """What an earlier attempt of this delivery published, although nobody heard of it."""
    path, inode = state.get("path"), state.get("inode")
    if not isinstance(path, str) or inode is None:
        return None
    name = path.rpartition("/")[2]
    try:
        with opened_folder(root, target.parents) as folder:
            seen = status(folder, name)
            if seen is None or seen.st_ino != inode:
                return None
            if (size := _same(folder, name, parcel)) is None:
                return None
            _tidy(root, state)
            os.fsync(folder)
    except FileNotFoundError:
        return None
    return _receipt(path, size, target, "sha256")


def _tidy(root: int, state: State) -> None:
    """Remove the temporary file that an earlier attempt noted."""
    temporary, levels = state.get("temporary"), state.get("folder")
    if not isinstance(temporary, str) or not isinstance(levels, list):
        return
    with contextlib.suppress(FileNotFoundError):
        with opened_folder(root, [str(level) for level in levels]) as folder:
            remove(folder, temporary)


def _delete(folder: int, name: str) -> None:
    with classified():
        remove(folder, name)


def _same(folder: int, name: str, parcel: Parcel, context: AttemptContext | None = None) -> int | None:
    """The size of a file that holds the parcel's bytes; None for any other."""
    file = regular(folder, name)
    if file is None:
        return None
    with os.fdopen(file, "rb", buffering=0) as opened:
        if os.fstat(file).st_size != parcel.size:
            return None
        digest = hashlib.sha256()
        while block := opened.read(BLOCK):
            digest.update(block)
            if context is not None:
                context.progress(0)  # reading back feeds the idle limit, too
    return parcel.size if digest.hexdigest() == parcel.digests["sha256"] else None


def _receipt(path: str, size: int, target: Target, verified: str = "sha256") -> Receipt:
    return Receipt(path, size, verified=verified, path=path, renamed=path != target.path)


def _write_all(file: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(file, view) :]
