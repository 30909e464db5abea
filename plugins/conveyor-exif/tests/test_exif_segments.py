"""The segment filter on sequences of segments, whole and damaged, however the stream hands them out."""

from __future__ import annotations

import io
import tracemalloc
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conveyor_exif.orientation import HEADER, orientation, orientation_alone
from conveyor_exif.strip import ALONE, BLOCK, Damaged, strip

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
METADATA = {0xE1, 0xED}
PLAIN = sorted(set(range(0xC0, 0xFF)) - ALONE - METADATA - {0xD8, 0xD9, 0xDA})


class Dripping(io.BytesIO):
    """Answers with less than it is asked for."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__(data)
        self._most = most

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size if size is not None and size >= 0 else self._most, self._most))


def segment(code: int, body: bytes) -> bytes:
    return bytes([0xFF, code]) + (len(body) + 2).to_bytes(2, "big") + body


def stripped(data: bytes, most: int = 1 << 20) -> tuple[bool, bytes]:
    out = io.BytesIO()
    return strip(Dripping(data, most), out), out.getvalue()


bodies = st.binary(max_size=40)
plain = st.builds(segment, st.sampled_from(PLAIN), bodies.filter(lambda body: not body.startswith(b"MPF\0")))
metadata = st.one_of(
    st.builds(segment, st.sampled_from(sorted(METADATA)), bodies),
    st.builds(lambda body: segment(0xE1, HEADER + body), bodies),
    st.builds(lambda body: segment(0xE2, b"MPF\0" + body), bodies),
)
data = st.lists(
    st.one_of(
        st.binary(max_size=20).map(lambda raw: raw.replace(b"\xff", b"\xff\x00")),
        st.sampled_from([bytes([0xFF, code]) for code in range(0xD0, 0xD8)]),
    ),
    max_size=6,
).map(b"".join)
scans = st.builds(lambda header, body: segment(0xDA, header) + body, bodies, data)


staying = st.tuples(st.just(True), st.one_of(plain, scans))
going = st.tuples(st.just(False), metadata)
patient = settings(deadline=None)


@patient
@given(st.lists(st.one_of(staying, going)), st.binary(max_size=30), st.integers(1, 50))
def test_what_is_metadata_goes_and_the_rest_stays_byte_for_byte(
    parts: list[tuple[bool, bytes]], trailer: bytes, most: int
) -> None:
    whole = SOI + b"".join(piece for _, piece in parts) + EOI
    wanted = SOI + b"".join(piece for stays, piece in parts if stays) + EOI
    changed, result = stripped(whole + trailer, most)
    assert result == wanted
    assert changed is (wanted != whole + trailer)
    assert stripped(result) == (False, result)


@patient
@given(
    st.lists(st.one_of(plain, scans, metadata)),
    st.integers(0, 400),
    st.binary(max_size=6),
    st.integers(1, 50),
)
def test_a_damaged_file_is_refused_or_its_metadata_gone(
    parts: list[bytes], place: int, other: bytes, most: int
) -> None:
    """Whatever is cut out or put in: either an error, or a result in which nothing is left to strip."""
    whole = SOI + b"".join(parts) + EOI
    damaged = SOI + whole[2:place] + other + whole[place + 3 :]
    try:
        _, result = stripped(damaged, most)
    except Damaged:
        return
    assert result == b"" or stripped(result) == (False, result)


@patient
@given(st.binary(max_size=200))
def test_what_is_no_jpeg_passes(raw: bytes) -> None:
    assert stripped(b"\x89PNG" + raw) == (False, b"")
    assert stripped(raw[:2]) == (False, b"")


@patient
@given(st.binary(max_size=200))
def test_broken_exif_tells_no_orientation(raw: bytes) -> None:
    for order in (b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"):
        assert orientation(HEADER + order + raw) in (None, *range(1, 9))


@pytest.mark.parametrize("value", range(1, 9))
def test_of_several_the_first_orientation_is_kept_alone(value: int) -> None:
    """In the place of the segment that told it; what stands in the place already is no change."""
    alone = segment(0xE1, orientation_alone(value))
    other = segment(0xE1, orientation_alone(9 - value))
    rest = segment(0xDB, b"table") + EOI
    assert stripped(SOI + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>") + alone + other + rest) == (
        True,
        SOI + alone + rest,
    )
    assert stripped(SOI + alone + rest) == (False, SOI + alone + rest)


def test_metadata_between_scans_goes_and_fill_bytes_stay() -> None:
    first, second = segment(0xDA, b"one") + b"data\xff\x00\xff\xd0more", segment(0xDA, b"two") + b"rest"
    whole = SOI + b"\xff\xff" + first + segment(0xE1, HEADER) + b"\xff" + second + b"\xff" + EOI
    assert stripped(whole) == (True, whole.replace(segment(0xE1, HEADER), b""))


def test_a_file_cut_off_within_its_scan_is_stripped_all_the_same() -> None:
    cut = segment(0xDA, b"scan") + b"data\xff"
    assert stripped(SOI + segment(0xE1, HEADER) + cut) == (True, SOI + cut)


@pytest.mark.parametrize(
    ("rest", "says"),
    [
        (b"\xff", "ends at byte 3"),
        (b"\xff\xdb\x00", "ends at byte 5"),
        (b"\xff\xe1\x00\x20Exif", "ends at byte 10"),
        (b"\xff\xdb\x00\x01", "the segment DB at byte 4 has the length 1"),
        (b"\xff\xdb\x00\x02xy", "no marker at byte 6"),
        (b"\xff\x00", "no marker at byte 2"),
        (b"\xff\xd8", "no marker at byte 2"),
    ],
)
def test_damage_is_told_with_its_place(rest: bytes, says: str) -> None:
    with pytest.raises(Damaged, match=says):
        stripped(SOI + rest)


class Endless:
    """A JPEG of a given size that takes no memory: metadata, then one scan with stuffed bytes."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._head = SOI + segment(0xE1, HEADER + bytes(65000)) + segment(0xDA, b"scan")
        self._block = b"ab\xff\x00" * (BLOCK // 4)

    def read(self, size: int) -> bytes:
        if self._head:
            head, self._head = self._head, b""
            return head
        self._left -= size
        return self._block[:size] if self._left > 0 else b""


class Counting:
    def __init__(self) -> None:
        self.count = 0

    def write(self, data: bytes) -> None:
        self.count += len(data)


def test_memory_does_not_grow_with_the_file() -> None:
    source: Any = Endless(64 << 20)
    out = Counting()
    tracemalloc.start()
    try:
        assert strip(source, cast(BinaryIO, out))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert out.count > 63 << 20
    assert peak < 4 << 20
