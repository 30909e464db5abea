"""When a file is complete, what is left alone, and where it goes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from conveyor import Conveyor, LedgerUnavailable, SubmissionError
from conveyor.testing import FakeClock
from conveyor_inbox.settings import Inbox
from conveyor_inbox.watching import Watcher


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def watcher(folder: Path, clock: FakeClock) -> Watcher:
    return Watcher(Inbox("studio", folder, tags=("from:inbox",)), clock.monotonic)


def jobs(conveyor: Conveyor) -> list[str]:
    """The file names of all deliveries, one destination each."""
    return sorted(conveyor.job(each.job_id).filename for each in conveyor.deliveries(limit=None))


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_file_is_taken_once_it_has_not_changed_for_long_enough(
    conveyor: Conveyor, context: Any, watcher: Watcher, folder: Path, clock: FakeClock
) -> None:
    (folder / "a.jpg").write_bytes(b"half")
    for more in (b"", b" and", b" half"):  # each 9 s after the one before
        with (folder / "a.jpg").open("ab") as file:
            file.write(more)
        watcher.look(context)
        clock.advance(9)
    assert jobs(conveyor) == []
    clock.advance(2)
    watcher.look(context)
    (delivery,) = conveyor.deliveries()
    job = conveyor.job(delivery.job_id)
    assert (job.filename, job.size, job.tags, job.source) == ("a.jpg", 13, ("from:inbox",), "inbox:studio")
    assert files(folder) == ["done/a.jpg"]
    clock.advance(60)
    watcher.look(context)
    assert len(jobs(conveyor)) == 1


def test_a_time_stamp_in_the_past_does_not_make_a_file_complete(
    conveyor: Conveyor, context: Any, watcher: Watcher, folder: Path
) -> None:
    (folder / "a.jpg").write_bytes(b"a")
    os.utime(folder / "a.jpg", (0, 0))
    watcher.look(context)
    assert jobs(conveyor) == []


@pytest.mark.parametrize("name", [".a.jpg.x7", "a.jpg.part", "a.jpg.TMP", "a.jpg.filepart"])
def test_a_file_that_was_renamed_in_is_taken_at_once(
    conveyor: Conveyor, context: Any, watcher: Watcher, folder: Path, clock: FakeClock, name: str
) -> None:
    (folder / name).write_bytes(b"a")
    watcher.look(context)
    clock.advance(3600)
    watcher.look(context)
    assert jobs(conveyor) == []  # whatever time passes
    (folder / name).rename(folder / "a.jpg")
    watcher.look(context)
    assert jobs(conveyor) == ["a.jpg"]


def test_an_inode_given_to_another_file_is_no_renaming(
    conveyor: Conveyor, context: Any, watcher: Watcher, folder: Path
) -> None:
    """File systems reuse inodes at once; here the same one, written to again."""
    (folder / "a.part").write_bytes(b"a")
    watcher.look(context)
    (folder / "a.part").rename(folder / "b.jpg")
    (folder / "b.jpg").write_bytes(b"half of another")
    watcher.look(context)
    assert jobs(conveyor) == []


def test_only_regular_files_of_the_folder_itself_are_taken(
    conveyor: Conveyor, context: Any, watcher: Watcher, folder: Path, clock: FakeClock, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(b"elsewhere")
    (folder / "link.jpg").symlink_to(tmp_path / "secret")
    (folder / "below").mkdir()
    (folder / "below" / "a.jpg").write_bytes(b"a")
    os.mkfifo(folder / "pipe")
    watcher.look(context)
    clock.advance(60)
    watcher.look(context)
    assert jobs(conveyor) == []
    assert (folder / "link.jpg").is_symlink()


def test_a_name_that_comes_again_is_a_file_of_its_own_and_replaces_none(
    conveyor: Conveyor, context: Any, watcher: Watcher, folder: Path, clock: FakeClock
) -> None:
    for number in range(3):
        (folder / "latest.jpg").write_bytes(b"%d" % number)
        watcher.look(context)
        clock.advance(11)
        watcher.look(context)
    assert jobs(conveyor) == ["latest.jpg"] * 3
    done = [path.read_bytes() for path in (folder / "done").iterdir()]
    assert sorted(done) == [b"0", b"1", b"2"]


def test_names_of_any_kind_arrive(
    conveyor: Conveyor, context: Any, watcher: Watcher, folder: Path, clock: FakeClock
) -> None:
    names = ["Müller \U0001f4f7.jpg", "x" * 251 + ".jpg", os.fsdecode(b"latin\xe4.jpg"), "two\nlines.jpg"]
    for _ in range(2):
        for name in names:
            (folder / name).write_bytes(os.urandom(8))
        watcher.look(context)
        clock.advance(11)
        watcher.look(context)
    assert len(jobs(conveyor)) == 2 * len(names)
    assert len(files(folder / "done")) == 2 * len(names)


def test_a_file_that_is_replaced_while_it_is_taken_waits_anew(
    conveyor: Conveyor, context: Any, watcher: Watcher, folder: Path, clock: FakeClock, monkeypatch: Any
) -> None:
    """What was looked at and what is renamed need not be the same file."""
    (folder / "a.jpg").write_bytes(b"first")
    watcher.look(context)
    clock.advance(11)
    rename = os.rename

    def replaced(source: Path, target: Path) -> None:
        if source.parent == folder:
            (folder / ".new").write_bytes(b"second, and not whole")
            rename(folder / ".new", source)
        rename(source, target)

    monkeypatch.setattr(os, "rename", replaced)
    watcher.look(context)
    monkeypatch.undo()
    assert jobs(conveyor) == []
    watcher.look(context)
    clock.advance(11)
    watcher.look(context)
    assert jobs(conveyor) == ["a.jpg"]
    assert (folder / "done" / "a.jpg").read_bytes() == b"second, and not whole"


def test_a_file_that_is_written_to_after_it_was_submitted_is_submitted_once_more(
    conveyor: Conveyor, context: Any, watcher: Watcher, folder: Path, clock: FakeClock
) -> None:
    """Its writer paused for longer than ``settle``: rather twice than half."""
    writer = (folder / "a.jpg").open("wb", buffering=0)
    writer.write(b"half")
    watcher.look(context)
    clock.advance(11)
    submit = context.submit

    def submitted(item: Any) -> None:
        submit(item)
        writer.write(b" and half")

    context.submit = submitted
    watcher.look(context)
    context.submit = submit
    writer.close()
    ((event, _),) = context.warnings
    assert event == "a file was written to after it was submitted"
    watcher.look(context)
    clock.advance(11)
    watcher.look(context)
    assert sorted(conveyor.job(each.job_id).size for each in conveyor.deliveries()) == [4, 13]
    assert files(folder) == ["done/a.jpg"]


def test_a_refused_file_stays_is_named_and_tried_ever_later(
    conveyor: Conveyor, context: Any, watcher: Watcher, folder: Path, clock: FakeClock
) -> None:
    tries: list[float] = []

    def refuse() -> None:
        tries.append(clock.monotonic())
        if len(tries) < 4:
            raise SubmissionError("too large for there")

    context.before = refuse
    (folder / "a.jpg").write_bytes(b"a")
    (folder / "b.jpg").write_bytes(b"b")
    watcher.look(context)
    (folder / "b.jpg").unlink()
    for _ in range(60):
        clock.advance(1)
        watcher.look(context)
    assert [round(later - tries[0]) for later in tries] == [0, 5, 15, 35]
    assert {fields["error"] for _, fields in context.warnings} == {"too large for there"}
    assert jobs(conveyor) == ["a.jpg"]


def test_a_ledger_that_is_away_ends_the_run_and_loses_nothing(
    conveyor: Conveyor, context: Any, watcher: Watcher, folder: Path, clock: FakeClock
) -> None:
    def away() -> None:
        raise LedgerUnavailable("away")

    context.before = away
    (folder / "a.jpg").write_bytes(b"a")
    watcher.look(context)
    clock.advance(11)
    with pytest.raises(LedgerUnavailable):
        watcher.look(context)
    context.before = lambda: None
    watcher.look(context)
    assert jobs(conveyor) == ["a.jpg"]


def test_it_ends_between_two_files_when_told_to(
    conveyor: Conveyor, context: Any, folder: Path, clock: FakeClock
) -> None:
    for name in "abc":
        (folder / name).write_bytes(name.encode())
    context._waits = lambda _: len(conveyor.deliveries()) > 0
    Watcher(Inbox("studio", folder, settle=0), clock.monotonic).run(context)
    assert len(jobs(conveyor)) == 1
    context._waits = lambda seconds: seconds > 0
    Watcher(Inbox("studio", folder, settle=0), clock.monotonic).run(context)
    assert jobs(conveyor) == ["a", "b", "c"]


def test_a_share_that_is_away_is_told_and_not_replaced(context: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Watcher(Inbox("studio", tmp_path / "away")).run(context)
    assert context.warnings[0][1]["folder"] == str(tmp_path / "away")
    assert not (tmp_path / "away").exists()
