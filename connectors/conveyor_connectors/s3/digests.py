"""Digests of a range of the payload."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

from conveyor.contract import DeliveryError, ErrorKind
from conveyor_connectors.s3.body import BLOCK


def digest_of(stream: BinaryIO, offset: int, size: int, algorithm: str) -> str:
    """The hex digest of ``size`` bytes from ``offset``.

    Raises:
        DeliveryError: SOURCE, when the payload ends before.
    """
    # MD5 stands here for transport integrity against what the service compares, not for security.
    digest = hashlib.new(algorithm, usedforsecurity=False)
    stream.seek(offset)
    left = size
    while left:
        block = stream.read(min(left, BLOCK))
        if not block:
            raise DeliveryError(ErrorKind.SOURCE, "the payload ends early")
        digest.update(block)
        left -= len(block)
    return digest.hexdigest()
