"""What the suite cannot know of OneDrive: sessions, lost answers, held names, hashes, tokens, throttling."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
from servers.deliveries import at, later, names
from servers.onedrive_bench import LARGE, SCOPES, UNIT, said
from servers.onedrive_drive import (
    FAIL,
    OVERWRITE,
    PATH,
    POLICIES,
    RENAME,
    SKIP,
    STORED,
    connector,
    deliver,
    half_sent,
    held,
    parcel,
    tried,
)
from servers.standins.kit import Fault, running
from servers.standins.messages import Answer
from servers.standins.onedrive import OneDrive

from conveyor.contract import DeliveryError, ErrorKind, FoundKind, Receipt, Scope, Target
from conveyor.testing.harness import HarnessContext, SimpleMemory
from conveyor_connectors.onedrive import placing, sessions

pytestmark = pytest.mark.server


@pytest.fixture(scope="module", params=["personal", "business"])
def _running(request: pytest.FixtureRequest) -> Iterator[OneDrive]:
    with running(OneDrive(kind=request.param)) as made:
        yield made


@pytest.fixture
def standin(_running: OneDrive, monkeypatch: pytest.MonkeyPatch) -> OneDrive:
    monkeypatch.setattr(sessions, "APPEARS", 0.05)
    monkeypatch.setattr(sessions, "HELD", 0.0)
    _running.reset()
    return _running


def test_requests_of_a_small_file(standin: OneDrive) -> None:
    with connector(standin) as made:
        made.deliver(parcel(100), FAIL, HarnessContext())
        standin.forget()
        made.deliver(parcel(100), at("inbox/b.jpg"), HarnessContext())
        assert standin.counts() == {"create_session": 1, "fragment": 1}
        standin.forget()
        made.deliver(parcel(0), at("inbox/c.jpg"), HarnessContext())
        assert standin.counts() == {"get_item": 1, "put_content": 1}
        standin.forget()
        made.deliver(parcel(LARGE), at("inbox/d.jpg"), HarnessContext())
        assert standin.counts() == {"create_session": 1, "fragment": 4}


def test_the_upload_address_gets_no_token_and_stands_in_no_message(standin: OneDrive) -> None:
    context = half_sent(standin, parcel())
    address = context.state["session"]["url"]  # type: ignore[call-overload,index]
    standin.faults.append(Fault("fragment", said(500, "generalException"), times=-1))
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, parcel(), FAIL, later(context))
    assert address not in f"{failed.value!r} {failed.value} {failed.value.__dict__}"
    seen = [each for each in standin.seen if each.path.startswith("/up/")]
    assert seen
    assert not any("Authorization" in each.headers for each in seen)
    assert all("Authorization" in each.headers for each in standin.seen if each not in seen)
    assert {each.headers["User-Agent"] for each in standin.seen} == {"NONISV|Conveyor|Conveyor/1.0"}
    assert not any(address in str(line) for line in context.log.lines)


def test_every_upload_states_its_conflict_behaviour_and_its_time(standin: OneDrive) -> None:
    for number, target in enumerate(POLICIES):
        sent = parcel(100)
        deliver(standin, sent, Target(f"inbox/{number}.jpg", target.conflict))
        deliver(standin, parcel(0), Target(f"inbox/{number}.txt", target.conflict))
    wanted = ["fail", "fail", "fail", "replace"]
    asked = [json.loads(each.body)["item"] for each in standin.of("create_session")]
    assert [each["@microsoft.graph.conflictBehavior"] for each in asked] == wanted
    assert {each["fileSystemInfo"]["createdDateTime"] for each in asked} == {"2027-01-15T08:00:00Z"}
    puts = [each.query["@microsoft.graph.conflictBehavior"] for each in standin.of("put_content")]
    assert puts == wanted


def test_fragments_are_whole_units_in_order(standin: OneDrive) -> None:
    deliver(standin, parcel(LARGE), FAIL, fragment_size=2 * UNIT)
    ranges = [each.headers["Content-Range"] for each in standin.of("fragment")]
    assert ranges == [f"bytes 0-{2 * UNIT - 1}/{LARGE}", f"bytes {2 * UNIT}-{LARGE - 1}/{LARGE}"]


@pytest.mark.parametrize("target", POLICIES, ids=lambda target: target.conflict.value)
def test_another_worker_sends_only_what_is_missing(standin: OneDrive, target: Target) -> None:
    sent = parcel()
    context = half_sent(standin, sent, target)
    standin.forget()
    second = later(context)
    receipt = deliver(standin, sent, target, second)
    assert standin.counts()["create_session"] == 0
    assert second.sent == LARGE - 3 * UNIT
    assert (receipt.verified, receipt.path, receipt.renamed) == ("quickxor", PATH, False)
    assert held(standin, sent)
    assert not standin.unfinished()


def test_our_own_session_holds_the_name_against_nobody_but_others(standin: OneDrive) -> None:
    sent = parcel()
    context = half_sent(standin, sent)
    if standin.drive.business:
        with pytest.raises(DeliveryError, match="holds the name") as other:
            deliver(standin, parcel(), FAIL)
        assert other.value.kind is ErrorKind.TRANSIENT
    deliver(standin, sent, FAIL, later(context))
    assert names(standin) == [STORED]


def test_abandon_deletes_the_session_and_frees_the_name(standin: OneDrive) -> None:
    context = half_sent(standin, parcel())
    assert standin.unfinished()
    with connector(standin) as made:
        made.abandon(context.state, HarnessContext())
        made.abandon(context.state, HarnessContext())
    assert not standin.unfinished()
    sent = parcel()
    deliver(standin, sent, FAIL)
    assert held(standin, sent)


@pytest.mark.parametrize("target", POLICIES, ids=lambda target: target.conflict.value)
@pytest.mark.parametrize("size", [100, LARGE])
@pytest.mark.parametrize("route", ["create_session", "fragment", "create_folder"])
@pytest.mark.parametrize("after", [0, 1, 3])
def test_lost_answers_make_no_second_file(
    standin: OneDrive, target: Target, size: int, route: str, after: int
) -> None:
    sent, context = parcel(size), HarnessContext()
    standin.faults.append(Fault(route, lost=True, after=after))
    for _ in range(3):
        outcome = tried(standin, sent, target, context)
        if not isinstance(outcome, DeliveryError):
            break
        assert outcome.kind in (ErrorKind.TRANSIENT, ErrorKind.UNKNOWN_OUTCOME)
        context = later(context)
        if standin.drive.business and route == "create_session":
            standin.now = lambda: 4e9  # nobody knows the session's address: it ends by itself
    assert isinstance(outcome, Receipt)
    assert (outcome.path, outcome.renamed, outcome.skipped) == (PATH, False, False)
    assert names(standin) == [STORED]
    assert held(standin, sent)


def test_an_empty_file_whose_answer_was_lost_is_recognised(standin: OneDrive) -> None:
    sent, context = parcel(0), HarnessContext()
    standin.faults.append(Fault("put_content", lost=True))
    with pytest.raises(DeliveryError):
        deliver(standin, sent, RENAME, context)
    assert deliver(standin, sent, RENAME, later(context)).path == PATH
    assert names(standin) == [STORED]


@pytest.mark.parametrize("target", [RENAME, SKIP], ids=["rename", "skip"])
def test_a_strangers_empty_file_is_not_taken_for_ours(standin: OneDrive, target: Target) -> None:
    """The first attempt saw nothing of it: it was asked to slow down, at whichever request."""
    for route, after in (("get_item", 2), ("put_content", 0)):
        standin.reset()
        deliver(standin, parcel(100), Target("inbox/other.jpg", FAIL.conflict))
        standin.put(STORED, b"")
        sent, context = parcel(0), HarnessContext()
        standin.faults.append(Fault(route, said(429, "activityLimitReached"), after=after))
        receipt = tried(standin, sent, target, context)
        if isinstance(receipt, DeliveryError):
            receipt = deliver(standin, sent, target, later(context))
        assert (receipt.renamed, receipt.skipped) == (target is RENAME, target is SKIP)


def test_a_name_that_was_free_and_is_taken_by_a_stranger_proves_nothing(standin: OneDrive) -> None:
    sent = parcel(0)
    context = HarnessContext(on_commit=lambda: standin.put(STORED, b""))
    standin.faults.append(Fault("get_item", said(503, "x"), after=3))
    receipt = tried(standin, sent, FAIL, context)
    assert isinstance(receipt, DeliveryError)
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, sent, FAIL, later(context))
    assert failed.value.kind is ErrorKind.CONFLICT


@pytest.mark.parametrize("route", ["put_content", "commit_by_url"])
def test_the_outcome_of_what_makes_a_file_is_unknown_without_an_answer(standin: OneDrive, route: str) -> None:
    size = 0 if route == "put_content" else LARGE
    taken = HarnessContext(on_commit=lambda: standin.put(STORED, b"a stranger's") if size else None)
    standin.faults.append(Fault(route, lost=True))
    outcome = tried(standin, parcel(size), RENAME, taken)
    assert isinstance(outcome, DeliveryError)
    assert outcome.kind is ErrorKind.UNKNOWN_OUTCOME


@pytest.mark.parametrize("target", [RENAME, OVERWRITE], ids=["rename", "overwrite"])
def test_a_session_whose_address_was_lost_blocks_no_more_than_its_name(
    standin: OneDrive, target: Target
) -> None:
    """Nobody can find or remove it; on business it holds the name until it ends."""
    sent, context = parcel(), HarnessContext()
    standin.faults.append(Fault("create_session", lost=True))
    assert isinstance(tried(standin, sent, target, context), DeliveryError)
    second = later(context)
    outcome = tried(standin, sent, target, second)
    if target is OVERWRITE and standin.drive.business:
        assert isinstance(outcome, DeliveryError)
        assert (outcome.kind, outcome.code) == (ErrorKind.TRANSIENT, "nameAlreadyExists")
        assert "within days" in str(outcome.hint)
        standin.now = lambda: 4e9
        outcome = tried(standin, sent, target, later(second))
    assert isinstance(outcome, Receipt)
    assert outcome.renamed == (target is RENAME and standin.drive.business)
    assert len(names(standin)) == 1


def test_a_name_taken_while_the_file_is_sent_costs_no_byte_twice(standin: OneDrive) -> None:
    sent = parcel()
    context = HarnessContext(on_commit=lambda: standin.put(STORED, b"a stranger's"))
    if standin.drive.business:
        standin.forget()
    receipt = deliver(standin, sent, RENAME, context)
    assert (receipt.path, receipt.renamed) == ("inbox/photo (1).jpg", True)
    assert standin.counts()["create_session"] == 1
    assert context.sent == LARGE
    assert held(standin, sent, "Conveyor/inbox/photo (1).jpg")
    assert not standin.unfinished()


@pytest.mark.parametrize("lost", [True, False])
def test_a_late_conflict_survives_the_worker(standin: OneDrive, lost: bool) -> None:
    """It dies after the commit under the next name, or just before: nothing is sent again, or made twice."""
    sent = parcel()
    context = HarnessContext(on_commit=lambda: standin.put(STORED, b"a stranger's"))
    fault = Fault("commit_by_url", lost=True) if lost else Fault("commit_by_url", said(503, "x"))
    standin.faults.append(fault)
    with pytest.raises(DeliveryError):
        deliver(standin, sent, RENAME, context)
    second = later(context)
    receipt = deliver(standin, sent, RENAME, second)
    assert (receipt.path, second.sent) == ("inbox/photo (1).jpg", 0)
    assert names(standin) == ["Conveyor/inbox/photo (1).jpg", STORED]
    assert not standin.unfinished()


@pytest.mark.parametrize(("target", "kind"), [(FAIL, ErrorKind.CONFLICT), (SKIP, None)])
def test_a_late_conflict_leaves_the_strangers_file(
    standin: OneDrive, target: Target, kind: ErrorKind | None
) -> None:
    context = HarnessContext(on_commit=lambda: standin.put(STORED, b"a stranger's"))
    if kind is None:
        assert deliver(standin, parcel(), target, context).skipped
    else:
        with pytest.raises(DeliveryError) as failed:
            deliver(standin, parcel(), target, context)
        assert failed.value.kind is kind
    assert names(standin) == [STORED]
    with connector(standin) as made:
        made.abandon(context.state, HarnessContext())
    assert not standin.unfinished()


def test_a_session_that_lives_proves_nothing(standin: OneDrive) -> None:
    """A stranger's file of the same bytes, while ours waits for its last fragment, is not ours."""
    sent = parcel(b"x" * LARGE, submitted_at=1_700_000_000.0)
    context = half_sent(standin, sent)
    standin.put(STORED, b"x" * LARGE)
    with connector(standin) as made:
        found = made.find(sent, FAIL, later(context))
    assert found.kind is FoundKind.SAME_BYTES


