"""Payloads that stay where the submitter has them, on a path that every worker sees."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection
from pathlib import Path

from conveyor.errors import SubmissionError
from conveyor.ledger.records import PayloadRecord
from conveyor.payloads.digests import Digests, pump
from conveyor.payloads.reader import source_error


def fingerprint(status: os.stat_result) -> str:
    """``size:mtime_ns:inode``: what tells cheaply that a file is still the same."""
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"


def adopt(
    identifier: str,
    path: Path,
    digests: Collection[str],
    progress: Callable[[int], object] | None = None,
) -> PayloadRecord:
    """Describe a file without copying it.

    Raises:
        SubmissionError: It is no regular file, cannot be read, or changed meanwhile.
    """
    place = Path(os.path.abspath(path))
    hashes = Digests(digests)
    try:
        fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(fd, "rb", buffering=0) as file:
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode):
                raise SubmissionError(f"{place} is not a regular file", cure="submit it without in_place")
            size = pump(file, lambda chunk: None, hashes, size_hint=before.st_size, progress=progress)
            after = os.fstat(fd)
        current = os.stat(place)
    except OSError as error:
        raise SubmissionError(f"{place} cannot be read: {error.strerror}") from None
    if size != before.st_size or not fingerprint(before) == fingerprint(after) == fingerprint(current):
        raise SubmissionError(
            f"{place} changed while it was read", cure="submit it again once it is complete"
        )
    return PayloadRecord(
        identifier,
        str(place),
        in_place=True,
        size=size,
        digests=hashes.hex(),
        fingerprint=fingerprint(before),
    )


def same_bytes(fd: int, record: PayloadRecord) -> None:
    """Read the whole file again, since its time stamp or inode moved.

    Raises:
        DeliveryError: SOURCE, when the bytes are others than those submitted.
    """
    if os.fstat(fd).st_size != record.size:
        raise source_error(f"the payload {record.location} has another size than submitted", in_place=True)
    hashes = Digests()
    with os.fdopen(os.dup(fd), "rb", buffering=0) as file:
        file.seek(0)
        size = pump(file, lambda chunk: None, hashes, size_hint=record.size)
    if size != record.size or hashes.hex()["sha256"] != record.digests["sha256"]:
        raise source_error(f"the payload {record.location} changed since it was submitted", in_place=True)
