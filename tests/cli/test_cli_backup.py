"""``conveyor backup`` and ``conveyor restore``, whatever happens on the way."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.commandline import CommandLine
from servers import disks

FILES = 6
URL = "http://127.0.0.1:9/"

DIES = """
import os
real, seen = os.{call}, 0
def dies(*arguments, **named):
    global seen
    seen += 1
    if seen == {turn}:
        os._exit(9)
    return real(*arguments, **named)
os.{call} = dies
"""
"""As SIGKILL would end it at the n-th such call: nothing is tidied up, locks go."""

OTHER_DISK = """
import os
def link(*arguments, **named):
    raise OSError(18, "Invalid cross-device link")
os.link = link
"""


@pytest.fixture
def old(tmp_path: Path) -> CommandLine:
    """An installation with files that wait."""
    line = CommandLine(tmp_path / "old")
    line.folder.mkdir()
    line.config(URL)
    files = [str(line.file(f"{number}.jpg", os.urandom(50_000))) for number in range(FILES)]
    assert line.run("send", *files).code == 0
    return line


@pytest.fixture
def new(tmp_path: Path) -> CommandLine:
    line = CommandLine(tmp_path / "new")
    line.folder.mkdir()
    line.config(URL)
    return line


def is_whole(line: CommandLine) -> bool:
    """Everything that was submitted is there, and nothing else."""
    waiting = line.rows("SELECT count(*) FROM deliveries WHERE status = 'pending'") == [(FILES,)]
    rows = line.rows("SELECT location, size FROM payloads WHERE state = 'present'")
    sizes = {
        path.relative_to(line.folder / "payloads").as_posix(): path.stat().st_size for path in line.payloads()
    }
    return waiting and dict(rows) == sizes and (line.folder / "conveyor.key").is_file()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_it_is_made_and_restored(old: CommandLine, new: CommandLine, tmp_path: Path) -> None:
    said = old.run("backup", "../backup")
    assert (said.code, said.err) == (0, "")
    assert f"{FILES} deliveries ({FILES} pending)" in said.out
    assert f"payloads: {FILES}, {FILES} of them linked" in said.out
    checked = new.run("restore", "../backup", "--dry-run")
    assert (checked.code, "is whole and can be restored here" in checked.out) == (0, True)
    assert names(new.folder) == {"conveyor.yaml"}
    restored = new.run("restore", "../backup", "--json").json
    assert restored["deliveries"] == {"pending": FILES}
    assert restored["backup"]["payloads"]["count"] == FILES
    assert is_whole(new)
    again = new.run("restore", "../backup")
    assert (again.code, "there is a ledger already" in again.err) == (1, True)
    key = (old.folder / "conveyor.key").read_text().strip()
    assert key == (new.folder / "conveyor.key").read_text().strip()
    for ended in (said, checked):
        assert key not in ended.out + ended.err
    assert key not in json.dumps(restored)
    assert names(tmp_path) == {"old", "new", "backup"}


def test_a_backup_that_lacks_something_says_so(old: CommandLine) -> None:
    old.payloads()[0].unlink()
    ended = old.run("backup", "../backup", "--no-key")
    assert ended.code == 1
    assert "is not in it: the payload pay_" in ended.err
    assert "left out: keep it elsewhere" in ended.out


@pytest.mark.parametrize(
    ("call", "turn"),
    [
        pytest.param("link", 3, id="linking"),
        pytest.param("fsync", FILES + 2, id="copying", marks=pytest.mark.long),
        pytest.param("rename", 1, id="publishing"),
    ],
)
def test_a_backup_that_dies_is_none_and_the_next_one_is(
    old: CommandLine, new: CommandLine, tmp_path: Path, call: str, turn: int
) -> None:
    before = OTHER_DISK if turn > FILES else ""
    assert old.run("backup", "../backup", before=before + DIES.format(call=call, turn=turn)).code == 9
    assert names(tmp_path) == {"old", "new", ".backup.partial"}
    assert (tmp_path / ".backup.partial" / "manifest.json").exists() is (call == "rename")
    assert old.run("backup", "../backup").code == 0
    assert names(tmp_path) == {"old", "new", "backup"}
    assert new.run("restore", "../backup").code == 0
    assert is_whole(new)


@pytest.mark.parametrize(
    ("call", "turn"),
    [
        pytest.param("replace", 4, id="payload"),
        pytest.param("link", FILES + 1, id="key", marks=pytest.mark.long),
        pytest.param("link", FILES + 2, id="ledger"),
    ],
)
def test_a_restore_that_dies_is_no_installation_and_is_repeated(
    old: CommandLine, new: CommandLine, call: str, turn: int
) -> None:
    assert old.run("backup", "../backup").code == 0
    shutil.rmtree(old.folder)
    assert new.run("restore", "../backup", before=DIES.format(call=call, turn=turn)).code == 9
    assert not (new.folder / "conveyor.db").exists()
    assert ".conveyor.db.restoring" in names(new.folder)
    assert new.run("restore", "../backup").code == 0
    left = {name for name in names(new.folder) if not name.startswith(".conveyor.key.")}
    assert left == {"conveyor.yaml", "conveyor.db", "conveyor.key", "payloads"}
    assert is_whole(new)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MiB; only root can mount one."""
    with disks.mounted(tmp_path / "disk", 1 << 20) as disk:
        if disk is None:
            pytest.skip(disks.WHY_NOT)
        yield disk.root


@pytest.mark.parametrize("size", [2_000_000, 50_000], ids=["payloads", "ledger"])
def test_a_full_disk_is_one_error_and_leaves_nothing(old: CommandLine, small_disk: Path, size: int) -> None:
    if size < 1_000_000:
        (small_disk / "others").write_bytes(bytes(900_000))
    else:
        assert old.run("send", str(old.file("large.jpg", bytes(size)))).code == 0
    ended = old.run("backup", str(small_disk / "backup"))
    assert ended.code == 1
    assert ended.err.startswith(f"error: the disk of {small_disk} is full; nothing was kept\n  →")
    assert names(small_disk) <= {"others"}
