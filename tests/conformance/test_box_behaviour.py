"""What the suite cannot know of Box: sessions, lost and late answers, conflicts, tokens, throttling."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from email.utils import format_datetime
from typing import Any

import pytest
from servers.box_account import (
    FAIL,
    OVERWRITE,
    PATH,
    POLICIES,
    RENAME,
    SKIP,
    connector,
    deliver,
    half_sent,
    held,
    parcel,
    tried,
)
from servers.box_bench import LARGE, MIB, said
from servers.deliveries import at, later, names
from servers.standins.box import BoxStandIn
from servers.standins.box.errors import document
from servers.standins.kit import Fault
from servers.standins.messages import Answer

from conveyor.contract import DeliveryError, ErrorKind, FoundKind, Receipt, Scope, Target
from conveyor.testing.harness import HarnessContext, SimpleMemory
from conveyor_connectors.box import placing, sessions

pytestmark = pytest.mark.server

BY_POLICY = pytest.mark.parametrize("target", POLICIES, ids=lambda target: target.conflict.value)


@pytest.fixture
def standin(box_standin: BoxStandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[BoxStandIn]:
    monkeypatch.setattr(sessions, "LATE", 0.01)
    box_standin.chunked_floor = box_standin.part_size = MIB
    return box_standin


# --- requests ----------------------------------------------------------------------------------------


def test_requests_of_one_file(standin: BoxStandIn) -> None:
    with connector(standin) as made:
        made.deliver(parcel(100), FAIL, HarnessContext())
        assert standin.counts() == {"create_folder": 1, "upload_file": 1}
        wanted = {
            "b.jpg": (100, {"upload_file": 1}),
            "c.jpg": (0, {"upload_file": 1}),
            "d.jpg": (LARGE, {"create_session": 1, "upload_part": 4, "commit": 1}),
        }
        for name, (size, requests) in wanted.items():
            standin.forget()
            made.deliver(parcel(size), at(f"inbox/{name}"), HarnessContext())
            assert standin.counts() == requests
    with connector(standin, direct_limit=20_000_000) as made:
        made.deliver(parcel(100), FAIL_ELSEWHERE, HarnessContext())
        standin.forget()
        made.deliver(parcel(2 * MIB), at("inbox/e.jpg"), HarnessContext())
        assert standin.counts() == {"preflight": 1, "upload_file": 1}


FAIL_ELSEWHERE = at("inbox/known.jpg")


def test_a_taken_name_costs_no_bytes_of_a_larger_file(standin: BoxStandIn) -> None:
    standin.put(PATH, b"a stranger's")
    assert deliver(standin, parcel(2 * MIB), SKIP, direct_limit=20_000_000).skipped
    assert standin.counts() == {"create_folder": 1, "preflight": 1}


def test_every_upload_states_its_digest_and_its_time(standin: BoxStandIn) -> None:
    sent = parcel(LARGE, submitted_at=1_700_000_000.7)
    deliver(standin, sent)
    small = parcel(100, submitted_at=1_700_000_000.7)
    deliver(standin, small, at("inbox/b.jpg"))
    for path in (PATH, "inbox/b.jpg"):
        assert (standin.at(path).content_created, standin.at(path).content_changed) == (1.7e9, 1.7e9)
    (direct,) = standin.of("upload_file")
    assert direct.headers["content-md5"] == small.digests["sha1"]
    assert all(each.headers["digest"].startswith("sha=") for each in standin.of("upload_part"))
    (commit,) = standin.of("commit")
    assert commit.headers["digest"].startswith("sha=")


def test_a_file_of_no_bytes(standin: BoxStandIn) -> None:
    for number, target in enumerate(POLICIES):
        sent, context = parcel(b""), HarnessContext()
        assert deliver(standin, sent, Target(f"inbox/{number}", target.conflict), context).size == 0
        assert context.commits == 1
        assert held(standin, sent, f"inbox/{number}")


def test_memory_is_a_block_whatever_the_part_size_is(standin: BoxStandIn) -> None:
    import tracemalloc

    size = 48 * MIB
    standin.part_size = 16 * MIB
    sent = parcel(size)
    with connector(standin) as made:
        made.deliver(parcel(100), at("warm.jpg"), HarnessContext())
        tracemalloc.start()
        try:
            made.deliver(sent, FAIL, HarnessContext())
            made.deliver(parcel(size), at("inbox/direct.jpg"), HarnessContext())
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 8 * MIB  # stand-in's blocks included
    assert held(standin, sent)


# --- sessions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("target", "over"), [*((target, False) for target in POLICIES), (OVERWRITE, True)])
def test_another_worker_sends_only_what_is_missing(standin: BoxStandIn, target: Target, over: bool) -> None:
    if over:
        standin.put(PATH, b"a stranger's")
    sent = parcel()
    context = half_sent(standin, sent, target)
    (number,) = standin.sessions
    there = {part.offset for part in standin.sessions[number].parts.values()}
    assert there
    standin.forget()
    second = later(context)
    receipt = deliver(standin, sent, target, second)
    assert standin.counts()["create_session"] == standin.counts()["create_version_session"] == 0
    ranges = {int(each.headers["content-range"].split()[1].partition("-")[0]) for each in
              standin.of("upload_part")}  # fmt: skip
    assert ranges == set(range(0, LARGE, MIB)) - there
    assert second.sent == LARGE - len(there) * MIB
    assert (receipt.verified, receipt.path, receipt.renamed) == ("sha1", PATH, False)
    assert held(standin, sent)
    assert not standin.unfinished()


def test_parts_are_listed_page_by_page(standin: BoxStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "PAGE", 1)
    sent = parcel()
    context = half_sent(standin, sent, parts=3)
    standin.forget()
    deliver(standin, sent, FAIL, later(context))
    assert standin.counts() == {
        "create_folder": 1,
        "list_parts": 3,
        "upload_part": 1,
        "commit": 1,
    }
    assert held(standin, sent)


def test_more_parts_than_box_lists_begin_anew(standin: BoxStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "PAGE", 1)
    monkeypatch.setattr(sessions, "LISTED_TO", 1)
    standin.listed_to = 1
    sent = parcel()
    context = half_sent(standin, sent, parts=3)
    standin.forget()
    deliver(standin, sent, FAIL, later(context))
    assert [each.query["offset"] for each in standin.of("list_parts")] == ["0", "1"]
    assert standin.counts()["create_session"] == 1
    assert held(standin, sent)
    assert not standin.unfinished()


def test_a_list_that_never_ends_is_ended(standin: BoxStandIn) -> None:
    sent = parcel()
    context = half_sent(standin, sent)
    (session,) = standin.sessions.values()
    page = {"entries": [session.parts[0].shown()], "total_count": 9, "limit": 1, "offset": 0}
    standin.faults.append(Fault("list_parts", Answer(200, page), times=-1))
    outcome = tried(standin, sent, FAIL, later(context))
    assert isinstance(outcome, DeliveryError)


@pytest.mark.parametrize(
    "how", ["not_found", "session_expired", "upload_failed", "invalid_upload_session_id"]
)
@pytest.mark.parametrize("route", ["list_parts", "upload_part", "commit"])
def test_a_session_that_is_gone_costs_one_restart(standin: BoxStandIn, how: str, route: str) -> None:
    sent = parcel()
    context = half_sent(standin, sent)
    standin.faults.append(Fault(route, said(how)))
    before = standin.counts()["create_session"]
    receipt = deliver(standin, sent, FAIL, later(context))
    assert standin.counts()["create_session"] == before + 1
    assert receipt.verified == "sha1"
    assert held(standin, sent)


def test_a_session_that_is_over_leaves_none_behind(standin: BoxStandIn) -> None:
    sent = parcel()
    context = half_sent(standin, sent)
    standin.broken.update(standin.sessions)
    deliver(standin, sent, FAIL, later(context))
    assert held(standin, sent)
    assert not standin.unfinished()


def test_a_session_that_expired_begins_anew(standin: BoxStandIn) -> None:
    sent = parcel()
    context = half_sent(standin, sent)
    now = standin.now()
    standin.now = lambda: now + 8 * 86_400
    standin.rules.life = 9 * 86_400
    second = later(context)
    deliver(standin, sent, FAIL, second)
    assert second.sent == LARGE
    assert held(standin, sent)


def test_two_sessions_gone_in_one_attempt_end_it(standin: BoxStandIn) -> None:
    standin.faults.append(Fault("upload_part", said("session_expired"), times=-1))
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, parcel())
    assert failed.value.kind is ErrorKind.SESSION_LOST
    assert standin.counts()["create_session"] == 2


def test_abandon_removes_the_session_and_is_content_without(standin: BoxStandIn) -> None:
    context = half_sent(standin, parcel())
    assert standin.unfinished()
    with connector(standin) as made:
        for _ in range(2):
            made.abandon(context.state, HarnessContext())
        made.abandon({}, HarnessContext())
    assert not standin.unfinished()


def test_a_commit_that_answers_late_is_repeated(standin: BoxStandIn) -> None:
    standin.put_off, standin.retry_after = 2, 0
    sent, context = parcel(), HarnessContext()
    deliver(standin, sent, FAIL, context)
    assert standin.counts()["commit"] == 3
    assert context.commits == 3, "the fence is asked before each order"
    assert held(standin, sent)


def test_the_stated_delay_of_a_late_commit_is_waited(
    standin: BoxStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(sessions, "pause", lambda seconds, context: waited.append(seconds))
    standin.put_off, standin.retry_after = 2, 7
    deliver(standin, parcel())
    assert waited == [7.0, 7.0]


def test_parts_that_were_not_counted_yet_are_waited_for(standin: BoxStandIn) -> None:
    standin.mismatches = 3
    sent = parcel()
    deliver(standin, sent)
    assert standin.counts()["commit"] == 4
    assert standin.counts()["create_session"] == 1
    assert held(standin, sent)


def test_parts_that_never_match_end_the_session(standin: BoxStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "PATIENCE", 0.0)
    standin.mismatches = 1_000
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, parcel())
    assert (failed.value.kind, failed.value.code) == (ErrorKind.SESSION_LOST, "parts_mismatch")
    assert not standin.unfinished()


def test_a_commit_that_is_never_done_is_an_open_outcome(
    standin: BoxStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "PATIENCE", 0.0)
    standin.put_off = 1_000
    context = HarnessContext()
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, parcel(), FAIL, context)
    assert failed.value.kind is ErrorKind.UNKNOWN_OUTCOME
    assert context.state["session"], "whoever comes next orders again"


@BY_POLICY
def test_a_late_commit_that_was_done_without_us_is_found(standin: BoxStandIn, target: Target) -> None:
    """Accepted by 202, then joined; the session is unknown when it is ordered again."""
    accepted = Answer(202, headers={"Retry-After": "0"})
    standin.faults.append(Fault("commit", accepted, carried_out=True, lost=False))
    sent, context = parcel(), HarnessContext()
    outcome = tried(standin, sent, target, context)
    if isinstance(outcome, DeliveryError):
        assert outcome.kind is ErrorKind.UNKNOWN_OUTCOME
        with connector(standin) as made:
            assert made.find(sent, target, later(context)).kind in (FoundKind.MINE, FoundKind.SAME_BYTES)
        outcome = deliver(standin, sent, target, later(context))
    assert (outcome.path, outcome.renamed, outcome.skipped) == (PATH, False, False)
    assert names(standin) == [PATH]
    assert held(standin, sent)


def test_parts_of_other_bytes_are_not_committed_twice(standin: BoxStandIn) -> None:
    """The source changed under a session: refused by the digest, and the next attempt begins anew."""
    context = half_sent(standin, parcel(b"x" * LARGE))
    sent = parcel(b"y" * LARGE)
    second = later(context)
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, sent, FAIL, second)
    assert failed.value.kind is ErrorKind.INTEGRITY
    assert not standin.unfinished()
    deliver(standin, sent, FAIL, later(second))
    assert held(standin, sent)


def test_parts_of_other_bytes_over_a_file_are_not_kept_either(standin: BoxStandIn) -> None:
    standin.put(PATH, b"a stranger's")
    context = half_sent(standin, parcel(b"x" * LARGE), OVERWRITE)
    sent = parcel(b"y" * LARGE)
    second = later(context)
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, sent, OVERWRITE, second)
    assert failed.value.kind is ErrorKind.TRANSIENT
    assert not standin.unfinished()
    deliver(standin, sent, OVERWRITE, later(second))
    assert held(standin, sent)


@pytest.mark.parametrize(
    "address",
    [
        "https://box.com.example.net/x",
        "http://upload.box.com/x",
        "https://evilbox.com/x",
        "https://upload.box.com@127.0.0.1/x",
        "https://elsewhere.example\\.box.com/x",
        "//x",
        "",
    ],
)
@pytest.mark.parametrize("which", ["upload_part", "list_parts", "commit", "abort"])
def test_an_address_that_is_not_boxs_gets_no_token(standin: BoxStandIn, address: str, which: str) -> None:
    with connector(standin) as made:
        made.deliver(parcel(100), FAIL_ELSEWHERE, HarnessContext())
        standin.forget()
        where = dict.fromkeys(
            ("upload_part", "list_parts", "commit", "abort", "status", "log_event"), standin.url
        )
        made_session = {"id": "A", "part_size": MIB, "session_endpoints": {**where, which: address}}
        standin.faults.append(Fault("create_session", Answer(201, made_session)))
        with pytest.raises(DeliveryError, match="outside its domains") as failed:
            made.deliver(parcel(), FAIL, HarnessContext())
    assert failed.value.kind is ErrorKind.CONFIG
    assert standin.counts() == {"create_session": 1}


def test_a_redirect_is_not_followed(standin: BoxStandIn) -> None:
    standin.faults.append(Fault("upload_file", Answer(307, headers={"Location": f"{standin.url}/elsewhere"})))
    with pytest.raises(DeliveryError):
        deliver(standin, parcel(100))
    assert not any(each.path == "/elsewhere" for each in standin.seen)


# --- lost and odd answers ----------------------------------------------------------------------------


@BY_POLICY
@pytest.mark.parametrize("how", ["lost", "503", pytest.param("502", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("route", "after", "size"),
    [
        ("create_folder", 0, 100),
        ("upload_file", 0, 100),
        ("create_session", 0, LARGE),
        ("upload_part", 0, LARGE),
        ("upload_part", 3, LARGE),
        ("commit", 0, LARGE),
    ],
)
def test_lost_answers_make_no_second_file(
    standin: BoxStandIn, target: Target, size: int, how: str, route: str, after: int
) -> None:
    sent, context = parcel(size), HarnessContext()
    answers = {"503": said("unavailable"), "502": said("bad_gateway")}
    fault = Fault(route, answers.get(how), carried_out=True, lost=how == "lost", after=after)
    standin.faults.append(fault)
    for _ in range(3):
        outcome = tried(standin, sent, target, context)
        if not isinstance(outcome, DeliveryError):
            break
        assert outcome.kind in (ErrorKind.TRANSIENT, ErrorKind.UNKNOWN_OUTCOME)
        if outcome.kind is ErrorKind.UNKNOWN_OUTCOME:
            with connector(standin) as made:
                found = made.find(sent, target, later(context))
            assert found.kind in (FoundKind.MINE, FoundKind.SAME_BYTES)
        context = later(context)
    assert isinstance(outcome, Receipt)
    assert (outcome.path, outcome.renamed, outcome.skipped) == (PATH, False, False)
    assert names(standin) == [PATH]
    assert held(standin, sent)


@pytest.mark.parametrize("size", [100, LARGE])
@pytest.mark.parametrize("how", ["lost", "503"])
def test_a_lost_answer_to_a_new_version(standin: BoxStandIn, size: int, how: str) -> None:
    standin.put(PATH, b"a stranger's")
    number = standin.at(PATH).id
    route = "upload_version" if size == 100 else "commit"
    answer = said("unavailable") if how == "503" else None
    standin.faults.append(Fault(route, answer, carried_out=True, lost=how == "lost"))
    sent, context = parcel(size), HarnessContext()
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, sent, OVERWRITE, context)
    assert failed.value.kind is ErrorKind.UNKNOWN_OUTCOME
    receipt = deliver(standin, sent, OVERWRITE, later(context))
    assert (standin.at(PATH).id, standin.at(PATH).version_number) == (number, 2)
    assert receipt.extra["file_id"] == number
    assert held(standin, sent)
    assert not standin.unfinished()


@BY_POLICY
def test_dying_after_a_session_was_found_gone_makes_no_second_file(
    standin: BoxStandIn, target: Target
) -> None:
    """The commit's answer was lost; the next worker forgets the session, and dies; a third one delivers."""
    sent, context = parcel(), HarnessContext()
    standin.faults.append(Fault("commit", lost=True))
    assert isinstance(tried(standin, sent, target, context), DeliveryError)
    assert context.state["session"]
    without = HarnessContext(
        {key: value for key, value in context.state.items() if key != "session"}, attempt=3
    )
    receipt = deliver(standin, sent, target, without)
    assert (receipt.path, receipt.skipped) == (PATH, False)
    assert names(standin) == [PATH]


