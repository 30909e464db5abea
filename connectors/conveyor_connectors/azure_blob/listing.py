"""What the service lists of blocks that wait to be committed."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azure.storage.blob._generated.models import BlockList


@dataclass(frozen=True, slots=True)
class Block:
    """A waiting block.

    Attributes:
        id: As we gave it; another program's may be anything.
        size: Bytes.
        length: Bytes of the id before base64. All waiting blocks of one blob share it
            (https://learn.microsoft.com/rest/api/storageservices/put-block).
    """

    id: str
    size: int
    length: int


def blocks_in(listed: BlockList) -> list[Block]:
    """The waiting blocks of a block list as the service sent it."""
    return [_block(one.name, one.size) for one in listed.uncommitted_blocks or []]


def _block(name: str, size: int) -> Block:
    try:
        raw = base64.b64decode(name)
    except binascii.Error:
        return Block("", size, 0)
    return Block(raw.decode("utf-8", "replace"), size, len(raw))
