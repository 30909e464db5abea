"""Payloads encrypted at rest: what is read is what was submitted, or nothing."""

from __future__ import annotations

import io
import itertools
import os
import random
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.errors import PayloadError, SubmissionError
from conveyor.keyring import Keyring
from conveyor.ledger.records import PayloadRecord
from conveyor.payloads import LocalStore, PayloadKeys
from conveyor.payloads.sealing import CHUNK, TAG, Sealer, sealed_size

SIZES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 17)
RING = Keyring([Fernet.generate_key()])

SHARED = [HealthCheck.function_scoped_fixture]


def text(size: int) -> bytes:
    """So many bytes that look like nothing else."""
    return random.Random(size).randbytes(size)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "payloads", keys=PayloadKeys(RING, encrypts=True))


def put(store: LocalStore, data: bytes) -> PayloadRecord:
    return store.put(io.BytesIO(data))


def read(store: LocalStore, record: PayloadRecord) -> bytes:
    with store.open(record) as stream:
        return stream.read()


def source(caught: pytest.ExceptionInfo[DeliveryError]) -> bool:
    return caught.value.kind is ErrorKind.SOURCE


@pytest.mark.parametrize("size", SIZES)
def test_what_is_put_comes_out_and_lies_there_in_no_form_that_tells(store: LocalStore, size: int) -> None:
    data = text(size)
    record = put(store, data)
    plain = put(LocalStore(store.root), data)
    assert (record.size, record.digests) == (size, plain.digests), "size and digests are the plaintext's"
    stored = (store.root / record.location).read_bytes()
    assert len(stored) == sealed_size(size)
    assert not any(data[at : at + 16] in stored for at in range(0, max(0, size - 16), 4096))
    store.verify(record)
    assert read(store, record) == data


def test_the_same_bytes_never_look_the_same(store: LocalStore) -> None:
    one, other = (put(store, b"photo") for _ in range(2))
    assert one.sealed_key != other.sealed_key
    assert (store.root / one.location).read_bytes() != (store.root / other.location).read_bytes()
    assert "sealed_key" not in repr(one)


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("seek"), st.integers(0, 4 * CHUNK), st.just(os.SEEK_SET)),
        st.tuples(st.just("seek"), st.integers(-4 * CHUNK, 100), st.just(os.SEEK_END)),
        st.tuples(st.just("seek"), st.integers(-CHUNK, CHUNK), st.just(os.SEEK_CUR)),
        st.tuples(st.just("read"), st.integers(-1, 3 * CHUNK), st.just(0)),
        st.tuples(st.just("readinto"), st.integers(0, 3 * CHUNK), st.just(0)),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=SHARED)
@given(size=st.sampled_from(SIZES), moves=MOVES)
def test_it_is_read_as_any_file_is(store: LocalStore, size: int, moves: list[tuple[str, int, int]]) -> None:
    record, model = put(store, text(size)), io.BytesIO(text(size))
    with store.open(record) as stream:
        assert stream.seekable()
        for what, number, whence in moves:
            if what == "read":
                assert stream.read(number) == model.read(number)
            elif what == "readinto":
                mine, its = bytearray(number), bytearray(number)
                assert stream.readinto(mine) == model.readinto(its)  # type: ignore[attr-defined]
                assert mine == its
            else:
                base = {os.SEEK_SET: 0, os.SEEK_CUR: model.tell(), os.SEEK_END: size}[whence]
                if base + number < 0:
                    continue
                assert stream.seek(number, whence) == model.seek(number, whence)
            assert stream.tell() == model.tell()
    store.remove(record)


@settings(max_examples=60, deadline=None)
@given(size=st.sampled_from(SIZES), cuts=st.lists(st.integers(0, 4 * CHUNK), max_size=5))
def test_how_the_bytes_came_makes_no_difference(size: int, cuts: list[int]) -> None:
    sealer, data = Sealer(RING, "pay_1"), text(size)
    places = sorted({0, size, *(min(cut, size) for cut in cuts)})
    parts = [data[start:end] for start, end in itertools.pairwise(places)]
    stored = b"".join(sealer.each(parts))
    assert len(stored) == sealed_size(size)
    again = Sealer(RING, "pay_1")
    again._chunks = sealer._chunks
    assert again.update(data) + again.finish() == stored