@pytest.mark.parametrize("shape", ["object", "list"])
@BY_POLICY
def test_conflicts_in_either_shape(standin: BoxStandIn, target: Target, shape: Any) -> None:
    standin.file_conflicts = standin.folder_conflicts = shape
    standin.put(PATH, b"a stranger's")
    for size in (100, LARGE):
        outcome = tried(standin, parcel(size), target, HarnessContext())
        if target is FAIL:
            assert isinstance(outcome, DeliveryError)
            assert outcome.kind is ErrorKind.CONFLICT
            continue
        assert isinstance(outcome, Receipt)
        assert outcome.skipped == (target is SKIP)
        assert outcome.renamed == (target is RENAME)
    wanted = {FAIL: 1, SKIP: 1, RENAME: 3, OVERWRITE: 1}
    assert len(names(standin)) == wanted[target]


def test_a_conflict_that_names_nothing_makes_no_second_copy(standin: BoxStandIn) -> None:
    sent, context = parcel(100), HarnessContext()
    standin.faults.append(Fault("upload_file", lost=True))
    assert isinstance(tried(standin, sent, RENAME, context), DeliveryError)
    for conflicts in (None, [], {}, "x"):
        bare = Answer(409, document("item_name_in_use", context={"conflicts": conflicts}))
        standin.faults.append(Fault("upload_file", bare))
        outcome = tried(standin, sent, RENAME, later(context))
        assert isinstance(outcome, DeliveryError)
        assert outcome.kind is ErrorKind.TRANSIENT
    assert deliver(standin, sent, RENAME, later(context)).path == PATH
    assert names(standin) == [PATH]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"x"', b'{"id": 1}', b'{"entries": [{}]}', b"null"])
