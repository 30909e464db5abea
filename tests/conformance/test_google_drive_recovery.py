"""Lost answers, workers that die or race, tokens that end, odd answers: one file, with the right bytes."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from servers.deliveries import at, later, names
from servers.google_drive_bench import DRIVE, LARGE, UNIT
from servers.google_drive_deliveries import (
    FAIL,
    OVERWRITE,
    POLICIES,
    RENAME,
    STORED,
    connector,
    deliver,
    files,
    half_sent,
    held,
    parcel,
    tried,
)
from servers.standins.google_drive import GoogleDrive, said
from servers.standins.google_drive.state import FOLDER
from servers.standins.kit import Fault
from servers.standins.messages import Answer

from conveyor.contract import DeliveryError, ErrorKind, FoundKind, Parcel, Receipt, Scope, Target
from conveyor.kit.turns import Turns
from conveyor.testing.harness import HarnessContext, SimpleMemory
from conveyor_connectors.google_drive import placing

pytestmark = pytest.mark.server

RETRIED = (ErrorKind.TRANSIENT, ErrorKind.UNKNOWN_OUTCOME)


@pytest.fixture
def standin(google_drive_standin: GoogleDrive) -> GoogleDrive:
    return google_drive_standin


def folders(standin: GoogleDrive) -> list[str]:
    """Names of the folders that were made."""
    with standin.lock:
        made = [node.meta for node in standin.nodes.values() if node.id != standin.root]
        return sorted(meta["name"] for meta in made if meta["mimeType"] == FOLDER)


# --- resuming -----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", POLICIES, ids=lambda target: target.conflict.value)
def test_another_worker_sends_only_what_is_missing(standin: GoogleDrive, target: Target) -> None:
    sent = parcel()
    memory = SimpleMemory()
    context = half_sent(standin, sent, target, memory=memory)
    standin.forget()
    second = later(context)
    receipt = deliver(standin, sent, target, second, memory=memory)
    asked = [each for each in standin.seen if each.status is not None]  # the cut chunk may be noted late
    # The file of the saved id, the two folders and My Drive, the name, how far it came, the rest.
    assert [each.route for each in asked] == ["get", "get", "get", "get", "list", "chunk", "chunk"]
    assert [each.headers["Content-Range"] for each in asked[-2:]] == [
        f"bytes */{LARGE}",
        f"bytes {3 * UNIT}-{LARGE - 1}/{LARGE}",
    ]
    assert second.sent == LARGE - 3 * UNIT
    assert (receipt.verified, receipt.renamed) == ("md5", False)
    assert held(standin, sent)


def test_chunks_that_drive_keeps_a_part_of_are_continued_there(standin: GoogleDrive) -> None:
    standin.short = 1
    sent = parcel()
    deliver(standin, sent, chunk_size=2 * UNIT)
    starts = [each.headers["Content-Range"].partition("-")[0] for each in standin.of("chunk")]
    assert starts == [f"bytes {number * UNIT}" for number in range(3)]
    assert held(standin, sent)


def test_an_upload_that_stands_still_ends(standin: GoogleDrive) -> None:
    standin.faults.append(Fault("chunk", Answer(308), times=-1))
    with pytest.raises(DeliveryError, match="kept nothing") as failed:
        deliver(standin, parcel())
    assert failed.value.kind is ErrorKind.TRANSIENT
    assert standin.count("chunk") == 1


# --- lost answers -------------------------------------------------------------------------------


LOST: dict[str, Any] = {"lost": True}
BROKEN: dict[str, Any] = {"answer": Answer(503), "carried_out": True}


@pytest.mark.parametrize(
    ("size", "target", "fault"),
    [(0, RENAME, LOST), (100, RENAME, LOST), (100, OVERWRITE, BROKEN), (LARGE, RENAME, LOST)],
)
def test_an_answer_lost_at_any_step_makes_nothing_twice(
    standin: GoogleDrive, size: int, target: Target, fault: dict[str, Any]
) -> None:
    sent = parcel(size)
    for step in range(30):
        standin.reset()
        context, memory = HarnessContext(), SimpleMemory()
        standin.faults.append(Fault("*", after=step, **fault))
        outcome = tried(standin, sent, target, context, memory=memory)
        if not isinstance(outcome, DeliveryError):
            break
        assert outcome.kind in RETRIED, step
        with connector(standin, memory=memory) as made:
            found = made.find(sent, target, later(context))
            assert found.kind is (FoundKind.MINE if held(standin, sent) else FoundKind.ABSENT), step
        receipt = deliver(standin, sent, target, later(context), memory=memory)
        assert (receipt.renamed, names(standin), len(files(standin))) == (False, [STORED], 1), step
        assert held(standin, sent), step
        assert folders(standin) == ["Conveyor", "inbox"], step
    assert step == (11 if size == LARGE else 7), "each of its requests was lost once"


@pytest.mark.parametrize(("size", "route"), [(100, "create"), (100, "upload"), (LARGE, "chunk")])
def test_a_lost_answer_is_settled_though_the_listing_lags(
    standin: GoogleDrive, size: int, route: str
) -> None:
    standin.lag = 60.0
    sent, context, memory = parcel(size), HarnessContext(), SimpleMemory()
    standin.faults.append(Fault(route, lost=True, after=3 if route == "chunk" else 0))
    assert isinstance(tried(standin, sent, RENAME, context, memory=memory), DeliveryError)
    assert standin.count(route) == (4 if route == "chunk" else 1), "what was lost was not sent again"
    receipt = deliver(standin, sent, RENAME, later(context), memory=memory)
    assert (receipt.renamed, names(standin), folders(standin)) == (False, [STORED], ["Conveyor", "inbox"])


@pytest.mark.parametrize("size", [100, LARGE])
def test_a_file_that_is_renewed_once_though_the_answer_was_lost(standin: GoogleDrive, size: int) -> None:
    deliver(standin, parcel(10), OVERWRITE)
    sent, context = parcel(size), HarnessContext()
    standin.faults.append(
        Fault("chunk", lost=True, after=3) if size == LARGE else Fault("upload_again", lost=True)
    )
    with pytest.raises(DeliveryError):
        deliver(standin, sent, OVERWRITE, context)
    deliver(standin, sent, OVERWRITE, later(context))
    assert held(standin, sent)
    assert [len(node.versions) for node in files(standin)] == [2]


# --- racing -------------------------------------------------------------------------------------


def race(standin: GoogleDrive, sent: list[Parcel], target: Target) -> list[Receipt | DeliveryError]:
    """Each by a worker of its own, at once, with one memory; errors are tried again."""
    memory, outcomes = SimpleMemory(), dict[int, Receipt | DeliveryError]()
    start = threading.Barrier(len(sent))

    def work(number: int) -> None:
        context = HarnessContext()
        start.wait(10)
        outcomes[number] = tried(standin, sent[number], target, context, memory=memory, fresh=False)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(sent))]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return [outcomes[number] for number in range(len(sent))]


def test_workers_that_race_for_a_name_and_for_new_folders(standin: GoogleDrive) -> None:
    standin.lag = 30.0  # none of them sees what another has made but by what they share
    sent = [parcel(bytes([number]) * 1000) for number in range(5)]
    receipts = race(standin, sent, RENAME)
    assert folders(standin) == ["Conveyor", "inbox"]
    assert all(isinstance(each, Receipt) for each in receipts)
    paths = {each.path for each in receipts if isinstance(each, Receipt)}
    assert {f"Conveyor/{path}" for path in paths} == set(names(standin))
    assert len(paths) == len(sent)


def test_of_workers_that_race_under_fail_one_wins(standin: GoogleDrive) -> None:
    sent = [parcel(bytes([number]) * 1000) for number in range(4)]
    outcomes = race(standin, sent, FAIL)
    lost = [each.kind for each in outcomes if isinstance(each, DeliveryError)]
    assert lost == [ErrorKind.CONFLICT] * 3
    assert names(standin) == [STORED]


def test_two_attempts_of_one_delivery_at_once_make_one_file(
    standin: GoogleDrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that was taken for dead ends its upload while its successor does."""
    sent = parcel()
    context = half_sent(standin, sent)
    outcomes: list[Receipt] = []

    def overtake() -> None:
        if not outcomes:
            monkeypatch.setattr(placing, "_TURNS", Turns())  # as in another process
            outcomes.append(deliver(standin, sent, FAIL, later(context)))

    second = HarnessContext(context.state, attempt=2, fence=2, on_commit=overtake)
    overtaken = tried(standin, sent, FAIL, second)
    assert isinstance(overtaken, DeliveryError)
    assert overtaken.kind is ErrorKind.UNKNOWN_OUTCOME
    outcomes.append(deliver(standin, sent, FAIL, later(second)))
    assert len({each.reference for each in outcomes}) == 1
    assert len(files(standin)) == 1
    assert held(standin, sent)