Damage = st.one_of(
    st.tuples(st.just("flip"), st.integers(0, 10**9), st.integers(0, 7)),
    st.tuples(st.just("cut"), st.integers(1, 10**9), st.just(0)),
    st.tuples(st.just("cut a chunk"), st.just(0), st.just(0)),
    st.tuples(st.just("add"), st.integers(1, 2 * CHUNK), st.just(0)),
    st.tuples(st.just("swap"), st.integers(0, 3), st.integers(0, 3)),
    st.tuples(st.just("repeat"), st.integers(0, 3), st.integers(0, 3)),
)


def damaged(stored: bytes, how: tuple[str, int, int]) -> bytes:
    """What became of the stored bytes; sometimes nothing."""
    what, first, second = how
    chunks = [stored[at : at + CHUNK + TAG] for at in range(0, len(stored), CHUNK + TAG)]
    one, other = first % len(chunks), second % len(chunks)
    if what == "flip":
        at = first % len(stored)
        return stored[:at] + bytes([stored[at] ^ (1 << second)]) + stored[at + 1 :]
    if what == "cut":
        return stored[: -min(first % len(stored) + 1, len(stored))]
    if what == "cut a chunk":
        return b"".join(chunks[:-1])
    if what == "add":
        return stored + text(first)
    if what == "swap":
        chunks[one], chunks[other] = chunks[other], chunks[one]
    else:
        chunks[one] = chunks[other]
    return b"".join(chunks)


@settings(max_examples=150, deadline=None, suppress_health_check=SHARED)
@given(size=st.sampled_from(SIZES[1:]), how=Damage)
def test_any_damage_is_noticed(store: LocalStore, size: int, how: tuple[str, int, int]) -> None:
    data = text(size)
    record = put(store, data)
    file = store.root / record.location
    before = file.read_bytes()
    after = damaged(before, how)
    file.write_bytes(after)
    if after == before:
        assert read(store, record) == data
    else:
        with pytest.raises(DeliveryError) as caught:
            read(store, record)
        assert source(caught)
    store.remove(record)


def test_damage_is_noticed_by_who_reads_the_damaged_part_alone(store: LocalStore) -> None:
    data = text(3 * CHUNK)
    record = put(store, data)
    file = store.root / record.location
    stored = bytearray(file.read_bytes())
    stored[CHUNK + TAG + 5] ^= 1
    file.write_bytes(stored)
    with store.open(record) as stream:
        stream.seek(2 * CHUNK)
        assert stream.read() == data[2 * CHUNK :]
        stream.seek(CHUNK + 100)
        with pytest.raises(DeliveryError, match="not what was submitted") as caught:
            stream.read(1)
        assert source(caught)


def test_the_last_chunk_cannot_be_passed_off_as_one_that_is_not(store: LocalStore) -> None:
    """A file cut at a chunk's end is no shorter file, even for a ledger that says so."""
    record = put(store, text(2 * CHUNK))
    file = store.root / record.location
    file.write_bytes(file.read_bytes()[: CHUNK + TAG])
    with pytest.raises(DeliveryError, match="not what was submitted"):
        read(store, replace(record, size=CHUNK))


def test_payloads_cannot_take_each_others_places(store: LocalStore) -> None:
    one, other = put(store, b"photo of a"), put(store, b"photo of b")
    os.replace(store.root / other.location, store.root / one.location)
    with pytest.raises(DeliveryError, match="not what was submitted") as caught:
        read(store, one)
    assert source(caught)
    # Not even with their data key.
    with pytest.raises(DeliveryError, match="not what was submitted"):
        read(store, replace(one, sealed_key=other.sealed_key))