@pytest.mark.parametrize(
    "route",
    ["create_folder", "upload_file", "upload_version", "create_session", "upload_part", "commit", "get_file",
     "list_parts"],
)  # fmt: skip
@pytest.mark.parametrize(
    "status", [200, *(pytest.param(each, marks=pytest.mark.long) for each in (400, 500))]
)
def test_odd_answers_are_errors_of_the_contract(
    standin: BoxStandIn, route: str, body: bytes, status: int
) -> None:
    context = HarnessContext()
    size = LARGE if route in ("create_session", "upload_part", "commit", "list_parts") else 100
    target = OVERWRITE if route in ("upload_version", "get_file") else FAIL
    if target is OVERWRITE:
        standin.put(PATH, b"a stranger's")
    sent = parcel(size)
    if route == "list_parts":
        context = later(half_sent(standin, sent))
    media = "text/html" if body.startswith(b"<") else "application/json"
    standin.faults.append(Fault(route, Answer(status, body=body, media_type=media), times=-1))
    outcome = tried(standin, sent, target, context)
    if isinstance(outcome, DeliveryError):
        assert "html" not in outcome.message
    else:
        assert (route, status) == ("list_parts", 200), "an empty list of parts is one"
        assert held(standin, sent)


def test_other_bytes_than_were_sent_are_removed(standin: BoxStandIn) -> None:
    standin.put("inbox/other.jpg", b"other bytes")
    there = standin.tree.full(standin.at("inbox/other.jpg"))
    standin.faults.append(Fault("upload_file", Answer(201, {"total_count": 1, "entries": [there]})))
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, parcel(100))
    assert failed.value.kind is ErrorKind.INTEGRITY
    assert standin.counts()["delete_file"] == 1