# --- tokens, pauses, space ----------------------------------------------------------------------


def test_a_token_that_ends_in_mid_upload_is_renewed_once(standin: GoogleDrive) -> None:
    first, second = (standin.sign_in(DRIVE)[0] for _ in range(2))
    sent = parcel()

    def end(count: int) -> None:
        if count > UNIT:
            standin.refused_tokens.add(first)

    deliver(standin, sent, FAIL, HarnessContext(on_progress=end), tokens=(first, second))
    assert held(standin, sent)
    assert [each.route for each in standin.seen if each.status == 401] == ["chunk"]
    assert standin.count("upload") == 1


def test_a_token_that_ends_before_a_small_file(standin: GoogleDrive) -> None:
    first, second = (standin.sign_in(DRIVE)[0] for _ in range(2))
    sent = parcel(1000)
    # Saving the id is the last thing before the file is sent.
    context = HarnessContext(on_save=lambda state: standin.refused_tokens.add(first))
    deliver(standin, sent, FAIL, context, tokens=(first, second))
    assert held(standin, sent)
    assert [each.route for each in standin.seen if each.status == 401] == ["upload"]


@pytest.mark.parametrize("reason", ["userRateLimitExceeded", "rateLimitExceeded", "tooManyRequests"])
@pytest.mark.parametrize("route", ["list", "generate_ids", "create", "upload", "chunk"])
def test_throttling_says_how_long_and_concerns_the_account(
    standin: GoogleDrive, reason: str, route: str
) -> None:
    standin.faults.append(Fault(route, said(reason, Retry_After="37")))
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, parcel())
    error = failed.value
    assert (error.kind, error.retry_after, error.scope) == (ErrorKind.THROTTLED, 37.0, Scope.CONNECTION)
    assert standin.count(route) == 1