def test_a_session_that_is_full_is_committed_by_whoever_comes_next(standin: OneDrive) -> None:
    sent = parcel()
    context = HarnessContext(on_commit=lambda: standin.put(STORED, b"a stranger's"))
    with pytest.raises(DeliveryError):
        deliver(standin, sent, FAIL, context)
    with standin.drive.lock:
        standin.drive.remove(standin.drive.walk(standin.drive.root, STORED.split("/")))
    second = later(context)
    assert deliver(standin, sent, FAIL, second).path == PATH
    assert second.sent == 0
    assert held(standin, sent)


def test_a_session_that_is_gone_begins_again_and_leaves_none_behind(standin: OneDrive) -> None:
    sent = parcel()
    context = half_sent(standin, sent)
    with standin.lock:
        for each in list(standin.sessions.values()):
            standin.drop(each)
    second = later(context)
    deliver(standin, sent, FAIL, second)
    assert second.sent == LARGE
    assert held(standin, sent)
    assert not standin.unfinished()


def test_a_new_session_may_be_unknown_for_a_moment(standin: OneDrive) -> None:
    standin.faults.append(Fault("fragment", said(404, "itemNotFound")))
    sent = parcel()
    deliver(standin, sent)
    assert standin.counts()["create_session"] == 1
    assert held(standin, sent)