# --- names that others take ---------------------------------------------------------------------------


@BY_POLICY
def test_a_name_taken_while_the_file_is_sent(standin: BoxStandIn, target: Target) -> None:
    sent = parcel()
    strangers: list[None] = []

    def intrude() -> None:
        if not strangers:
            strangers.append(None)
            standin.put(PATH, b"a stranger's")

    outcome = tried(standin, sent, target, HarnessContext(on_commit=intrude))
    if target is FAIL:
        assert isinstance(outcome, DeliveryError)
        assert outcome.kind is ErrorKind.CONFLICT
    else:
        assert isinstance(outcome, Receipt)
        assert outcome.skipped == (target is SKIP)
        assert held(standin, sent, outcome.path or "") == (target is not SKIP)
    assert len(names(standin)) == (2 if target is RENAME else 1)
    assert not standin.unfinished()


@pytest.mark.parametrize("size", [100, LARGE])
def test_overwrite_looks_again_at_a_version_made_meanwhile(standin: BoxStandIn, size: int) -> None:
    standin.put(PATH, b"a stranger's")
    others: list[None] = []

    def intrude() -> None:
        if not others:
            others.append(None)
            standin.put(PATH, b"a later one of the stranger's")

    sent = parcel(size)
    receipt = deliver(standin, sent, OVERWRITE, HarnessContext(on_commit=intrude))
    statuses = [each.status for each in standin.seen if each.route in ("upload_version", "commit")]
    assert statuses[0] == 412
    assert standin.at(PATH).version_number == 3
    assert receipt.version == standin.at(PATH).version
    assert held(standin, sent)
    assert not standin.unfinished()


