"""Sample photos, made on the spot: small, real PNG files."""

from __future__ import annotations

import functools
import math
import random
import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 320, 200

SUN = bytes((255, 240, 170))

NAMES = ("Grüße 100%.png", "IMG_0001.png", "IMG_0001.png")
"""As phones send them: not all ASCII, and not all different."""


class Photo(NamedTuple):
    """A file to deliver."""

    name: str
    data: bytes


@functools.cache
def photos() -> Sequence[Photo]:
    """The same three pictures each time: an evening sky, each with a sun of its own."""
    return tuple(Photo(name, _png(_rows(seed))) for seed, name in enumerate(NAMES))


def _rows(seed: int) -> bytes:
    """Pixels, row by row, each row after the filter byte 0."""
    grain = random.Random(seed)
    sun_x, sun_y, size = WIDTH * (seed + 1) // 4, HEIGHT // 3, 20 + 6 * seed
    out = bytearray()
    for y in range(HEIGHT):
        row = bytearray((255 - y // 2, 120 + y // 4, 40 + y)) * WIDTH
        if (chord := size * size - (y - sun_y) ** 2) > 0:
            half = math.isqrt(chord - 1)
            left, right = max(0, sun_x - half), min(WIDTH, sun_x + half + 1)
            row[3 * left : 3 * right] = SUN * (right - left)
        row[2::3] = bytes(
            min(255, blue + (noise & 15))
            for blue, noise in zip(row[2::3], grain.randbytes(WIDTH), strict=True)
        )
        out.append(0)
        out += row
    return bytes(out)


def _png(rows: bytes) -> bytes:
    """https://www.w3.org/TR/png/: signature, header, one block of compressed rows, end."""
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
