"""Takes the metadata segments out of a JPEG and copies everything else, byte for byte.

The syntax is that of ITU-T T.81 (ISO/IEC 10918-1), Annex B: markers are ``FF`` and a code, before which any
number of ``FF`` may stand (B.1.1.2); most begin a segment with a length of two bytes that counts itself
(B.1.1.4); after SOS follows entropy-coded data, in which ``FF`` is followed by ``00`` or is a restart marker
(B.1.1.5). Segments may stand between scans, too (B.2.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from conveyor_exif.orientation import orientation, orientation_alone

BLOCK = 1 << 18
SOI, EOI, SOS, APP1, APP2, APP13 = 0xD8, 0xD9, 0xDA, 0xE1, 0xE2, 0xED
ALONE = {0x01, *range(0xD0, 0xD8)}
"""Markers without a segment: TEM and the restarts (T.81 table B.1)."""

# Codes below C0 are reserved by T.81, and data in JPEG-LS (ITU-T T.87, annex A: a zero bit follows each FF).
_IN_SCAN = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")


class Damaged(Exception):
    """No JPEG syntax; the message says what is wrong and where."""


class _Reader:
    """A stream that knows its place, and never holds much more than a block."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ahead = b""
        self._at = 0
        self._before = 0

    @property
    def offset(self) -> int:
        """Bytes that were taken so far."""
        return self._before + self._at

    def _fill(self) -> bool:
        block = self._file.read(BLOCK)
        self._ahead = self._ahead[self._at :] + block
        self._before, self._at = self.offset, 0
        return bool(block)

    def peek(self, count: int) -> bytes:
        """The next bytes, fewer only at the end."""
        while len(self._ahead) - self._at < count and self._fill():
            pass
        return self._ahead[self._at : self._at + count]

    def take(self, count: int) -> bytes:
        """The next bytes, read.

        Raises:
            Damaged: There are fewer.
        """
        taken = self.peek(count)
        if len(taken) < count:
            raise Damaged(f"it ends at byte {self.offset + len(taken)}, where more must follow")
        self._at += count
        return taken

    def scan(self) -> Iterator[bytes]:
        """Entropy-coded data up to the next marker or the end of the file."""
        while (found := _IN_SCAN.search(self._ahead, self._at)) is None:
            yield self._until(len(self._ahead) - self._ahead.endswith(b"\xff"))  # perhaps half of a marker
            if not self._fill():
                yield self._until(len(self._ahead))
                return
        yield self._until(found.start())

    def _until(self, place: int) -> bytes:
        begin, self._at = self._at, max(self._at, place)
        return self._ahead[begin : self._at]


def strip(source: BinaryIO, out: BinaryIO) -> bool:
    """Copy a JPEG without its metadata.

    Left out are all segments APP1 (EXIF, XMP), APP13 (IPTC) and the index of a multi-picture file (CIPA
    DC-007), and whatever follows the picture's end: further pictures and vendors' trailers, which have
    metadata of their own. EXIF that tells an orientation is replaced by EXIF that tells nothing else.

    Args:
        source: The file, from its beginning. It may answer with less than asked for.
        out: Takes the result; complete only when True is returned.

    Returns:
        False when there is nothing to leave out: it is no JPEG, or has no metadata.

    Raises:
        Damaged: It begins like a JPEG, and where its segments are cannot be told.
    """
    reader = _Reader(source)
    if reader.peek(3) != b"\xff\xd8\xff":
        return False
    out.write(reader.take(2))
    changed = turned = scanned = False
    while not scanned or reader.peek(1):  # a scan that is cut off is the picture as it was submitted
        code = _marker(reader, out)
        if code in ALONE or code == EOI:
            out.write(bytes([0xFF, code]))
            if code == EOI:
                return changed or bool(reader.peek(1))
            continue
        segment = _segment(reader, code)
        kept = _kept(code, segment, turned)
        if kept is not None:
            turned = turned or code == APP1
            out.write(bytes([0xFF, code]) + kept)
        changed = changed or kept != segment
        if code == SOS:
            scanned = True
            for data in reader.scan():
                out.write(data)
    return changed


def _marker(reader: _Reader, out: BinaryIO) -> int:
    """The next marker's code. Its ``FF`` is left to the caller; what fills the place before it is copied."""
    at = reader.offset
    if reader.take(1) != b"\xff":
        raise Damaged(f"there is no marker at byte {at}")
    while (code := reader.take(1)[0]) == 0xFF:
        out.write(b"\xff")
    if code == SOI or (code < 0xC0 and code not in ALONE):
        raise Damaged(f"there is no marker at byte {at}")
    return code


def _segment(reader: _Reader, code: int) -> bytes:
    """What follows a marker's code: the length and what it counts, at most 65,535 bytes."""
    at = reader.offset
    length = int.from_bytes(reader.take(2), "big")
    if length < 2:
        raise Damaged(f"the segment {code:02X} at byte {at} has the length {length}")
    return length.to_bytes(2, "big") + reader.take(length - 2)


def _kept(code: int, segment: bytes, turned: bool) -> bytes | None:
    """What stays of a segment; ``turned``: the orientation was told before."""
    body = segment[2:]
    if code == APP1 and not turned and (value := orientation(body)):
        left = orientation_alone(value)
        return (len(left) + 2).to_bytes(2, "big") + left
    if code in (APP1, APP13) or (code == APP2 and body.startswith(b"MPF\0")):
        return None
    return segment