def test_a_session_that_stays_out_of_sight_does_not_keep_the_name(standin: OneDrive) -> None:
    standin.faults.append(Fault("fragment", said(404, "itemNotFound"), times=2))
    sent = parcel()
    deliver(standin, sent)
    assert standin.counts()["create_session"] == 2
    assert held(standin, sent)
    assert not standin.unfinished()


def test_a_session_that_asks_for_the_same_bytes_for_ever(standin: OneDrive) -> None:
    standin.faults.append(Fault("fragment", Answer(202, {"nextExpectedRanges": ["0-"]}), times=-1))
    with pytest.raises(DeliveryError, match="stands still") as failed:
        deliver(standin, parcel())
    assert failed.value.kind is ErrorKind.TRANSIENT


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"x"', b'{"id": 1}', b'{"file": []}'])
@pytest.mark.parametrize("route", ["create_session", "fragment", "put_content", "get_item"])
def test_odd_answers_are_errors_of_the_contract(standin: OneDrive, route: str, body: bytes) -> None:
    size = 0 if route == "put_content" else 100
    standin.put(STORED, b"a stranger's")
    standin.faults.append(Fault(route, Answer(200, body=body), times=-1))
    with pytest.raises(DeliveryError):
        deliver(standin, parcel(size), RENAME if route == "get_item" else OVERWRITE)


