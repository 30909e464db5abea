"""Folders over SFTP."""

from __future__ import annotations

from conveyor_connectors.ftp.folders import file_in_the_way, make_folders, no_folder
from conveyor_connectors.ftp.sftp.client import Client, StatusError
from conveyor_connectors.ftp.sftp.errors import of_status
from conveyor_connectors.ftp.sftp.wire import Status

_MISSING = (Status.NO_SUCH_FILE, Status.NO_SUCH_PATH)


def make_parents(client: Client, base: str, parents: tuple[str, ...]) -> None:
    """Make the folders ``parents`` below ``base``, which must be there.

    Raises:
        DeliveryError: As :func:`conveyor_connectors.ftp.folders.make_folders` does.
    """
    make_folders(
        base, parents, lambda path, _: _make(client, path), lambda path: require_folder(client, path)
    )


def require_folder(client: Client, base: str) -> None:
    """Raise CONFIG unless the destination's own folder is there."""
    try:
        there = client.stat(base or ".")
    except StatusError as error:
        raise of_status(error, f"looking at the folder {base or '.'}") from None
    if there is None or (there.mode is not None and not there.is_folder):
        what = "does not exist on the server" if there is None else "is not a folder"
        raise no_folder(base, what, Status.NO_SUCH_FILE)


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
        raise file_in_the_way(path)
    raise of_status(refused, f"making the folder {path}")


def removed(client: Client, path: str) -> bool:
    """Remove ``path`` if it is there and may be removed; True when it was."""
    try:
        client.remove(path)
    except StatusError:
        return False
    return True
