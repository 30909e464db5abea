from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.errors import SubmissionError
from conveyor.payloads import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "payloads")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"photo" * 50_000)
    os.utime(path, (1_000, 1_000))
    return path


def test_a_file_in_place_is_read_where_it_is(store: LocalStore, photo: Path) -> None:
    record = store.adopt(photo, frozenset({"sha1"}))
    assert record.in_place
    assert record.location == str(photo)
    assert record.size == 250_000
    assert record.digests["sha1"] == hashlib.sha1(photo.read_bytes(), usedforsecurity=False).hexdigest()
    store.verify(record)
    with store.open(record) as stream:
        assert stream.read() == photo.read_bytes()
    store.remove(record)
    assert photo.exists(), "it belongs to the submitter"
    assert not store.root.exists(), "nothing was copied"


def test_a_relative_path_becomes_absolute(
    store: LocalStore, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photo.parent)
    assert store.adopt(Path("photo.jpg")).location == str(photo)


def test_a_touched_file_with_the_same_bytes_is_read_again_once(
    store: LocalStore, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from conveyor.payloads import inplace

    record = store.adopt(photo)
    os.utime(photo, (2_000, 2_000))
    reads = []
    real = inplace.same_bytes
    monkeypatch.setattr(inplace, "same_bytes", lambda *arguments: (reads.append(1), real(*arguments))[1])
    store.verify(record)
    store.verify(record)
    with store.open(record) as stream:
        assert stream.read() == photo.read_bytes()
    assert len(reads) == 1


def test_a_copy_with_the_same_bytes_in_its_place_is_fine(store: LocalStore, photo: Path) -> None:
    record = store.adopt(photo)
    copy = photo.with_name("copy")
    copy.write_bytes(photo.read_bytes())
    copy.rename(photo)
    store.verify(record)


@pytest.mark.parametrize("new", [b"other" * 50_000, b"shorter", b"photo" * 50_001])
def test_other_bytes_in_its_place_are_a_source_error(store: LocalStore, photo: Path, new: bytes) -> None:
    record = store.adopt(photo)
    photo.write_bytes(new)
    for use in (store.verify, store.open):
        with pytest.raises(DeliveryError) as caught:
            use(record)
        assert caught.value.kind is ErrorKind.SOURCE
        assert caught.value.hint == "submit the file again"


def test_a_file_that_is_gone_is_a_source_error(store: LocalStore, photo: Path) -> None:
    record = store.adopt(photo)
    photo.unlink()
    with pytest.raises(DeliveryError) as caught:
        store.verify(record)
    assert caught.value.kind is ErrorKind.SOURCE


def test_a_file_written_to_while_it_is_read_never_gives_its_last_byte(store: LocalStore, photo: Path) -> None:
    record = store.adopt(photo)
    with store.open(record) as stream:
        stream.read(10)
        with photo.open("r+b") as writer:
            writer.seek(-5, os.SEEK_END)
            writer.write(b"OTHER")
        os.utime(photo, (3_000, 3_000))
        with pytest.raises(DeliveryError, match="changed while it was read"):
            stream.read()


def test_what_is_no_regular_file_cannot_stay_in_place(store: LocalStore, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(SubmissionError, match="not a regular file"):
        store.adopt(pipe)
    with pytest.raises(SubmissionError, match="cannot be read"):
        store.adopt(tmp_path / "missing")


def test_a_file_that_grows_while_it_is_adopted_is_refused(store: LocalStore, photo: Path) -> None:
    def grow(count: int) -> None:
        with photo.open("ab") as writer:
            writer.write(b"x")

    with pytest.raises(SubmissionError, match="changed while it was read"):
        store.adopt(photo, progress=grow)