@pytest.mark.parametrize("body", [b"<html>", b"[]"])
@pytest.mark.parametrize(
    ("route", "size", "kind"),
    [
        ("create_session", 100, ErrorKind.TRANSIENT),
        ("fragment", 100, ErrorKind.UNKNOWN_OUTCOME),
        ("put_content", 0, ErrorKind.UNKNOWN_OUTCOME),
    ],
)
def test_a_page_of_something_in_between_is_called_that(
    standin: OneDrive, route: str, size: int, kind: ErrorKind, body: bytes
) -> None:
    standin.faults.append(Fault(route, Answer(200, body=body), times=-1))
    with pytest.raises(DeliveryError, match="is not Graph's") as failed:
        deliver(standin, parcel(size), OVERWRITE)
    assert failed.value.kind is kind


def test_a_token_that_ends_between_requests_is_renewed_once(standin: OneDrive) -> None:
    first, second = (standin.sign_in(SCOPES)[0] for _ in range(2))
    standin.refused_tokens.add(first)
    sent = parcel()
    deliver(standin, sent, tokens=(first, second))
    assert held(standin, sent)
    assert sum(each.status == 401 for each in standin.seen) == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"message": "Unable to initialize RPS", "code": "unauthenticated"}, ErrorKind.TRANSIENT),
        ({"message": "A policy", "code": "insufficient_claims"}, ErrorKind.AUTH_REVOKED),
    ],
    ids=["rps", "claims"],
)
def test_a_401_that_a_new_token_does_not_cure_costs_none(
    standin: OneDrive, answer: dict[str, str], kind: ErrorKind
) -> None:
    standin.faults.append(Fault("create_session", Answer(401, {"error": answer})))
    outcome = tried(standin, parcel(), FAIL, HarnessContext())
    assert isinstance(outcome, DeliveryError)
    assert outcome.kind is kind
    assert standin.counts()["create_session"] == 1, "not sent again with another token"


