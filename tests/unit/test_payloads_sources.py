from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO

import pytest

from conveyor.errors import Exit, SubmissionError, UsageError
from conveyor.payloads.sources import open_source
from conveyor.payloads.sources.media import base_name, guess, readable, valid


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "IMG 1.HEIC"
    path.write_bytes(bytes(300_000))
    os.utime(path, (1_000, 1_000))
    return path


def test_a_file_brings_name_type_size_and_bytes(photo: Path) -> None:
    for given in (photo, str(photo)):
        with open_source(given) as source:
            assert (source.name, source.media_type, source.size) == ("IMG 1.HEIC", "image/heic", 300_000)
            assert source.stream.read() == bytes(300_000)
            source.recheck()


def test_bytes_and_streams() -> None:
    with open_source(b"abc") as source:
        assert (source.name, source.size, source.stream.read()) == (None, 3, b"abc")
    stream = io.BytesIO(b"abcdef")
    stream.seek(2)
    with open_source(stream) as source:
        assert (source.size, source.stream.read()) == (4, b"cdef")
    assert not stream.closed, "the caller's stream is the caller's to close"


def test_an_open_file_gives_its_name_and_a_pipe_has_no_size(photo: Path) -> None:
    with photo.open("rb") as file, open_source(file) as source:
        assert (source.name, source.size) == ("IMG 1.HEIC", 300_000)
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as out:
        out.write(b"piped")
    with os.fdopen(reading, "rb") as pipe, open_source(pipe) as source:
        assert (source.name, source.size, source.stream.read()) == (None, None, b"piped")


def test_a_stream_without_readinto() -> None:
    class Plain:
        def __init__(self) -> None:
            self.inner = io.BytesIO(b"plain")

        def read(self, size: int = -1, /) -> bytes:
            return self.inner.read(size)

    with open_source(Plain()) as source:  # type: ignore[arg-type]
        assert (source.size, source.stream.read()) == (None, b"plain")


@pytest.mark.parametrize(
    ("given", "error", "said", "code"),
    [
        ("missing.jpg", SubmissionError, "there is no file", Exit.FAILED),
        (".", UsageError, "is a folder", Exit.USAGE),
        ("ftp://host/file", SubmissionError, "ftp:// cannot be submitted", Exit.FAILED),
        ("https://host/file", SubmissionError, "without a network policy", Exit.FAILED),
        (io.StringIO("text"), SubmissionError, "text, not bytes", Exit.FAILED),
        (7, SubmissionError, "a int cannot be submitted", Exit.FAILED),
        ("/dev/null", SubmissionError, "not a regular file", Exit.FAILED),
    ],
)
def test_what_cannot_be_submitted(given: object, error: type[SubmissionError], said: str, code: Exit) -> None:
    with pytest.raises(error, match=said) as caught:
        open_source(given)  # type: ignore[arg-type]
    assert caught.value.exit_code is code
    assert caught.value.cure or "policy" in said


def test_a_pipe_in_the_file_system_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SubmissionError, match="not a regular file"):
        open_source(tmp_path / "pipe")


def test_an_unreadable_file_says_so(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object, **options: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(SubmissionError, match="may not be read") as caught:
        open_source(photo)
    assert "permission" in (caught.value.cure or "")


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other")
    os.utime(path, (2_000, 2_000))


def _replace(path: Path) -> None:
    new = path.with_name("new")
    new.write_bytes(path.read_bytes())
    os.utime(new, (1_000, 1_000))
    new.rename(path)


@pytest.mark.parametrize(
    "change", [_append, _rewrite, _replace, Path.unlink, lambda path: os.truncate(path, 200_000)]
)
def test_a_file_that_changes_while_it_is_read_is_refused(photo: Path, change: object) -> None:
    with open_source(photo) as source:
        assert source.stream.read(100_000)
        change(photo)  # type: ignore[operator]
        with pytest.raises(SubmissionError, match="changed while it was read"):
            source.stream.read()


def test_a_file_that_changes_after_it_was_read_is_noticed_by_recheck(photo: Path) -> None:
    with open_source(photo) as source:
        source.stream.read()
        _rewrite(photo)
        with pytest.raises(SubmissionError, match="changed"):
            source.recheck()
    with pytest.raises(SubmissionError, match="changed"):
        source.recheck()


def test_a_file_that_never_stops_growing_is_refused_at_its_first_extra_byte(photo: Path) -> None:
    with open_source(photo) as source:
        _append(photo)
        with pytest.raises(SubmissionError, match="grew beyond 300000 bytes"):
            source.stream.read()


def test_a_stream_that_ends_early_is_refused() -> None:
    class Liar(io.BytesIO):
        def seek(self, offset: int, whence: int = 0, /) -> int:
            return super().seek(offset, whence) + (10 if whence == os.SEEK_END else 0)

    stream: BinaryIO = Liar(b"abc")
    with open_source(stream) as source, pytest.raises(SubmissionError, match="ended after 3 of 13"):
        source.stream.read()


def test_a_name_that_is_not_utf8_is_kept_readable(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    with open(path, "wb") as file:
        file.write(b"x")
    with open_source(os.fsdecode(path)) as source:
        assert source.name == "café.jpg"
    assert readable("plain") == "plain"


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.JPG", "image/jpeg"),
        ("a.heic", "image/heic"),
        ("a.tar.gz", "application/octet-stream"),
        ("README", "application/octet-stream"),
        ("", "application/octet-stream"),
        ("a.png", "image/png"),
    ],
)
def test_guessing_the_media_type(name: str, media_type: str) -> None:
    assert guess(name) == media_type


def test_media_types_and_names_from_outside() -> None:
    assert valid("Image/JPEG; q=1") == "image/jpeg"
    assert valid("image") is valid("a/b\r\nX: y") is valid("") is valid(None) is None
    assert base_name("C:\\x\\a.jpg") == base_name("/y/a.jpg") == "a.jpg"
    assert base_name("..") is base_name("/") is base_name("") is None
