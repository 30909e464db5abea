"""The one thing that is kept of EXIF: how the picture is turned (tag 0x0112, Exif 2.32 section 4.6.4)."""

from __future__ import annotations

import struct

HEADER = b"Exif\0\0"
TAG, SHORT = 0x0112, 3


def orientation(body: bytes) -> int | None:
    """The orientation, 1 to 8, that the body of an APP1 segment tells; None when it tells none.

    EXIF is a TIFF file (TIFF 6.0 section 2): byte order, 42, the place of the first directory; there a count
    and as many entries of 12 bytes: tag, type, count, value.
    """
    tiff = body.removeprefix(HEADER)
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or not body.startswith(HEADER):
        return None
    try:
        magic, place = struct.unpack_from(order + "HI", tiff, 2)
        (count,) = struct.unpack_from(order + "H", tiff, place)
        if magic != 42:
            return None
        for number in range(count):
            tag, kind, values, value = struct.unpack_from(order + "HHIH", tiff, place + 2 + 12 * number)
            if (tag, kind, values) == (TAG, SHORT, 1):
                return int(value) if 1 <= value <= 8 else None
    except struct.error:  # it ends early: whoever shows the picture finds no orientation either
        return None
    return None


def orientation_alone(value: int) -> bytes:
    """The body of an APP1 segment that tells an orientation and nothing else."""
    return HEADER + b"MM" + struct.pack(">HIHHHIHHI", 42, 8, 1, TAG, SHORT, 1, value, 0, 0)
