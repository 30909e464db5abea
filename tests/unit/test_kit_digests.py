"""The digests that hashlib does not have, against their definitions and published values."""

from __future__ import annotations

import base64
import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.errors import ConveyorError
from conveyor.kit.bodies import digest_of
from conveyor.kit.digests import DropboxContent, QuickXor, new_hasher
from conveyor.payloads.digests import Digests
from conveyor.testing import make_parcel

MIB = 1024 * 1024


def by_the_definition(data: bytes) -> bytes:
    """quickXorHash byte for byte."""
    bits = 0
    for index, byte in enumerate(data):
        shifted = byte << (11 * index % 160)
        bits ^= (shifted & (1 << 160) - 1) | (shifted >> 160)
    digest = bytearray(bits.to_bytes(20, "little"))
    for index, byte in enumerate(len(data).to_bytes(8, "little")):
        digest[12 + index] ^= byte
    return bytes(digest)


@given(st.binary(max_size=2000), st.lists(st.integers(0, 2000), max_size=6))
def test_quickxor_is_its_definition_however_it_is_fed(data: bytes, cuts: list[int]) -> None:
    hasher, start = QuickXor(), 0
    for cut in sorted(cuts):
        hasher.update(data[start:cut])
        start = max(start, min(cut, len(data)))
    hasher.update(memoryview(data)[start:])
    assert hasher.digest() == by_the_definition(data)


@pytest.mark.parametrize(
    ("data", "stated"),
    [  # of rclone's tests, made with Microsoft's own program
        ("", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ("Sg==", "SgAAAAAAAAAAAAAAAQAAAAAAAAA="),
        ("tbQ=", "taAFAAAAAAAAAAAAAgAAAAAAAAA="),
        ("0pZP", "0rDEEwAAAAAAAAAAAwAAAAAAAAA="),
    ],
)
def test_quickxor_of_published_examples(data: str, stated: str) -> None:
    assert base64.b64encode(QuickXor(base64.b64decode(data)).digest()).decode() == stated


def test_quickxor_of_more_than_a_piece() -> None:
    data = bytes(index * 7 % 251 for index in range(MIB + 12345))
    assert QuickXor(data).digest() == by_the_definition(data)


@pytest.mark.parametrize("size", [0, 1, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 9 * MIB])
def test_dropbox_hashes_the_hashes_of_its_blocks(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    blocks = [data[at : at + 4 * MIB] for at in range(0, size, 4 * MIB)]
    expected = hashlib.sha256(b"".join(hashlib.sha256(block).digest() for block in blocks)).hexdigest()
    hasher = DropboxContent()
    for at in range(0, size, 3 * MIB):
        hasher.update(data[at : at + 3 * MIB])
        assert len(hasher.digest()) == 32  # asking in between changes nothing
    assert hasher.hexdigest() == expected
    assert digest_of(io.BytesIO(data), 0, size, "dropbox").hex() == expected


def test_submission_and_test_parcels_have_them() -> None:
    digests = Digests(["quickxor", "dropbox"])
    digests.update(b"hello")
    parcel = make_parcel(b"hello", digests=["quickxor", "dropbox"])
    assert digests.hex() == dict(parcel.digests)
    assert digests.hex()["quickxor"] == by_the_definition(b"hello").hex()


@pytest.mark.parametrize("name", ["nonsense", "shake_128"])
def test_a_name_that_nobody_knows(name: str) -> None:
    with pytest.raises(ConveyorError, match=name):
        new_hasher(name)
