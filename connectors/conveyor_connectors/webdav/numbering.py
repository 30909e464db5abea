"""The names that ``rename`` tries."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from conveyor.contract import AttemptContext, ConflictPolicy, Parcel, Target
from conveyor_connectors.webdav import names

NUMBERED = 32
"""Names tried in order; after them one number made of the delivery's id, so that the thousandth
``image.jpg`` does not ask a thousand times."""


def candidates(parcel: Parcel, target: Target, context: AttemptContext) -> Iterator[str]:
    """The saved name first, then the path, ``name (1)`` and so on."""
    if target.conflict is not ConflictPolicy.RENAME:
        yield target.path
        return
    saved = context.state.get("path")
    if isinstance(saved, str):
        yield saved
    for number in range(NUMBERED):
        if (path := numbered(target, number)) != saved:
            yield path
    own = int(hashlib.sha256(parcel.delivery_id.encode()).hexdigest()[:8], 16)
    yield numbered(target, NUMBERED + own)


def numbered(target: Target, number: int) -> str:
    """The target's name with a number, its stem cut where the name would become too long."""
    path = target.numbered(number)
    over = len(path.rpartition("/")[2].encode()) - names.NUMBERED_MAX
    if over <= 0:
        return path
    head, slash, name = target.path.rpartition("/")
    stem, dot, ext = name.rpartition(".")
    if not stem:
        stem, dot, ext = name, "", ""
    cut = stem.encode()[: max(1, len(stem.encode()) - over)].decode(errors="ignore")
    return Target(f"{head}{slash}{cut}{dot}{ext}", target.conflict).numbered(number)