@pytest.mark.parametrize(("status", "code"), [(429, "activityLimitReached"), (503, "x"), (509, "x")])
@pytest.mark.parametrize("route", ["create_session", "fragment", "get_item", "create_folder"])
def test_throttling_says_exactly_how_long_and_concerns_the_account(
    standin: OneDrive, status: int, code: str, route: str
) -> None:
    standin.faults.append(Fault(route, said(status, code, **{"Retry-After": "37"})))
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, parcel(100))
    error = failed.value
    assert (error.kind, error.retry_after, error.scope) == (ErrorKind.THROTTLED, 37.0, Scope.CONNECTION)
    assert standin.count(route) == 1


def test_a_full_drive_is_quota(standin: OneDrive) -> None:
    standin.drive.quota = 1000
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, parcel())
    assert failed.value.kind is ErrorKind.QUOTA
    assert not names(standin)


def test_a_hash_that_is_late_is_waited_for(standin: OneDrive) -> None:
    standin.drive.hash_delay = 0.6
    assert deliver(standin, parcel(100)).verified == "quickxor"


def test_a_hash_that_never_comes_is_said(standin: OneDrive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "LOOKS", 1)
    standin.drive.hash_delay = 1e9
    receipt = deliver(standin, parcel(100))
    assert (receipt.verified, receipt.digest) == ("size", None)


def test_office_files_that_sharepoint_rewrites(standin: OneDrive) -> None:
    standin.drive.rewrites_office = True
    target = at("inbox/report.docx")
    sent, context = parcel(100, filename="report.docx"), HarnessContext()
    standin.faults.append(Fault("fragment", lost=True))
    with pytest.raises(DeliveryError):
        deliver(standin, sent, target, context)
    receipt = deliver(standin, sent, target, later(context))
    assert receipt.verified == ("accepted" if standin.drive.business else "quickxor")
    assert names(standin) == ["Conveyor/inbox/report.docx"]


def corrupt() -> Answer:
    """A file's document with another hash."""
    answer = {"id": "nobody's", "name": "photo.jpg", "size": 100, "eTag": '"x"'}
    return Answer(201, {**answer, "file": {"hashes": {"quickXorHash": "AAAAAAAAAAAAAAAAAAAAAAAAAAA="}}})


