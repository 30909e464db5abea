"""A full disk under the payload store: one clear error, nothing left, and it works again afterwards."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import disks

from conveyor.errors import PayloadError
from conveyor.payloads import LocalStore
from conveyor.payloads.local import MARKER

MIB = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 4 MiB; only root can mount one."""
    with disks.mounted(tmp_path / "disk", 4 * MIB) as disk:
        if disk is None:
            pytest.skip(f"{disks.WHY_NOT}; the injected faults below cover the same lines")
        yield disk.root


def left(root: Path) -> list[str]:
    return [path.name for path in root.rglob("*") if path.is_file() and path.name != MARKER]


def test_a_disk_that_fills_up_while_streaming(small_disk: Path) -> None:
    store = LocalStore(small_disk / "payloads")
    kept = store.put(io.BytesIO(bytes(MIB)))
    with pytest.raises(PayloadError, match="is full; nothing of the file was kept") as caught:
        store.put(io.BytesIO(bytes(8 * MIB)))
    assert "payloads:" in (caught.value.cure or "")
    assert len(left(store.root)) == 1
    assert store.put(io.BytesIO(bytes(2 * MIB))).size == 2 * MIB
    store.verify(kept)


def test_a_file_that_cannot_fit_is_refused_before_its_first_byte(small_disk: Path) -> None:
    store = LocalStore(small_disk / "payloads")
    stream = io.BytesIO(bytes(8 * MIB))
    with pytest.raises(PayloadError, match="bytes free; the file needs 8388608"):
        store.put(stream, size_hint=8 * MIB)
    assert stream.tell() == 0
    assert left(store.root) == []


@pytest.mark.parametrize("call", ["write", "fsync", "rename", "open"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES])
def test_every_call_that_can_fail_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    store = LocalStore(tmp_path / "payloads")
    store.put(io.BytesIO(b"first"))
    real = getattr(os, call)
    calls = 0

    def failing(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if call == "write" and calls == 1:  # a part goes out first, as on a real disk
            return real(arguments[0], memoryview(arguments[1])[:10])  # type: ignore[arg-type]
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with pytest.raises(PayloadError) as caught:
            store.put(io.BytesIO(bytes(100_000)))
    assert calls
    assert caught.value.cure
    assert len(left(store.root)) == 1
    store.put(io.BytesIO(b"works again"))


def test_a_folder_fsync_that_fails_takes_the_renamed_file_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path / "payloads")
    store.put(io.BytesIO(b"first"))
    real = os.fsync
    seen = 0

    def second_fails(fd: int) -> None:
        nonlocal seen
        seen += 1
        if seen == 2:
            raise OSError(errno.EIO, "Input/output error")
        real(fd)

    monkeypatch.setattr(os, "fsync", second_fails)
    with pytest.raises(PayloadError, match="make a file durable"):
        store.put(io.BytesIO(b"second"))
    assert seen == 2
    assert len(left(store.root)) == 1