@pytest.mark.parametrize("size", [100, LARGE])
def test_overwrite_of_a_file_that_is_trashed_meanwhile(standin: BoxStandIn, size: int) -> None:
    standin.put(PATH, b"a stranger's")
    gone: list[None] = []

    def remove() -> None:
        if not gone:
            gone.append(None)
            standin.tree.trash(standin.at(PATH), for_good=False)

    sent = parcel(size)
    deliver(standin, sent, OVERWRITE, HarnessContext(on_commit=remove))
    assert held(standin, sent)
    assert not standin.unfinished()


@pytest.mark.parametrize("size", [100, LARGE])
@BY_POLICY
def test_a_name_that_is_reserved_is_waited_for(
    standin: BoxStandIn, target: Target, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(placing, "pause", lambda seconds, context: waits.append(seconds))
    route = "upload_file" if size == 100 else "commit"
    standin.faults.append(Fault(route, said("name_temporarily_reserved"), times=2))
    sent = parcel(size)
    deliver(standin, sent, target)
    assert len(waits) == 2
    assert standin.counts()["create_session"] == (0 if size == 100 else 1)
    assert standin.counts()["upload_part"] == (0 if size == 100 else 4)
    assert held(standin, sent)


def test_a_name_that_stays_reserved_is_tried_later(
    standin: BoxStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, "pause", lambda seconds, context: None)
    standin.faults.append(Fault("upload_file", said("name_temporarily_reserved"), times=-1))
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, parcel(100), RENAME)
    assert failed.value.kind is ErrorKind.TRANSIENT
    assert not names(standin)


