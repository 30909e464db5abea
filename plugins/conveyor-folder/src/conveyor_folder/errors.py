"""What an error of the file system means to the engine."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from conveyor.contract import DeliveryError, ErrorKind

K = ErrorKind
KINDS = {
    errno.EACCES: K.CONFIG,
    errno.EPERM: K.CONFIG,
    errno.EROFS: K.CONFIG,
    errno.ENOTDIR: K.NAME,
    errno.EISDIR: K.NAME,
    errno.ENAMETOOLONG: K.NAME,
    errno.EILSEQ: K.NAME,  # a name that the mounted file system's character set lacks
    errno.EINVAL: K.NAME,  # what vfat and CIFS say to a name with a colon
    errno.ENOSPC: K.QUOTA,
    errno.EDQUOT: K.QUOTA,
    errno.EFBIG: K.TOO_LARGE,
}
"""All others pass by themselves: a share that stalls (EIO, ESTALE, ETIMEDOUT), a folder removed meanwhile."""

HINTS = {
    K.CONFIG: "The user that the worker runs as must be allowed to create and rename files there.",
    K.QUOTA: "Make room there.",
}

NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""How a file system without hard links answers to link(2)."""


def classify(error: OSError) -> DeliveryError:
    """The contract's error for a failed system call; its message names no path outside the folder."""
    number = error.errno or 0
    kind = KINDS.get(number, K.TRANSIENT)
    text = os.strerror(number) if number else "the file system failed"
    code = errno.errorcode.get(number, type(error).__name__)
    return DeliveryError(kind, text, hint=HINTS.get(kind), code=code)


def no_links() -> DeliveryError:
    """The file system cannot publish a name without risk to a file that has it."""
    return DeliveryError(
        K.CONFIG,
        "this file system has no hard links, without which a taken name is not noticed safely",
        hint="Set `conflict: overwrite`, or use a folder on a file system with hard links.",
        code="ENOTSUP",
    )


@contextmanager
def classified() -> Iterator[None]:
    """Let nothing but the contract's errors out."""
    try:
        yield
    except OSError as error:
        raise classify(error) from None
