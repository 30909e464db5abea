from __future__ import annotations

import hashlib
import io
import os
import stat
import time
from pathlib import Path

import pytest

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.errors import PayloadError, SubmissionError
from conveyor.ledger.records import PayloadRecord
from conveyor.payloads import LocalStore
from conveyor.payloads.local import MARKER

DAY = 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "payloads")


def files(store: LocalStore) -> list[Path]:
    return sorted(path for path in store.root.rglob("*") if path.is_file() and path.name != MARKER)


def none_known(locations: list[str]) -> set[str]:
    return set()


class Broken(io.RawIOBase):
    """Gives some bytes, then fails."""

    def __init__(self, good: int, error: BaseException) -> None:
        self._left = good
        self._error = error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        if not self._left:
            raise self._error
        count = min(self._left, len(buffer))
        buffer[:count] = b"x" * count
        self._left -= count
        return count


@pytest.mark.parametrize("size", [0, 1, 4096, 70_001, (1 << 20), (1 << 20) + 1, 3_000_000])
@pytest.mark.parametrize("hint", [True, False])
def test_what_is_put_comes_out_with_all_digests(store: LocalStore, size: int, hint: bool) -> None:
    data = os.urandom(size)
    seen: list[int] = []
    record = store.put(
        io.BytesIO(data), digests=frozenset({"sha1"}), size_hint=size if hint else None, progress=seen.append
    )
    assert record.size == size == sum(seen)
    assert record.digests == {
        name: hashlib.new(name, data, usedforsecurity=False).hexdigest() for name in ("sha256", "md5", "sha1")
    }
    with store.open(record) as first, store.open(record) as second:
        assert first.read() == data
        assert second.read(10) == data[:10]
        second.seek(-min(3, size), os.SEEK_END)
        assert second.read() == data[-3:] if size >= 3 else True
        second.seek(0)
        assert second.read() == data
    store.verify(record)


def test_modes_are_private_whatever_the_umask(store: LocalStore) -> None:
    before = os.umask(0)
    try:
        record = store.put(io.BytesIO(b"x"))
    finally:
        os.umask(before)
    path = store.root / record.location
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(store.root.stat().st_mode) == 0o700


def test_a_stream_with_read_alone_is_enough(store: LocalStore) -> None:
    class Plain:
        def __init__(self) -> None:
            self.parts = [b"ab", b"c", b""]

        def read(self, size: int = -1, /) -> bytes:
            return self.parts.pop(0)

    assert store.put(Plain()).size == 3


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (Broken(100_000, OSError(5, "Input/output error")), "cannot be read: Input/output error"),
        (io.StringIO("text"), "not bytes"),
    ],
)
def test_a_source_that_fails_leaves_nothing(store: LocalStore, stream: io.RawIOBase, said: str) -> None:
    with pytest.raises(SubmissionError, match=said):
        store.put(stream)
    assert files(store) == []


def test_an_interrupt_leaves_nothing(store: LocalStore) -> None:
    with pytest.raises(KeyboardInterrupt):
        store.put(Broken(100_000, KeyboardInterrupt()))
    assert files(store) == []


@pytest.mark.parametrize("name", ["blake9", "shake_128"])
def test_a_digest_that_hashlib_does_not_offer_is_refused(store: LocalStore, name: str) -> None:
    with pytest.raises(SubmissionError, match=name):
        store.put(io.BytesIO(b"x"), digests=frozenset({name}))
    assert files(store) == []