# --- the account --------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["create_folder", "upload_file", "upload_part", "commit"])
def test_a_token_that_ends_in_mid_upload_is_renewed_once(standin: BoxStandIn, route: str) -> None:
    tokens = tuple(standin.sign_in("root_readwrite")[0] for _ in range(2))
    standin.faults.append(Fault(route, Answer(401, None, {"WWW-Authenticate": "Bearer"})))
    sent, context = parcel(100 if route == "upload_file" else LARGE), HarnessContext()
    deliver(standin, sent, FAIL, context, tokens=tokens)
    assert held(standin, sent)
    assert sum(each.status == 401 for each in standin.seen) == 1
    used = [each.headers["Authorization"].removeprefix("Bearer ") for each in standin.seen]
    assert (used[0], used[-1]) == tokens


def test_a_token_that_is_refused_twice_is_not_tried_for_ever(standin: BoxStandIn) -> None:
    tokens = tuple(standin.sign_in("root_readwrite")[0] for _ in range(5))
    standin.refused_tokens.update(tokens)
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, parcel(100), tokens=tokens)
    assert (failed.value.kind, failed.value.scope) == (ErrorKind.AUTH_EXPIRED, Scope.CONNECTION)
    assert len(standin.seen) == 2


@pytest.mark.parametrize("route", ["create_folder", "upload_file", "create_session", "upload_part", "commit"])
def test_throttling_says_exactly_how_long_and_concerns_the_account(standin: BoxStandIn, route: str) -> None:
    standin.faults.append(Fault(route, said("rate_limit_exceeded", **{"Retry-After": "37"})))
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, parcel(100 if route == "upload_file" else LARGE))
    error = failed.value
    assert (error.kind, error.retry_after, error.scope) == (ErrorKind.THROTTLED, 37.0, Scope.CONNECTION)
    assert standin.count(route) == 1


