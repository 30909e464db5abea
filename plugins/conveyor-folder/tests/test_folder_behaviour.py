"""What only a folder can do wrong: symlinks, mounts that are away, durability, what others put in the way."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conveyor.contract import ConflictPolicy, DeliveryError, ErrorKind, FoundKind, Receipt, Target
from conveyor.testing import HarnessContext, make_env, make_parcel
from conveyor_folder.connector import FolderConnector
from conveyor_folder.options import FolderOptions

BYTES = b"a photo"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Where nothing may ever arrive."""
    (tmp_path / "outside").mkdir()
    return tmp_path / "outside"


def connector(root: Path, **options: Any) -> FolderConnector:
    return FolderConnector(FolderOptions(path=root, **options), make_env())


def deliver(
    root: Path,
    path: str = "in/photo.jpg",
    conflict: ConflictPolicy = ConflictPolicy.RENAME,
    context: HarnessContext | None = None,
    **options: Any,
) -> Receipt:
    target = Target(path, conflict)
    return connector(root, **options).deliver(make_parcel(BYTES), target, context or HarnessContext())


def refused(root: Path, *args: Any, **options: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as told:
        deliver(root, *args, **options)
    return told.value


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


@pytest.mark.parametrize("policy", list(ConflictPolicy))
@pytest.mark.parametrize("path", ["in/photo.jpg", "in/deeper/photo.jpg"])
def test_a_level_that_is_a_symlink_is_not_followed(
    root: Path, outside: Path, policy: ConflictPolicy, path: str
) -> None:
    (root / "in").symlink_to(outside)
    told = refused(root, path, policy)
    assert told.kind is ErrorKind.NAME
    assert "symlink" in told.message
    assert files(outside) == []


def test_a_level_that_becomes_a_symlink_meanwhile_leads_nobody_out(root: Path, outside: Path) -> None:
    def swap(_: int) -> None:
        if not (root / "in").is_symlink():
            (root / "in").rename(root / "moved")
            (root / "in").symlink_to(outside)

    deliver(root, context=HarnessContext(on_progress=swap))
    assert files(outside) == []
    assert (root / "moved" / "photo.jpg").read_bytes() == BYTES


@pytest.mark.parametrize("dangling", [False, True])
def test_a_symlink_under_the_name_is_replaced_or_spared_but_never_written_through(
    root: Path, outside: Path, dangling: bool
) -> None:
    theirs = outside / "theirs.jpg"
    if not dangling:
        theirs.write_bytes(b"theirs")
    (root / "photo.jpg").symlink_to(theirs)
    assert deliver(root, "photo.jpg").path == "photo (1).jpg"
    assert refused(root, "photo.jpg", ConflictPolicy.FAIL).kind is ErrorKind.CONFLICT
    assert deliver(root, "photo.jpg", ConflictPolicy.SKIP).skipped
    assert (root / "photo.jpg").is_symlink()
    deliver(root, "photo.jpg", ConflictPolicy.OVERWRITE)
    assert not (root / "photo.jpg").is_symlink()
    assert theirs.exists() is not dangling
    if not dangling:
        assert theirs.read_bytes() == b"theirs"


def test_abandon_follows_no_symlink(root: Path, outside: Path) -> None:
    (outside / ".dlv.1.part").write_bytes(b"theirs")
    (root / "in").symlink_to(outside)
    with pytest.raises(DeliveryError) as told:
        connector(root).abandon({"temporary": ".dlv.1.part", "folder": ["in"]}, HarnessContext())
    assert told.value.kind is ErrorKind.NAME
    assert files(outside) == [".dlv.1.part"]


@pytest.mark.parametrize("path", ["../photo.jpg", "in/../../photo.jpg", "in//photo.jpg", "./photo.jpg"])
def test_a_path_that_climbs_is_refused(root: Path, outside: Path, path: str) -> None:
    assert refused(root, path).kind is ErrorKind.NAME
    assert files(root.parent) == []


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["fifo", "folder"])
def test_find_does_not_wait_for_what_is_no_file(root: Path, make: Callable[[Path], None]) -> None:
    make(root / "photo.jpg")
    target = Target("photo.jpg", ConflictPolicy.RENAME)
    found = connector(root).find(make_parcel(BYTES), target, HarnessContext())
    assert found.kind is FoundKind.OTHER


def test_a_folder_under_the_name_is_not_replaced(root: Path) -> None:
    (root / "photo.jpg").mkdir()
    assert refused(root, "photo.jpg", ConflictPolicy.OVERWRITE).kind is ErrorKind.NAME
    assert files(root) == []


def test_without_its_marker_the_folder_is_not_touched(root: Path) -> None:
    told = refused(root, marker=".mounted")
    assert (told.kind, told.hint) == (ErrorKind.CONFIG, "Mount it, or create .mounted in it.")
    assert list(root.iterdir()) == []
    (root / ".mounted").touch()
    deliver(root, marker=".mounted")
    assert files(root) == [".mounted", "in/photo.jpg"]


def test_bytes_and_names_are_synced_in_that_order(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a power failure leaves is either nothing under the name, or the whole file."""
    calls: list[str] = []
    sync, link = os.fsync, os.link

    def synced(file: int) -> None:
        calls.append(Path(f"/proc/self/fd/{file}").readlink().name.partition(".dlv")[1] or "folder")
        sync(file)

    def linked(*args: Any, **options: Any) -> None:
        calls.append("link")
        link(*args, **options)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "link", linked)
    deliver(root)
    assert calls == ["folder", ".dlv", "link", "folder"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_links_is_refused_rather_than_raced(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    told = refused(root)
    assert told.kind is ErrorKind.CONFIG
    assert "overwrite" in (told.hint or "")
    assert files(root) == []
    deliver(root, conflict=ConflictPolicy.OVERWRITE)
    assert files(root) == ["in/photo.jpg"]
    with pytest.raises(DeliveryError, match="hard links"):
        connector(root).check(HarnessContext())


@pytest.mark.parametrize("read_back", [True, False])
def test_a_folder_that_changes_bytes_is_noticed_when_asked(
    root: Path, monkeypatch: pytest.MonkeyPatch, read_back: bool
) -> None:
    def spoil(*_: object) -> None:
        (temporary,) = (root / "in").iterdir()
        temporary.write_bytes(b"A" + BYTES[1:])

    monkeypatch.setattr(os, "posix_fadvise", spoil)
    if read_back:
        assert refused(root).kind is ErrorKind.INTEGRITY
        assert files(root) == []
    else:
        assert deliver(root, read_back=False).verified == "size"


def test_a_strangers_equal_file_is_not_claimed_by_an_attempt_that_died_before_its_link(root: Path) -> None:
    """The saved name alone proves nothing: the inode does."""
    (root / "in").mkdir()
    (root / "in" / "photo.jpg").write_bytes(BYTES)
    state = {"path": "in/photo.jpg", "inode": 1, "temporary": ".x.1.part", "folder": ["in"]}
    context = HarnessContext(state, attempt=2, fence=2)
    receipt = deliver(root, context=context)
    assert receipt.renamed
    assert len(files(root)) == 2
