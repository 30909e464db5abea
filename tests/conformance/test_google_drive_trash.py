"""What lies in Drive's trash, moves, or is deleted: no file is delivered into a folder that nobody sees."""

from __future__ import annotations

import pytest
from servers.deliveries import at, later, names
from servers.google_drive_bench import LARGE
from servers.google_drive_deliveries import (
    FAIL,
    OVERWRITE,
    PATH,
    POLICIES,
    RENAME,
    STORED,
    connector,
    deliver,
    files,
    folder,
    half_sent,
    held,
    parcel,
    trash,
)
from servers.standins.google_drive import GoogleDrive, failing
from servers.standins.kit import Fault
from servers.standins.messages import Answer

from conveyor.contract import DeliveryError, ErrorKind, FoundKind, Target
from conveyor.kit import folders
from conveyor.testing.harness import HarnessContext, SimpleMemory

pytestmark = pytest.mark.server


@pytest.fixture
def standin(google_drive_standin: GoogleDrive) -> GoogleDrive:
    return google_drive_standin


def lost_end(size: int) -> Fault:
    """The answer that a file is there gets lost."""
    return Fault("chunk", lost=True, after=3) if size == LARGE else Fault("upload", lost=True)


@pytest.mark.parametrize(
    ("target", "size", "which"),
    [*((target, 100, "inbox") for target in POLICIES), (RENAME, 0, "Conveyor"), (OVERWRITE, LARGE, "inbox")],
)
def test_a_folder_that_is_trashed_gets_no_file(
    standin: GoogleDrive, target: Target, size: int, which: str
) -> None:
    sent = parcel(size)
    with connector(standin) as made:
        made.deliver(parcel(10), at("inbox/b.jpg"), HarnessContext())
        trash(folder(standin, which))
        standin.forget()
        receipt = made.deliver(sent, target, HarnessContext())
    assert (receipt.path, receipt.renamed, names(standin)) == (PATH, False, [STORED])
    assert held(standin, sent)
    assert standin.count("upload") == 1, "the bytes go once: the file is moved"
    assert standin.count("update") == 1


def test_a_folder_that_is_deleted_gets_no_file_either(standin: GoogleDrive) -> None:
    sent = parcel(100)
    with connector(standin) as made:
        made.deliver(parcel(10), at("inbox/b.jpg"), HarnessContext())
        with standin.lock:
            standin.remove(folder(standin, "Conveyor"))
        made.deliver(parcel(10), at("other/b.jpg"), HarnessContext())
        made.deliver(sent, FAIL, HarnessContext())
    assert held(standin, sent)


def test_a_new_folder_is_not_made_in_the_trash(standin: GoogleDrive) -> None:
    sent = parcel(100)
    with connector(standin) as made:
        made.deliver(parcel(10), at("inbox/b.jpg"), HarnessContext())
        trash(folder(standin, "Conveyor"))
        made.deliver(sent, at("other/a.jpg"), HarnessContext())
    assert names(standin) == ["Conveyor/other/a.jpg"]


def test_a_name_that_is_taken_where_the_file_is_moved_to(standin: GoogleDrive) -> None:
    sent = parcel(100)
    with connector(standin) as made:
        made.deliver(parcel(10), at("inbox/b.jpg"), HarnessContext())
        trash(folder(standin, "inbox"))
        standin.put(STORED, b"a stranger's")
        receipt = made.deliver(sent, RENAME, HarnessContext())
    assert (receipt.path, receipt.renamed) == ("inbox/a (1).jpg", True)
    assert names(standin) == ["Conveyor/inbox/a (1).jpg", STORED]


def test_the_next_attempt_moves_the_file_too(standin: GoogleDrive) -> None:
    sent, context, memory = parcel(100), HarnessContext(), SimpleMemory()
    with connector(standin, memory=memory) as made:
        made.deliver(parcel(10), at("inbox/b.jpg"), HarnessContext())
        trash(folder(standin, "inbox"))
        standin.faults.append(failing("update", "backendError"))
        with pytest.raises(DeliveryError):
            made.deliver(sent, FAIL, context)
    with connector(standin, memory=memory) as made:
        assert made.find(sent, FAIL, later(context)).kind is FoundKind.ABSENT
    standin.forget()
    deliver(standin, sent, FAIL, later(context), memory=memory)
    assert held(standin, sent)
    assert standin.count("upload") == 0


def test_the_destinations_own_folder_in_the_trash_is_said(standin: GoogleDrive) -> None:
    standin.put("Team/x", b"x")
    number = folder(standin, "Team").id
    sent, context = parcel(100), HarnessContext()
    trash(folder(standin, "Team"))
    for target in (at("a.jpg"), at("new/a.jpg")):
        with pytest.raises(DeliveryError, match="in Drive's trash") as failed:
            deliver(standin, sent, target, context, folder_id=number)
        assert failed.value.kind is ErrorKind.CONFIG
        assert "Restore" in str(failed.value.hint)
    folder(standin, "Team").meta["trashed"] = False
    assert deliver(standin, sent, at("a.jpg"), later(context), folder_id=number).size == 100


