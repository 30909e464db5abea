"""Folders on a file server: making them, and sweeping old temporary files out of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from conveyor.contract import DeliveryError, ErrorKind
from conveyor_connectors.ftp import names

SWEEP_AGE = 24 * 3600.0
"""Seconds after which a temporary file belongs to nobody; an upload that still runs keeps its file young."""

SWEEP_MOST = 2_000
"""Entries looked at: a folder may hold millions."""


def make_folders(
    base: str, parents: tuple[str, ...], make: Callable[[str, bool], bool], require: Callable[[str], None]
) -> None:
    """Make the folders ``parents`` below ``base``, which must be there.

    Tries the innermost first, and goes up only as far as needed: mostly one request. Another worker doing the
    same at the same time is no problem: what counts is that the folder is there afterwards.

    Args:
        base: The destination's own folder.
        parents: Levels below it.
        make: Makes one folder; told whether its parent is there. True when the folder is there now, False
            when its parent is missing.
        require: Raises unless that folder is there.

    Raises:
        DeliveryError: CONFIG, ``base`` is missing or nothing may be made there; NAME, a file is in the way.
    """
    missing: list[str] = []
    for depth in range(len(parents), 0, -1):
        path = names.join(base, "/".join(parents[:depth]))
        if make(path, False):
            break
        missing.append(path)
    else:
        require(base)
    for path in reversed(missing):
        if not make(path, True):
            raise DeliveryError(ErrorKind.TRANSIENT, f"the folder {path} vanished while it was being made")


def no_folder(base: str, what: str, code: int) -> DeliveryError:
    """The error for a destination's own folder that is not there."""
    return DeliveryError(
        ErrorKind.CONFIG,
        f"remote_path {base or '.'} {what}",
        hint="make the folder there, or correct remote_path (it is never made by itself: a typing "
        "mistake would go unnoticed)",
        code=code,
    )


def file_in_the_way(path: str) -> DeliveryError:
    """The error for a file that stands where a folder is needed."""
    return DeliveryError(ErrorKind.NAME, f"a file stands where the folder {path} is needed")


def outdated(listing: Iterable[tuple[str, float | None]], now: float) -> list[str]:
    """The names among ``listing`` (name, time of change) that are ours and that nobody needs any more."""
    return [
        name
        for name, changed in listing
        if changed is not None and now - changed > SWEEP_AGE and names.is_ours(name)
    ]