def test_other_bytes_than_were_sent_are_removed_by_their_etag(standin: OneDrive) -> None:
    standin.faults.append(Fault("fragment", corrupt()))
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, parcel(100))
    assert failed.value.kind is ErrorKind.INTEGRITY
    assert [each.headers["If-Match"] for each in standin.of("delete_item")] == ['"x"']


def test_names_differ_by_more_than_case(standin: OneDrive) -> None:
    standin.put("conveyor/INBOX/PHOTO.jpg", b"a stranger's")
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, parcel(100))
    assert failed.value.kind is ErrorKind.CONFLICT
    assert deliver(standin, parcel(100), RENAME).path == "inbox/photo (1).jpg"


@pytest.mark.parametrize("name", ["a#b.jpg", "100%.jpg", "a%20b.jpg", "ü&=+;@'.jpg", "日本 1.jpg", "a?b.jpg"])
def test_names_reach_the_drive_as_they_are(standin: OneDrive, name: str) -> None:
    if "?" in name:
        with pytest.raises(DeliveryError) as failed:
            deliver(standin, parcel(100), at(f"in {name[0]}/{name}"))
        assert failed.value.kind is ErrorKind.NAME
        assert not standin.seen
        return
    for size in (0, 100):
        sent = parcel(size)
        deliver(standin, sent, at(f"in {name}/{size}{name}"))
        assert held(standin, sent, f"Conveyor/in {name}/{size}{name}")


def test_folders_are_made_once_by_many_workers(standin: OneDrive) -> None:
    memory, failures = SimpleMemory(), []

    def work(number: int) -> None:
        try:
            deliver(standin, parcel(100), at(f"a/b/c/{number}.jpg"), memory=memory)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failures
    assert len(names(standin)) == 8
    assert standin.counts()["create_folder"] == 4


@pytest.mark.parametrize("how", ["delete", "rename"])
def test_a_folder_that_somebody_removed_is_found_or_made_again(standin: OneDrive, how: str) -> None:
    memory = SimpleMemory()
    with connector(standin, memory=memory) as made:
        made.deliver(parcel(100), FAIL, HarnessContext())
        drive = standin.drive
        folder = drive.walk(drive.root, ["Conveyor", "inbox"])
        if how == "delete":
            drive.remove(folder)
            sent = parcel(100)
            made.deliver(sent, FAIL, HarnessContext())
            assert held(standin, sent)
        else:
            drive.move(folder, drive.root, "elsewhere", "fail")
            made._folders = None  # another worker, whose memory is the same
            sent = parcel(100)
            made.deliver(sent, FAIL, HarnessContext())
            assert held(standin, sent)


def test_a_file_where_a_folder_should_be(standin: OneDrive) -> None:
    standin.put("Conveyor/inbox", b"a stranger's")
    with pytest.raises(DeliveryError, match="a file is called inbox") as failed:
        deliver(standin, parcel(100))
    assert failed.value.kind is ErrorKind.NAME


def test_overwrite_keeps_the_item_and_replaces_its_bytes(standin: OneDrive) -> None:
    first = deliver(standin, parcel(b"one"), OVERWRITE)
    sent = parcel(b"two!")
    second = deliver(standin, sent, OVERWRITE)
    assert first.extra["item_id"] == second.extra["item_id"]
    assert first.version != second.version
    assert held(standin, sent)


def test_racing_workers_of_one_name_leave_one_file_each(standin: OneDrive) -> None:
    sent = [parcel(bytes([number]) * 1000) for number in range(6)]
    receipts: dict[int, Receipt] = {}

    def work(number: int) -> None:
        context = HarnessContext()
        for _ in range(20):
            outcome = tried(standin, sent[number], RENAME, context)
            if isinstance(outcome, Receipt):
                receipts[number] = outcome
                return
            context = later(context)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(sent))]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(receipts) == len(sent)
    assert {receipt.path for receipt in receipts.values()} == {
        name.removeprefix("Conveyor/") for name in names(standin)
    }
    assert all(held(standin, sent[n], f"Conveyor/{receipts[n].path}") for n in receipts)
    assert not standin.unfinished()
