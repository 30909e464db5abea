"""Identifiers of jobs, deliveries and payloads: sorted by time, unique across processes, safe anywhere.

``job_1k0vd91ncm1000p376f68v``: a prefix, the microsecond of creation (11 characters), a counter of the
process (3) and 40 random bits (8), in Crockford's base 32 (no ``i``, ``l``, ``o``, ``u``). The counter keeps
ids of one microsecond in order and apart; the random part separates processes.
"""

from __future__ import annotations

import itertools
import os
from typing import Final

from conveyor.clock import Clock

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"

_PAIRS: Final = tuple(high + low for high in ALPHABET for low in ALPHABET)
_counter = itertools.count()


def new(prefix: str, clock: Clock) -> str:
    """Return a new id, ``prefix`` + ``_`` + 22 characters of ``[0-9a-hjkmnp-tv-z]``.

    Ids of one process sort in the order of their making as long as its clock does not go back. The random
    part comes from the operating system, so forked processes never share it.

    Args:
        prefix: ``job``, ``dlv``, ``pay`` …
        clock: Stamps the id.
    """
    bits = (clock.now() << 55) | ((next(_counter) & 0x7FFF) << 40) | int.from_bytes(os.urandom(5))
    pairs = _PAIRS
    return (
        f"{prefix}_{pairs[bits >> 100 & 1023]}{pairs[bits >> 90 & 1023]}{pairs[bits >> 80 & 1023]}"
        f"{pairs[bits >> 70 & 1023]}{pairs[bits >> 60 & 1023]}{pairs[bits >> 50 & 1023]}"
        f"{pairs[bits >> 40 & 1023]}{pairs[bits >> 30 & 1023]}{pairs[bits >> 20 & 1023]}"
        f"{pairs[bits >> 10 & 1023]}{pairs[bits & 1023]}"
    )


def created_at(identifier: str) -> int:
    """Return the microsecond (since the epoch, UTC) that an id was made at.

    Raises:
        ValueError: The text is no id of :func:`new`.
    """
    _, separator, digits = identifier.rpartition("_")
    if not separator or len(digits) != 22:
        raise ValueError(f"not an id: {identifier!r}")
    moment = 0
    for character in digits[:11]:
        moment = moment << 5 | ALPHABET.index(character)
    return moment