@pytest.mark.parametrize("size", [100, LARGE])
def test_a_file_that_somebody_trashes_after_its_answer_was_lost_is_not_there(
    standin: GoogleDrive, size: int
) -> None:
    sent, context = parcel(size), HarnessContext()
    standin.faults.append(
        Fault("upload" if size == 100 else "chunk", lost=True, after=0 if size == 100 else 3)
    )
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, sent, FAIL, context)
    assert failed.value.kind is ErrorKind.UNKNOWN_OUTCOME
    (made,) = files(standin)
    trash(made)
    with connector(standin) as other:
        assert other.find(sent, FAIL, later(context)).kind is FoundKind.ABSENT
    deliver(standin, sent, FAIL, later(context))
    assert held(standin, sent)
    assert len(files(standin)) == 2, "what is in the trash stays there"


@pytest.mark.parametrize("size", [100, LARGE])
def test_a_file_that_is_deleted_after_its_answer_was_lost_comes_back(standin: GoogleDrive, size: int) -> None:
    sent, context = parcel(size), HarnessContext()
    standin.faults.append(
        Fault("upload" if size == 100 else "chunk", lost=True, after=0 if size == 100 else 3)
    )
    with pytest.raises(DeliveryError):
        deliver(standin, sent, FAIL, context)
    with standin.lock:
        for node in files(standin):
            standin.remove(node)
        standin.sessions.clear()
    deliver(standin, sent, FAIL, later(context))
    assert held(standin, sent)


def test_a_file_that_is_trashed_while_it_is_answered_is_made_again(standin: GoogleDrive) -> None:
    sent, context = parcel(100), HarnessContext()
    gone = {"id": "x", "size": "100", "md5Checksum": sent.digests["md5"], "trashed": True}
    gone["explicitlyTrashed"] = True
    standin.faults.append(Fault("upload", Answer(200, gone), carried_out=True))
    with pytest.raises(DeliveryError, match="into the trash") as failed:
        deliver(standin, sent, FAIL, context)
    assert failed.value.kind is ErrorKind.TRANSIENT
    trash(files(standin)[0])
    deliver(standin, sent, FAIL, later(context))
    assert held(standin, sent)


def test_a_file_that_is_trashed_while_it_is_renewed(standin: GoogleDrive) -> None:
    deliver(standin, parcel(10), OVERWRITE)
    sent = parcel(100)
    with connector(standin) as made:
        made.deliver(parcel(10), at("inbox/b.jpg"), HarnessContext())
        context = HarnessContext(on_commit=lambda: trash(files(standin)[0]))
        receipt = made.deliver(sent, OVERWRITE, context)
    assert held(standin, sent)
    assert receipt.extra["file_id"] != files(standin)[0].id


@pytest.mark.parametrize("gone", [404, 410, 499])
def test_an_upload_that_was_cancelled_begins_anew(standin: GoogleDrive, gone: int) -> None:
    sent = parcel()
    context = half_sent(standin, sent)
    with connector(standin) as made:
        made.abandon(context.state, HarnessContext())
    standin.gone = gone
    standin.forget()
    second = later(context)
    deliver(standin, sent, FAIL, second)
    assert second.sent == LARGE
    assert held(standin, sent)


@pytest.mark.parametrize("which", ["inbox", "Conveyor"])
def test_a_folder_that_was_moved_is_found_out(
    standin: GoogleDrive, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "TRUSTED", 0.0)
    standin.put("Elsewhere/x", b"x")
    sent = parcel(100)
    with connector(standin) as made:
        made.deliver(parcel(10), at("inbox/b.jpg"), HarnessContext())
        folder(standin, which).meta["parents"] = [folder(standin, "Elsewhere").id]
        made.deliver(sent, FAIL, HarnessContext())
    assert held(standin, sent)


def test_my_drive_is_asked_for_once(standin: GoogleDrive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "TRUSTED", 0.0)
    with connector(standin) as made:
        for number in range(4):
            made.deliver(parcel(10), at(f"{number}.jpg"), HarnessContext())
    asked = [each.path.rpartition("/")[2] for each in standin.of("get")]
    assert asked.count("root") == 1
    assert len(set(asked)) == 2


def test_who_may_not_delete_puts_into_the_trash(standin: GoogleDrive) -> None:
    standin.faults.append(failing("delete", "insufficientFilePermissions", times=-1))
    with connector(standin) as made:
        assert all(step.done for step in made.check(HarnessContext()).steps)
    assert names(standin) == []
    assert standin.count("update") == 1