@pytest.mark.parametrize("route", ["upload_file", "commit"])
def test_a_delay_may_be_a_date(standin: BoxStandIn, route: str) -> None:
    """The SDK's own retries fail on one."""
    now = datetime.datetime.now(datetime.UTC)
    until = format_datetime(now + datetime.timedelta(seconds=90), usegmt=True)
    standin.faults.append(Fault(route, said("rate_limit_exceeded", **{"Retry-After": until})))
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, parcel(100 if route == "upload_file" else LARGE))
    assert failed.value.kind is ErrorKind.THROTTLED
    assert failed.value.retry_after == pytest.approx(90, abs=2)


def test_the_limit_of_uploads_a_minute_is_met_as_box_states_it(standin: BoxStandIn) -> None:
    standin.uploads_per_minute = 1
    with connector(standin) as made:
        made.deliver(parcel(100), FAIL, HarnessContext())
        with pytest.raises(DeliveryError) as failed:
            made.deliver(parcel(100), at("inbox/b.jpg"), HarnessContext())
    assert failed.value.kind is ErrorKind.THROTTLED
    assert 0 < (failed.value.retry_after or 0) <= 60


@pytest.mark.parametrize("size", [100, LARGE])
def test_a_full_account_is_quota(standin: BoxStandIn, size: int) -> None:
    standin.quota = 50
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, parcel(size))
    assert failed.value.kind is ErrorKind.QUOTA
    assert not names(standin)
    assert not standin.unfinished()


@pytest.mark.parametrize("size", [100, LARGE])
def test_a_file_above_the_plans_limit(standin: BoxStandIn, size: int) -> None:
    standin.max_upload_size = 50
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, parcel(size))
    assert failed.value.kind is ErrorKind.TOO_LARGE


def test_another_user_is_acted_for_at_each_request(standin: BoxStandIn) -> None:
    for size in (100, LARGE):
        deliver(standin, parcel(size), at(f"inbox/{size}.jpg"), as_user="4242")
    assert {each.headers["As-User"] for each in standin.seen} == {"4242"}


def test_no_token_stands_in_a_message_or_in_the_log(standin: BoxStandIn) -> None:
    (token,) = tokens = (standin.sign_in("root_readwrite")[0],)
    memory, context = SimpleMemory(), HarnessContext()
    for code in ("forbidden", "unavailable", "conflict", "session_expired"):
        standin.faults.append(Fault("*", said(code), times=3))
        outcome = tried(standin, parcel(), FAIL, context, tokens=tokens, memory=memory)
        assert isinstance(outcome, DeliveryError)
        assert token not in f"{outcome!r}{outcome.message}{outcome.hint}{outcome.__dict__}"
        assert "://" not in outcome.message
        standin.faults.clear()
    assert token not in json.dumps([str(line) for line in context.log.lines]) + json.dumps(context.state)
