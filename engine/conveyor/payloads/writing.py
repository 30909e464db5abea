"""How bytes get into the store: written under a temporary name, made durable, renamed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from conveyor.ledger.records import PayloadRecord
from conveyor.ownership import inherit, make_folder
from conveyor.payloads.digests import Digests, Readable, pump
from conveyor.payloads.problems import store_errors
from conveyor.payloads.sealing import Sealer

_SYNC_THREADS: Final = 8
"""fsyncs that run together share a commit of the file system's journal."""


@dataclass(slots=True)
class Staged:
    """A payload whose bytes are written but not yet durable, under its temporary name."""

    record: PayloadRecord
    temporary: Path
    final: Path
    fd: int | None = field(repr=False)

    def close(self) -> None:
        """Release the file descriptor; errors surfaced with the fsync."""
        if self.fd is not None:
            fd, self.fd = self.fd, None
            with contextlib.suppress(OSError):
                os.close(fd)

    def discard(self) -> None:
        """Leave nothing, whatever became of it. A second call does nothing."""
        self.close()
        for path in (self.temporary, self.final):
            with contextlib.suppress(OSError):
                path.unlink()


def stage(
    root: Path,
    identifier: str,
    location: str,
    stream: Readable,
    *,
    digests: Collection[str],
    size_hint: int | None,
    progress: Callable[[int], object] | None,
    sealer: Sealer | None,
) -> Staged:
    """Stream a source into a temporary file of the store, through ``sealer`` where there is one.

    Raises:
        PayloadError: The store refuses (full, read-only …); nothing is left.
        SubmissionError: The source cannot be read; nothing is left.
    """
    hashes = Digests(digests)
    final = root / location
    temporary = final.with_name(f".{final.name}.part")
    with store_errors(root, "create a file"):
        fd = _create(temporary, root)
    record = PayloadRecord(identifier, location, in_place=False, size=0, digests={})
    staged = Staged(record, temporary, final, fd)
    try:
        size = pump(stream, _sink(fd, root, sealer), hashes, size_hint=size_hint, progress=progress)
        if sealer is not None:
            write_all(fd, memoryview(sealer.finish()), root)
        key = None if sealer is None else sealer.sealed_key
    except BaseException:
        staged.discard()
        raise
    staged.record = PayloadRecord(
        identifier, location, in_place=False, size=size, digests=hashes.hex(), sealed_key=key
    )
    return staged


def _sink(fd: int, root: Path, sealer: Sealer | None) -> Callable[[memoryview], None]:
    """What takes the submitted bytes."""
    if sealer is None:
        return lambda chunk: write_all(fd, chunk, root)
    return lambda chunk: write_all(fd, memoryview(sealer.update(chunk)), root)


def publish(root: Path, staged: Sequence[Staged]) -> None:
    """Make all durable under their final names: fsync files, rename, fsync folders.

    Raises:
        PayloadError: One could not be; then none is left.
    """
    try:
        with store_errors(root, "make a file durable"):
            _sync(staged)
            for item in staged:
                os.rename(item.temporary, item.final)
            for folder in {item.final.parent for item in staged}:
                sync_folder(folder)
    except BaseException:
        for item in staged:
            item.discard()
        raise


def _sync(staged: Sequence[Staged]) -> None:
    descriptors = [item.fd for item in staged if item.fd is not None]
    if len(descriptors) > 1:
        with ThreadPoolExecutor(min(_SYNC_THREADS, len(descriptors))) as pool:
            for _ in pool.map(os.fsync, descriptors):
                pass
    else:
        for fd in descriptors:
            os.fsync(fd)
    for item in staged:
        item.close()


def write_all(fd: int, chunk: memoryview, root: Path) -> None:
    """Write everything; a full disk may take a part of a chunk first."""
    with store_errors(root, "write"):
        while chunk:
            chunk = chunk[os.write(fd, chunk) :]


def _create(path: Path, root: Path) -> int:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileNotFoundError:  # a new shard, or one that the sweep has just removed
        make_folder(path.parent)
        sync_folder(root)
        descriptor = os.open(path, flags, 0o600)
    inherit(descriptor, path.parent)
    return descriptor


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