def test_it_may_be_switched_on_and_off(store: LocalStore) -> None:
    off = LocalStore(store.root, keys=PayloadKeys(RING))
    plain, sealed = put(off, b"before"), put(store, b"after")
    assert plain.sealed_key is None
    assert (store.root / plain.location).read_bytes() == b"before"
    for each in (off, store):
        each.verify(plain)
        each.verify(sealed)
        assert (read(each, plain), read(each, sealed)) == (b"before", b"after")


def test_a_file_in_place_stays_as_it_is(store: LocalStore, tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(b"photo")
    record = store.adopt(file)
    assert record.sealed_key is None
    assert read(store, record) == file.read_bytes() == b"photo"


@pytest.mark.parametrize("ring", [None, Keyring([Fernet.generate_key()])])
def test_without_the_key_the_store_is_unusable_and_the_payload_not_lost(
    store: LocalStore, ring: Keyring | None
) -> None:
    record = put(store, b"photo")
    poor = LocalStore(store.root, keys=PayloadKeys(ring))
    for call in (poor.verify, poor.open):
        with pytest.raises(PayloadError, match="is encrypted and") as caught:
            call(record)
        assert "key" in str(caught.value.cure)
    poor.remove(record)
    assert not (store.root / record.location).exists()


def test_a_format_of_tomorrow_is_told_apart(store: LocalStore) -> None:
    record = replace(put(store, b"photo"), sealed_key=RING.encrypt(b"\x02" + bytes(32)))
    with pytest.raises(PayloadError, match="newer program") as caught:
        store.verify(record)
    assert "upgrade" in str(caught.value.cure)


def test_keys_rotate_without_the_files(tmp_path: Path) -> None:
    ring = Keyring.load(file=tmp_path / "key", create=True)
    store = LocalStore(tmp_path / "payloads", keys=PayloadKeys(ring, encrypts=True))
    record = put(store, b"photo")
    stored = (store.root / record.location).read_bytes()
    assert record.sealed_key is not None
    ring.add_key()
    assert read(store, record) == b"photo", "under the older key"
    rotated = replace(record, sealed_key=ring.encrypt(ring.decrypt(record.sealed_key)))
    (tmp_path / "key").write_text((tmp_path / "key").read_text().split()[0])
    assert read(store, rotated) == b"photo"
    assert (store.root / record.location).read_bytes() == stored
    with pytest.raises(PayloadError, match="none of the keys"):
        store.verify(record)


def test_a_rotation_during_a_long_submission_leaves_nothing_under_the_older_key(tmp_path: Path) -> None:
    ring = Keyring.load(file=tmp_path / "key", create=True)
    store = LocalStore(tmp_path / "payloads", keys=PayloadKeys(ring, encrypts=True))

    class Slow(io.BytesIO):
        def readinto(self, buffer: object, /) -> int:
            if self.tell() == 0:
                ring.add_key()
            return super().readinto(buffer)  # type: ignore[arg-type]

    record = store.put(Slow(text(3_000_000)))
    assert record.sealed_key is not None
    assert ring.is_newest(record.sealed_key)


def test_a_source_that_breaks_leaves_nothing(store: LocalStore) -> None:
    class Breaks(io.BytesIO):
        def readinto(self, buffer: object, /) -> int:
            if self.tell():
                raise OSError(5, "Input/output error")
            return super().readinto(buffer)  # type: ignore[arg-type]

    with pytest.raises(SubmissionError, match="Input/output error"):
        store.put(Breaks(text(3_000_000)))
    assert not [path for path in store.root.rglob("*pay_*") if path.is_file()]


class Endless(io.RawIOBase):
    """So many zeros that nobody has to hold."""

    def __init__(self, size: int) -> None:
        self.left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        count = min(len(buffer), self.left)
        self.left -= count
        return count


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def test_memory_stays_flat(store: LocalStore, traced: None) -> None:
    peaks = []
    for size in (8 << 20, 64 << 20):
        tracemalloc.reset_peak()
        record = store.put(Endless(size), size_hint=size)
        with store.open(record) as stream:
            buffer = bytearray(1 << 20)
            while stream.readinto(buffer):  # type: ignore[attr-defined]
                pass
        peaks.append(tracemalloc.get_traced_memory()[1])
    assert max(peaks) < 6 << 20, peaks