@pytest.mark.parametrize("size", [2000, LARGE])
def test_a_full_drive_is_quota(standin: GoogleDrive, size: int) -> None:
    standin.quota = 1000
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, parcel(size))
    assert failed.value.kind is ErrorKind.QUOTA
    assert (names(standin), standin.unfinished()) == ([], set())


def test_the_uploads_of_a_day_are_quota(standin: GoogleDrive) -> None:
    used_up = said("userRateLimitExceeded")
    for each in (used_up.document["error"], *used_up.document["error"]["errors"]):
        each["message"] = "User rate limit exceeded."
    standin.faults.append(Fault("upload", used_up))
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, parcel(100))
    assert failed.value.kind is ErrorKind.QUOTA
    assert "750 GB" in str(failed.value.hint)


# --- answers and bodies -------------------------------------------------------------------------


ODD = (b"", b"<html>", b"[]", b'"x"', b"null", b'{"files": [7]}')
NAMELESS = (b'{"id": null}', b'{"ids": []}')
"""Of a listing these are an empty one."""


@pytest.mark.parametrize("route", ["list", "generate_ids", "create", "upload", "upload_again", "chunk"])
def test_odd_answers_are_errors_of_the_contract(standin: GoogleDrive, route: str) -> None:
    for body in ODD if route == "list" else (*ODD, *NAMELESS):
        standin.reset()
        if route == "upload_again":
            standin.put(STORED, b"a stranger's")
        standin.faults.append(Fault(route, Answer(200, body=body), times=-1))
        sent = parcel(LARGE if route == "chunk" else 100)
        assert isinstance(tried(standin, sent, OVERWRITE, HarnessContext()), DeliveryError), body


def test_an_odd_answer_to_the_look_at_an_earlier_attempt(standin: GoogleDrive) -> None:
    sent, context = parcel(100), HarnessContext()
    deliver(standin, sent, FAIL, context)
    for body in (b"", b"<html>", b"[]", b'{"name": 1}'):
        standin.faults.append(Fault("get", Answer(200, body=body)))
        assert isinstance(tried(standin, sent, FAIL, later(context)), DeliveryError)
    deliver(standin, sent, FAIL, later(context))
    assert len(files(standin)) == 1


@pytest.mark.parametrize(
    ("said_type", "kept"),
    [
        ("text/plain; charset=utf-8", "text/plain"),
        ("image/svg+xml", "image/svg+xml"),
        ("a/b/c", "application/octet-stream"),
        ("*/*", "application/octet-stream"),
        ("image/jpeg\r\nX-Evil: 1", "application/octet-stream"),
        ("application/vnd.google-apps.document", "application/octet-stream"),
    ],
)
def test_a_body_arrives_byte_for_byte_whatever_its_type(
    standin: GoogleDrive, said_type: str, kept: str
) -> None:
    sent = parcel(b"\r\n--===============1==\r\nFrom x\n\n\x00\xff--\r\n", media_type=said_type)
    deliver(standin, sent, at("inbox/a.jpg"))
    assert held(standin, sent)
    assert files(standin)[0].meta["mimeType"] == kept


def test_names_with_quotes_are_found_again(standin: GoogleDrive) -> None:
    target = at("it's \\ an inbox/it's.jpg")
    memory = SimpleMemory()
    deliver(standin, parcel(10), target, memory=memory)
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, parcel(10), target)
    assert failed.value.kind is ErrorKind.CONFLICT


def test_of_twin_folders_the_oldest_is_used(standin: GoogleDrive) -> None:
    standin.put(STORED, b"a stranger's")
    younger = standin._folder("inbox", [standin._inside(standin.root, "Conveyor") or ""])
    standin.nodes[younger].meta["createdTime"] = "2099-01-01T00:00:00.000Z"
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, parcel(10), FAIL)
    assert failed.value.kind is ErrorKind.CONFLICT


@pytest.mark.parametrize("size", [100, LARGE])
def test_a_folder_of_a_shared_drive(standin: GoogleDrive, size: int) -> None:
    drive = standin.add_drive("Team")
    sent, context = parcel(size), HarnessContext()
    deliver(standin, sent, FAIL, context, folder_id=drive)
    assert held(standin, sent, "inbox/a.jpg")
    assert {node.drive for node in files(standin)} == {drive}
    deliver(standin, parcel(20), OVERWRITE, folder_id=drive)
    with connector(standin, folder_id=drive) as made:
        assert made.find(sent, FAIL, later(context)).kind is FoundKind.OTHER
