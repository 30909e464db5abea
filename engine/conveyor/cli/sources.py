"""What ``conveyor send`` is given, as a list of files: all of it is looked at before anything is sent."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from conveyor.errors import SubmissionError, UsageError


@dataclass(frozen=True, slots=True)
class Found:
    """One file or URL. ``size`` in bytes; None for a URL."""

    source: str
    size: int | None


def resolve(given: Sequence[str], *, recursive: bool, skipped: Callable[[str], object]) -> list[Found]:
    """Files, folders and URLs as files and URLs, in order; a folder's files by name.

    Args:
        given: As typed.
        recursive: Whether folders are meant.
        skipped: Told the path of each thing in a folder that is no regular file.

    Raises:
        UsageError: A folder, and not ``recursive``; a folder without any file.
        SubmissionError: A file is missing or may not be read.
    """
    from conveyor.payloads.sources import is_url

    found: list[Found] = []
    for name in given:
        if is_url(name):
            found.append(Found(name, None))
        elif os.path.isdir(name):
            if not recursive:
                cure = f"conveyor send --recursive {name}  sends the files in it"
                raise UsageError(f"{name} is a folder", cure=cure)
            inside = list(_walk(Path(name), skipped))
            if not inside:
                raise UsageError(f"there is no file in the folder {name}")
            found.extend(inside)
        else:
            found.append(_file(Path(name)))
    return found


def _file(path: Path) -> Found:
    try:
        size = path.stat().st_size
    except OSError as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise SubmissionError(f"{path}: {reason}", cure="check the path; nothing was sent") from None
    if not os.access(path, os.R_OK):
        raise SubmissionError(
            f"{path} may not be read", cure="give this user permission to read it; nothing was sent"
        )
    return Found(str(path), size)


def _walk(folder: Path, skipped: Callable[[str], object]) -> Iterator[Found]:
    """Regular files, links to files followed; links to folders are not, since they may lead in circles."""

    def refuse(error: OSError) -> None:
        raise SubmissionError(f"{error.filename}: {error.strerror}", cure="nothing was sent")

    for base, folders, names in os.walk(folder, onerror=refuse):
        folders.sort()
        for name in sorted(names):
            path = Path(base, name)
            try:
                regular = stat.S_ISREG(path.stat().st_mode)
            except OSError:
                regular = False
            if regular:
                yield _file(path)
            else:
                skipped(str(path))
        for name in folders:
            if Path(base, name).is_symlink():
                skipped(str(Path(base, name)))