def test_many_are_published_together_or_not_at_all(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = [store.stage(io.BytesIO(bytes([number]))) for number in range(20)]
    store.publish(good)
    assert len(files(store)) == 20
    more = [store.stage(io.BytesIO(b"y")) for _ in range(3)]
    more[1].temporary.unlink()
    with pytest.raises(PayloadError):
        store.publish(more)
    assert len(files(store)) == 20


def test_a_payload_that_is_gone_is_a_source_error(store: LocalStore) -> None:
    record = store.put(io.BytesIO(b"abc"))
    (store.root / record.location).unlink()
    for use in (store.open, store.verify):
        with pytest.raises(DeliveryError, match="gone") as caught:
            use(record)
        assert caught.value.kind is ErrorKind.SOURCE


def test_a_store_that_is_away_is_no_lost_payload(store: LocalStore) -> None:
    record = store.put(io.BytesIO(b"abc"))
    store.check()
    away = store.root.with_name("unmounted")
    store.root.rename(away)
    store.root.mkdir()  # the bare mount point
    for use in (lambda: store.open(record), lambda: store.verify(record), store.check):
        with pytest.raises(PayloadError):
            use()
    store.root.rmdir()
    away.rename(store.root)
    with store.open(record) as stream:
        assert stream.read() == b"abc"


@pytest.mark.parametrize("size", [0, 2, 4])
def test_another_size_in_the_store_is_a_source_error(store: LocalStore, size: int) -> None:
    record = store.put(io.BytesIO(b"abc"))
    os.truncate(store.root / record.location, size)
    with pytest.raises(DeliveryError, match=f"has {size} bytes") as caught:
        store.open(record)
    assert caught.value.kind is ErrorKind.SOURCE


def test_a_file_cut_while_it_is_read_is_a_source_error(store: LocalStore) -> None:
    record = store.put(io.BytesIO(bytes(500_000)))
    with store.open(record) as stream:
        stream.read(1000)
        os.truncate(store.root / record.location, 300_000)
        with pytest.raises(DeliveryError, match="ends after 300000 of 500000"):
            stream.read()


def test_a_file_that_grows_while_it_is_read_never_gives_its_last_byte(store: LocalStore) -> None:
    record = store.put(io.BytesIO(bytes(500_000)))
    seen: list[bytes] = []
    with store.open(record) as stream:
        seen.append(stream.read(1000))
        with open(store.root / record.location, "ab") as writer:
            writer.write(b"more")
        with pytest.raises(DeliveryError, match="changed while it was read"):
            list(map(seen.append, iter(lambda: stream.read(100_000), b"")))
    assert 0 < sum(map(len, seen)) < 500_000


def test_a_row_that_points_out_of_the_store_is_refused(store: LocalStore) -> None:
    for location in ("../secret", "/etc/passwd", "a/../../x"):
        record = PayloadRecord("pay_1", location, in_place=False, size=1, digests={})
        with pytest.raises(PayloadError, match="outside the store"):
            store.open(record)
        with pytest.raises(PayloadError, match="outside the store"):
            store.remove(record)


def test_removing_twice_is_fine(store: LocalStore) -> None:
    record = store.put(io.BytesIO(b"abc"))
    store.remove(record)
    store.remove(record)
    assert files(store) == []


def test_the_sweep_takes_old_files_that_no_row_names_and_nothing_else(store: LocalStore) -> None:
    kept, orphan, young = (store.put(io.BytesIO(bytes([number]))) for number in range(3))
    half = store.stage(io.BytesIO(b"half"))
    half.close()
    foreign = store.root / "notes" / "keep.txt"
    foreign.parent.mkdir()
    foreign.write_text("not ours")
    for path in (store.root / kept.location, store.root / orphan.location, half.temporary, foreign):
        os.utime(path, (1, 1))
    asked: list[str] = []

    def known(locations: list[str]) -> set[str]:
        asked.extend(locations)
        return {kept.location}

    assert store.sweep(known, DAY) == 2
    assert sorted(asked) == sorted([kept.location, orphan.location])
    assert files(store) == sorted([store.root / kept.location, store.root / young.location, foreign])
    assert store.sweep(known, DAY) == 0


def test_the_sweep_drops_old_empty_shards_and_the_store_goes_on(store: LocalStore) -> None:
    record = store.put(io.BytesIO(b"x"))
    shard = (store.root / record.location).parent
    os.utime(store.root / record.location, (1, 1))
    assert store.sweep(none_known, DAY) == 1
    assert shard.exists(), "its time stamp is young: a submission may be using it"
    os.utime(shard, (1, 1))
    assert store.sweep(none_known, DAY) == 0
    assert not shard.exists()
    assert store.put(io.BytesIO(b"y")).size == 1


@pytest.mark.parametrize("name", ["lost+found", "received", "photos", "assets"])
def test_the_sweep_leaves_folders_of_others_although_they_are_empty(store: LocalStore, name: str) -> None:
    store.put(io.BytesIO(b"x"))
    other = store.root / name
    other.mkdir()
    os.utime(other, (1, 1))
    assert store.sweep(none_known, DAY) == 0
    assert other.exists()


def test_a_machine_whose_clock_is_days_ahead_sweeps_nothing_young(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    half, whole = store.stage(io.BytesIO(b"half")), store.put(io.BytesIO(b"not committed yet"))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3 * DAY)
    assert store.sweep(none_known, DAY) == 0
    assert files(store) == sorted([half.temporary, store.root / whole.location])
    half.discard()


def test_a_share_that_is_away_is_not_swept(store: LocalStore) -> None:
    store.put(io.BytesIO(b"x"))
    (store.root / MARKER).unlink()
    with pytest.raises(PayloadError, match="tell the time"):
        store.sweep(none_known, -DAY)


def test_sweeping_a_store_that_does_not_exist_yet(store: LocalStore) -> None:
    assert store.sweep(none_known, DAY) == 0
    assert not store.root.exists()


def test_the_sweep_asks_in_batches(store: LocalStore) -> None:
    staged = [store.stage(io.BytesIO(b"x")) for _ in range(600)]
    for item in staged:
        item.close()
        os.utime(item.temporary, (1, 1))
        item.temporary.rename(item.final)
    sizes: list[int] = []

    def known(locations: list[str]) -> set[str]:
        sizes.append(len(locations))
        return set(locations[:1])

    assert store.sweep(known, DAY) == 600 - len(sizes)
    assert len(sizes) >= 2
    assert max(sizes) <= 500


def test_a_file_in_the_way_says_so(tmp_path: Path) -> None:
    (tmp_path / "payloads").write_text("a file")
    with pytest.raises(PayloadError, match="could not be created"):
        LocalStore(tmp_path / "payloads").put(io.BytesIO(b"x"))


def test_a_closed_stream_says_so(store: LocalStore) -> None:
    stream = store.open(store.put(io.BytesIO(b"abc")))
    stream.close()
    stream.close()
    with pytest.raises(ValueError, match="closed"):
        stream.read()
