"""Payloads that stay where the submitter has them, on a path that every worker sees."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection
from io import FileIO
from pathlib import Path

from conveyor.errors import SubmissionError
from conveyor.ledger.records import PayloadRecord
from conveyor.payloads.digests import Digests, pump
from conveyor.payloads.reader import source_error
from conveyor.payloads.sources.media import readable
from conveyor.payloads.watched import Watched, changed, fingerprint


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
    label = readable(str(place))
    if label != str(place):
        raise SubmissionError(f"the path {label} is not valid UTF-8", cure="submit it without in_place")
    try:
        fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(fd, "rb", buffering=0) as file:
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode):
                raise SubmissionError(f"{label} is not a regular file", cure="submit it without in_place")
            size = _read(file, before.st_size, label, hashes, progress)
            after = os.fstat(fd)
        current = os.stat(place)
    except OSError as error:
        raise SubmissionError(f"{label} cannot be read: {error.strerror}") from None
    if not fingerprint(before) == fingerprint(after) == fingerprint(current):
        raise changed(label, "it was replaced or written to")
    return PayloadRecord(
        identifier,
        str(place),
        in_place=True,
        size=size,
        digests=hashes.hex(),
        fingerprint=fingerprint(before),
    )


def _read(
    file: FileIO, size: int, label: str, hashes: Digests, progress: Callable[[int], object] | None
) -> int:
    """Hash exactly ``size`` bytes; a file that grows as fast as it is read would never end."""
    stream = Watched(file.readinto, size, lambda: None, label)
    return pump(stream, lambda chunk: None, hashes, size_hint=size, progress=progress)


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
        _read(file, record.size, record.location, hashes, None)
    if hashes.hex()["sha256"] != record.digests["sha256"]:
        raise source_error(f"the payload {record.location} changed since it was submitted", in_place=True)
