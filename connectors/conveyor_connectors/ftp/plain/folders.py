"""Folders over FTP."""

from __future__ import annotations

from conveyor_connectors.ftp.folders import file_in_the_way, make_folders, no_folder
from conveyor_connectors.ftp.plain.client import Client
from conveyor_connectors.ftp.plain.control import Reply
from conveyor_connectors.ftp.plain.errors import of_reply


def make_parents(client: Client, base: str, parents: tuple[str, ...]) -> None:
    """Make the folders ``parents`` below ``base``, which must be there.

    Raises:
        DeliveryError: As :func:`conveyor_connectors.ftp.folders.make_folders` does.
    """
    make_folders(
        base,
        parents,
        lambda path, parent_is_there: _make(client, path, parent_is_there),
        lambda path: require_folder(client, path),
    )


def require_folder(client: Client, base: str) -> None:
    """Raise CONFIG unless the destination's own folder is there."""
    if base and not client.is_folder(base):
        raise no_folder(base, "does not exist on the server, or the login may not enter it", 550)


def _make(client: Client, path: str, parent_is_there: bool) -> bool:
    """True when ``path`` is a folder now, False when it cannot be made, for want of its parent or of a right.

    The answer 550 says "is there", "is forbidden" and "has no parent" in the same words.
    """
    try:
        client.mkdir(path)
    except Reply as error:
        if error.code < 500:
            raise of_reply(error, f"making the folder {path}") from None
        refused = error
    else:
        return True
    there = client.look(path)  # once: between two looks another worker may make it
    if there is not None and there.is_folder:
        return True
    if there is not None:
        raise file_in_the_way(path)
    if parent_is_there:
        raise of_reply(refused, f"making the folder {path}")
    return False
