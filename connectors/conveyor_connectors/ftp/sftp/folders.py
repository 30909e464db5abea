"""Folders on the server: making them, and sweeping old temporary files out of them."""

from __future__ import annotations

from conveyor.contract import DeliveryError, ErrorKind
from conveyor_connectors.ftp.sftp import names
from conveyor_connectors.ftp.sftp.client import Client, StatusError
from conveyor_connectors.ftp.sftp.errors import of_status
from conveyor_connectors.ftp.sftp.wire import Status

SWEEP_AGE = 24 * 3600.0
"""Seconds after which a temporary file belongs to nobody; an upload that still runs keeps its file young."""

SWEEP_MOST = 2_000
"""Entries looked at: a folder may hold millions."""

_MISSING = (Status.NO_SUCH_FILE, Status.NO_SUCH_PATH)


def make_folders(client: Client, base: str, parents: tuple[str, ...]) -> None:
    """Make the folders ``parents`` below ``base``, which must be there.

    Tries the innermost first, and goes up only as far as needed: mostly one request. Another worker doing the
    same at the same time is no problem: what counts is that the folder is there afterwards.

    Raises:
        DeliveryError: CONFIG, ``base`` is missing or nothing may be made there; NAME, a file is in the way.
    """
    missing: list[str] = []
    for depth in range(len(parents), 0, -1):
        path = names.join(base, "/".join(parents[:depth]))
        if _make(client, path):
            break
        missing.append(path)
    else:
        require_folder(client, base)
    for path in reversed(missing):
        if not _make(client, path):
            raise DeliveryError(ErrorKind.TRANSIENT, f"the folder {path} vanished while it was being made")


def require_folder(client: Client, base: str) -> None:
    """Raise CONFIG unless the destination's own folder is there."""
    try:
        there = client.stat(base or ".")
    except StatusError as error:
        raise of_status(error, f"looking at the folder {base or '.'}") from None
    if there is None or (there.mode is not None and not there.is_folder):
        what = "does not exist on the server" if there is None else "is not a folder"
        raise DeliveryError(
            ErrorKind.CONFIG,
            f"remote_path {base or '.'} {what}",
            hint="make the folder there, or correct remote_path (it is never made by itself: a typing "
            "mistake would go unnoticed)",
            code=Status.NO_SUCH_FILE,
        )


def _make(client: Client, path: str) -> bool:
    """True when ``path`` is a folder now, False when its parent is missing."""
    try:
        client.mkdir(path)
    except StatusError as error:
        refused = error
    else:
        return True
    there = client.stat(path) if refused.code not in _MISSING else None
    if there is None and refused.code in _MISSING:
        return False
    if there is not None and (there.is_folder or there.mode is None):
        return True
    if there is not None:
        raise DeliveryError(ErrorKind.NAME, f"a file stands where the folder {path} is needed")
    raise of_status(refused, f"making the folder {path}")


def sweep(client: Client, folder: str, now: float) -> int:
    """Remove our own temporary files that are older than a day from ``folder``; returns how many.

    Nothing here is worth failing a delivery for: refused requests are ignored.
    """
    old: list[str] = []
    try:
        for name, attributes in client.listing(folder or ".", most=SWEEP_MOST):
            aged = attributes.mtime is not None and now - attributes.mtime > SWEEP_AGE
            if aged and names.is_ours(name):
                old.append(names.join(folder, name))
    except StatusError:
        return 0
    return sum(removed(client, path) for path in old)


def removed(client: Client, path: str) -> bool:
    """Remove ``path`` if it is there and may be removed; True when it was."""
    try:
        client.remove(path)
    except StatusError:
        return False
    return True
