"""Files, bytes and streams as sources."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import BinaryIO

from conveyor.errors import SubmissionError, UsageError
from conveyor.payloads.problems import FORBIDDEN, GONE
from conveyor.payloads.sources.media import DEFAULT_TYPE, base_name, guess, readable
from conveyor.payloads.sources.source import Source, nothing
from conveyor.payloads.watched import Watched, changed, fingerprint


def open_file(path: Path) -> Source:
    """Open a local file.

    Raises:
        UsageError: It is a folder.
        SubmissionError: It is missing, unreadable, or no regular file (a pipe would never end).
    """
    label = readable(str(path))
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _unreadable(error, label) from None
    try:
        before = os.fstat(fd)
        _require_regular(before, label)
        file = os.fdopen(fd, "rb", buffering=0)
    except BaseException:
        os.close(fd)
        raise

    def recheck() -> None:
        if file.closed:
            return _compare(before, path, label)
        if fingerprint(os.fstat(file.fileno())) != fingerprint(before):
            raise changed(label, "its size or time stamp moved")
        return _compare(before, path, label)

    name = readable(path.name)
    stream = Watched(file.readinto, before.st_size, recheck, label)
    return Source(name, guess(name), before.st_size, stream, recheck, file.close, label)


def open_bytes(data: bytes) -> Source:
    """Bytes in memory."""
    stream = Watched(io.BytesIO(data).readinto, len(data), nothing, "the bytes")
    return Source(None, DEFAULT_TYPE, len(data), stream, nothing, nothing, "the bytes")


def open_stream(stream: BinaryIO) -> Source:
    """A binary stream, read from where it stands; the caller closes it.

    Raises:
        SubmissionError: It gives text.
    """
    if isinstance(stream, io.TextIOBase):
        raise SubmissionError("the stream gives text, not bytes", cure="open the file in binary mode: 'rb'")
    given = getattr(stream, "name", None)
    name = base_name(readable(given)) if isinstance(given, str) else None
    size = _rest(stream)
    fill = getattr(stream, "readinto", None)
    watched = Watched(fill or _Filler(stream), size, nothing, "the stream")
    return Source(name, guess(name or ""), size, watched, nothing, nothing, "the stream")


class _Filler:
    """``readinto`` for streams that only have ``read``."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def __call__(self, buffer: memoryview) -> int | None:
        data = self._stream.read(len(buffer))
        if data is None:
            return None
        if not isinstance(data, bytes | bytearray | memoryview):
            kind = type(data).__name__
            raise SubmissionError(
                f"the stream gives {kind}, not bytes", cure="open the file in binary mode: 'rb'"
            )
        buffer[: len(data)] = data
        return len(data)


def _rest(stream: BinaryIO) -> int | None:
    """Bytes from here to the end; None where the stream cannot tell."""
    try:
        if not stream.seekable():
            return None
        here = stream.tell()
        end = stream.seek(0, os.SEEK_END)
        stream.seek(here)
    except (OSError, ValueError, AttributeError):
        return None
    return max(0, end - here)


def _require_regular(status: os.stat_result, label: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise UsageError(f"{label} is a folder", cure="send --recursive sends the files in it")
    if not stat.S_ISREG(status.st_mode):
        raise SubmissionError(f"{label} is not a regular file", cure="submit what it gives as a stream")


def _compare(before: os.stat_result, path: Path, label: str) -> None:
    try:
        now = os.stat(path)
    except OSError:
        raise changed(label, "it was removed") from None
    if fingerprint(now) != fingerprint(before):
        raise changed(label, "it was replaced or written to")


def _unreadable(error: OSError, label: str) -> SubmissionError:
    if error.errno in GONE:
        return SubmissionError(
            f"there is no file {label}", cure="check the path; is the file on this machine?"
        )
    if error.errno in FORBIDDEN:
        return SubmissionError(f"{label} may not be read", cure="give this user permission to read it")
    return SubmissionError(f"{label} cannot be read: {error.strerror}")
