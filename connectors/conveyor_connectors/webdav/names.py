"""Names of our own on the server, and paths as they stand in a URL."""

from __future__ import annotations

import re
from urllib.parse import quote

from conveyor.contract import DeliveryError, ErrorKind, NameRules

SUFFIX = ".conveyor"
"""Ends a temporary name. Not ``.part``: Nextcloud and ownCloud refuse names that end so
(https://github.com/owncloud/core/commit/4d28571c, Nextcloud's forbidden_filename_extensions)."""

SEGMENT_MAX = 245
"""Bytes of a name: of the 255 that file systems take, a number (" (12)") needs some."""

PATH_MAX = 2048
"""Bytes; percent-encoded three times as many, which still fit the 8 KiB of a request line
(https://httpd.apache.org/docs/2.4/mod/core.html#limitrequestline)."""

NUMBERED = NameRules(segment_max=255, path_max=PATH_MAX)
"""Of a name with its number."""

TEMPORARY_MAX = 200
"""Bytes of a temporary name: ownCloud adds up to 30 of its own while it receives
(https://github.com/owncloud/core/issues/25425)."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


def plain(delivery_id: str) -> str:
    """A delivery's id as it may stand in any name."""
    return _UNSAFE.sub("_", delivery_id)[:80]


def temporary(path: str, delivery_id: str, fence: int) -> str:
    """Where this attempt writes: beside the target, so that MOVE is a rename. No two workers share one."""
    folder, slash, name = path.rpartition("/")
    tail = f".{plain(delivery_id)}.{fence}{SUFFIX}"
    room = TEMPORARY_MAX - len(tail) - 1
    kept = name.encode()[:room].decode(errors="ignore").rstrip(" .")
    return f"{folder}{slash}.{kept}{tail}"


def join(folder: str, name: str) -> str:
    """A path below ``folder``, either of which may be empty."""
    return f"{folder}/{name}" if folder and name else folder or name


def quoted(path: str) -> str:
    """The path percent-encoded segment by segment, UTF-8."""
    return "/".join(quote(segment, safe="") for segment in path.split("/"))


def check(path: str) -> None:
    """Refuse a path that no server can hold.

    Raises:
        DeliveryError: NAME.
    """
    parts = path.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise DeliveryError(ErrorKind.NAME, "the path has an empty segment, . or ..")
    longest = max(len(part.encode("utf-8", "surrogatepass")) for part in parts)
    if longest > SEGMENT_MAX:
        raise DeliveryError(ErrorKind.NAME, f"a name of {longest} bytes; at most {SEGMENT_MAX} are possible")
    size = len(path.encode("utf-8", "surrogatepass"))
    if size > PATH_MAX:
        raise DeliveryError(ErrorKind.NAME, f"a path of {size} bytes; at most {PATH_MAX} are possible")
