"""What the operating system says, as one sentence with its cure."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from conveyor.errors import PayloadError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})

_CURES = {
    **dict.fromkeys(FULL, "free some space, or set 'payloads:' to a folder on a larger disk"),
    **dict.fromkeys(FORBIDDEN, "give the user that runs conveyor read and write access to it"),
    errno.EROFS: "mount it writable, or set 'payloads:' to another folder",
    errno.EFBIG: "the file is larger than the file system or 'ulimit -f' allows",
    errno.EMFILE: "raise 'ulimit -n'",
    errno.ENFILE: "raise the system's limit of open files",
}


def payload_error(error: OSError, root: Path, doing: str) -> PayloadError:
    """Say what the payload store could not do, and what helps."""
    if error.errno in FULL:
        what = f"the payload store {root} is full; nothing of the file was kept"
    else:
        reason = error.strerror or type(error).__name__
        what = f"the payload store {root} could not {doing}: {reason}"
    return PayloadError(what, cure=_CURES.get(error.errno or 0, "check the disk that holds it"))


@contextlib.contextmanager
def store_errors(root: Path, doing: str) -> Iterator[None]:
    """Turn what the operating system refuses into a PayloadError."""
    try:
        yield
    except OSError as error:
        raise payload_error(error, root, doing) from None
