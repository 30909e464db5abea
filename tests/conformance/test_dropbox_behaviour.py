"""What the suite cannot know of Dropbox: sessions, lost answers, conflicts, tokens, throttling."""

from __future__ import annotations

import dataclasses
import datetime
import json
from email.utils import format_datetime
from typing import Any

import pytest
from dropbox import auth, files
from servers.deliveries import at, later, names
from servers.dropbox_account import (
    FAIL,
    ONE,
    OVERWRITE,
    PATH,
    PIECES,
    POLICIES,
    RENAME,
    SKIP,
    STORED,
    all_sent,
    argument,
    connector,
    deliver,
    half_sent,
    held,
    parcel,
    token,
    tried,
)
from servers.dropbox_bench import LARGE, MIB, refusing
from servers.standins.dropbox import DropboxStandIn, rate_limited
from servers.standins.dropbox.described import failed, unauthorized
from servers.standins.kit import Fault
from servers.standins.messages import Answer

from conveyor.contract import ConflictPolicy, DeliveryError, ErrorKind, FoundKind, Receipt, Scope, Target
from conveyor.testing.harness import HarnessContext

pytestmark = pytest.mark.server

BY_POLICY = pytest.mark.parametrize("target", POLICIES, ids=lambda target: target.conflict.value)
EXPIRED = unauthorized(auth.AuthError.expired_access_token).answer
BUSY = Answer(503, body=b"busy", media_type="text/plain")
NEXT = "Apps/Conveyor/inbox/photo (1).jpg"


ROUTES = pytest.mark.parametrize("route", ["upload", "session_start", "session_append", "session_finish"])


def size_for(route: str) -> int:
    """Of a parcel whose delivery makes such a request."""
    return {"session_append": PIECES, "session_start": ONE, "session_finish": ONE}.get(route, 100)


@pytest.fixture
def standin(dropbox_standin: DropboxStandIn) -> DropboxStandIn:
    return dropbox_standin


# --- requests ----------------------------------------------------------------------------------------


def test_requests_of_one_file(standin: DropboxStandIn) -> None:
    with connector(standin) as made:
        wanted = {
            "b.jpg": (100, {"upload": 1}),
            "c.jpg": (0, {"upload": 1}),
            "d.jpg": (LARGE, {"session_start": 1, "session_append": 2, "session_finish": 1}),
        }
        for name, (size, requests) in wanted.items():
            standin.forget()
            made.deliver(parcel(size), at(f"inbox/{name}"), HarnessContext())
            assert standin.counts() == requests


@BY_POLICY
def test_every_upload_states_its_mode_its_time_and_its_digest(
    standin: DropboxStandIn, target: Target
) -> None:
    small, large = (parcel(size, submitted_at=1_800_000_000.7) for size in (100, PIECES))
    deliver(standin, small, target)
    deliver(standin, large, Target("inbox/large.jpg", target.conflict))
    (direct,), (finish,) = standin.of("upload"), standin.of("session_finish")
    assert argument(direct)["content_hash"] == small.digests["dropbox"]
    over = target.conflict is ConflictPolicy.OVERWRITE
    for commit in (argument(direct), argument(finish)["commit"]):
        assert commit["mode"][".tag"] == ("overwrite" if over else "add")
        assert commit.get("strict_conflict", False) is not over
        assert commit["client_modified"] == "2027-01-15T08:00:00Z"
        assert not commit.get("autorename", False)
    for chunk in (*standin.of("session_start"), *standin.of("session_append")):
        assert len(argument(chunk)["content_hash"]) == 64


def test_chunks_are_whole_blocks_one_after_the_other_and_the_last_closes(standin: DropboxStandIn) -> None:
    deliver(standin, parcel(LARGE))
    (start,), appends = standin.of("session_start"), standin.of("session_append")
    assert [start.size, *(each.size for each in appends)] == [4 * MIB, 4 * MIB, MIB + 4_711]
    assert [argument(each)["cursor"]["offset"] for each in appends] == [4 * MIB, 8 * MIB]
    assert [argument(each).get("close", False) for each in (start, *appends)] == [False, False, True]


def test_tokens_go_into_one_header_of_dropbox_and_nowhere_else(standin: DropboxStandIn) -> None:
    (given,) = tokens = (token(standin),)
    context = HarnessContext()
    for answer in (EXPIRED, BUSY, rate_limited("too_many_requests", 1), Answer(400, body=b"Bearer what?")):
        standin.faults.append(Fault("*", answer, times=2))
        outcome = tried(standin, parcel(), FAIL, context, tokens=tokens)
        assert isinstance(outcome, DeliveryError)
        assert given not in f"{outcome!r}{outcome.message}{outcome.hint}{outcome.__dict__}"
        assert "://" not in outcome.message
        standin.faults.clear()
    deliver(standin, parcel(), context=context, tokens=tokens)
    assert not any(given in f"{each.path}{each.query}{each.body!r}" for each in standin.seen)
    assert {each.headers["Authorization"] for each in standin.seen} == {f"Bearer {given}"}
    assert given not in json.dumps([str(line) for line in context.log.lines]) + json.dumps(context.state)


def test_a_redirect_is_not_followed(standin: DropboxStandIn) -> None:
    standin.faults.append(Fault("upload", Answer(307, headers={"Location": f"{standin.url}/elsewhere"})))
    with pytest.raises(DeliveryError):
        deliver(standin, parcel(100))
    assert not any(each.path == "/elsewhere" for each in standin.seen)


# --- lost and odd answers ----------------------------------------------------------------------------


@BY_POLICY
@pytest.mark.parametrize("how", ["lost", pytest.param("503", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("route", "size"),
    [("upload", 100), ("session_start", ONE), ("session_append", PIECES), ("session_finish", ONE)],
)
def test_lost_answers_make_no_second_file(
    standin: DropboxStandIn, target: Target, size: int, how: str, route: str
) -> None:
    sent, context = parcel(size), HarnessContext()
    standin.faults.append(Fault(route, None if how == "lost" else BUSY, carried_out=True, lost=how == "lost"))
    publishes = route in ("upload", "session_finish")
    outcome = tried(standin, sent, target, context)
    assert isinstance(outcome, DeliveryError)
    assert outcome.kind is (ErrorKind.UNKNOWN_OUTCOME if publishes else ErrorKind.TRANSIENT)
    second = later(context)
    with connector(standin) as made:
        found = made.find(sent, target, second).kind
    settled = FoundKind.SAME_BYTES if target is OVERWRITE else FoundKind.MINE
    assert found is (settled if publishes else FoundKind.ABSENT)
    receipt = deliver(standin, sent, target, second)
    assert (receipt.path, receipt.renamed, receipt.skipped) == (PATH, False, False)
    assert names(standin) == [STORED]
    assert held(standin, sent)
    if route not in ("upload", "session_start"):  # nobody knows the session that was begun: it ends by itself
        assert second.sent < size


@BY_POLICY
@pytest.mark.parametrize("how", ["lost", "503"])
def test_a_look_that_gets_no_answer_is_repeated(standin: DropboxStandIn, target: Target, how: str) -> None:
    """What is in the way is looked at: our own file of an attempt before."""
    sent, context = parcel(100), HarnessContext()
    standin.faults.append(Fault("upload", lost=True))
    assert isinstance(tried(standin, sent, target, context), DeliveryError)
    standin.faults.append(Fault("get_metadata", None if how == "lost" else BUSY, lost=how == "lost"))
    outcome = tried(standin, sent, target, later(context))
    if target is not OVERWRITE:
        assert isinstance(outcome, DeliveryError)
        assert outcome.kind is ErrorKind.TRANSIENT
    assert deliver(standin, sent, target, later(context)).path == PATH
    assert names(standin) == [STORED]


@BY_POLICY
def test_dying_after_a_session_was_found_gone_makes_no_second_file(
    standin: DropboxStandIn, target: Target
) -> None:
    """The commit's answer was lost; the next worker forgets the session, and dies; a third one delivers."""
    sent, context = parcel(), HarnessContext()
    standin.faults.append(Fault("session_finish", lost=True))
    assert isinstance(tried(standin, sent, target, context), DeliveryError)
    assert context.state["session"]
    without = {key: value for key, value in context.state.items() if key != "session"}
    receipt = deliver(standin, sent, target, HarnessContext(without, attempt=3))
    assert (receipt.path, receipt.skipped) == (PATH, False)
    assert names(standin) == [STORED]


@pytest.mark.parametrize("how", ["lost", "503"])
@pytest.mark.parametrize("route", ["upload", "session_finish"])
def test_a_lost_answer_to_what_replaces_a_file(standin: DropboxStandIn, route: str, how: str) -> None:
    standin.put(STORED, b"a stranger's")
    sent, context = parcel(100 if route == "upload" else ONE), HarnessContext()
    standin.faults.append(Fault(route, None if how == "lost" else BUSY, carried_out=True, lost=how == "lost"))
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, sent, OVERWRITE, context)
    assert failed.value.kind is ErrorKind.UNKNOWN_OUTCOME
    assert deliver(standin, sent, OVERWRITE, later(context)).path == PATH
    assert names(standin) == [STORED]
    assert held(standin, sent)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'"x"', b'{"id": 1}', b'{"session_id": []}', b"null"]
)
@pytest.mark.parametrize(
    "route", ["upload", "session_start", "session_append", "session_finish", "get_metadata"]
)
@pytest.mark.parametrize(
    "status", [200, *(pytest.param(each, marks=pytest.mark.long) for each in (400, 409, 500))]
)
def test_odd_answers_are_errors_of_the_contract(
    standin: DropboxStandIn, route: str, body: bytes, status: int
) -> None:
    if route == "get_metadata":
        standin.put(STORED, b"a stranger's")
    media = "text/html" if body.startswith(b"<") else "application/json"
    standin.faults.append(Fault(route, Answer(status, body=body, media_type=media), times=-1))
    sent = parcel(size_for(route))
    outcome = tried(standin, sent, RENAME, HarnessContext())
    if isinstance(outcome, DeliveryError):
        assert "html" not in outcome.message
        publishes = route in ("upload", "session_finish")
        if publishes and status == 200:
            assert outcome.kind is ErrorKind.UNKNOWN_OUTCOME
    else:
        assert held(standin, sent, f"Apps/Conveyor/{outcome.path}")


# --- sessions ----------------------------------------------------------------------------------------


@BY_POLICY
def test_another_worker_goes_on_where_the_session_stands(standin: DropboxStandIn, target: Target) -> None:
    sent = parcel(LARGE)
    context = half_sent(standin, sent, target)
    standin.forget()
    second = later(context)
    receipt = deliver(standin, sent, target, second)
    assert (receipt.path, receipt.renamed, receipt.verified) == (PATH, False, "dropbox")
    assert second.sent == LARGE - 4 * MIB
    assert standin.counts()["session_start"] == 0
    assert held(standin, sent)


@pytest.mark.parametrize("closed_first", [False, True])
@pytest.mark.parametrize("size", [ONE, PIECES])
def test_a_session_that_is_whole_is_committed_by_whoever_comes_next(
    standin: DropboxStandIn, size: int, closed_first: bool
) -> None:
    standin.closed_before_offset = closed_first
    sent = parcel(size)
    context = all_sent(standin, sent)
    second = later(context)
    deliver(standin, sent, FAIL, second)
    assert second.sent == 0
    assert standin.count("session_start") == 1
    assert held(standin, sent)


def test_a_chunk_that_arrived_though_its_answer_says_otherwise_is_not_sent_again(
    standin: DropboxStandIn,
) -> None:
    tokens = (token(standin), token(standin))
    standin.faults.append(Fault("session_append", EXPIRED, carried_out=True))
    sent = parcel(LARGE)
    deliver(standin, sent, tokens=tokens)
    offsets = [argument(each)["cursor"]["offset"] for each in standin.of("session_append")]
    assert offsets == [4 * MIB, 4 * MIB, 8 * MIB]
    assert held(standin, sent)


def test_a_session_that_never_stands_still_is_left_for_later(standin: DropboxStandIn) -> None:
    stands = files.UploadSessionAppendError.incorrect_offset(files.UploadSessionOffsetError(17))
    answer = failed(files.upload_session_append_v2, stands).answer
    standin.faults.append(Fault("session_append", answer, times=-1))
    with pytest.raises(DeliveryError, match="another worker") as error:
        deliver(standin, parcel(PIECES))
    assert error.value.kind is ErrorKind.TRANSIENT
    assert standin.count("session_append") == 3


@pytest.mark.parametrize("tag", ["not_found", "closed"])
@BY_POLICY
def test_a_session_that_has_become_a_file_is_known(standin: DropboxStandIn, target: Target, tag: str) -> None:
    standin.after_commit = tag
    sent, context = parcel(), HarnessContext()
    standin.faults.append(Fault("session_finish", lost=True))
    assert isinstance(tried(standin, sent, target, context), DeliveryError)
    second = later(context)
    receipt = deliver(standin, sent, target, second)
    assert (receipt.path, receipt.skipped, second.sent) == (PATH, False, 0)
    assert not second.state.get("session")
    assert names(standin) == [STORED]


def test_a_replaced_file_that_was_the_same_is_known(standin: DropboxStandIn) -> None:
    """Dropbox leaves the times of bytes that were there already: the time does not say whose they are."""
    content = b"x" * ONE
    standin.put(STORED, content)
    sent, context = parcel(content), HarnessContext()
    standin.faults.append(Fault("session_finish", lost=True))
    assert isinstance(tried(standin, sent, OVERWRITE, context), DeliveryError)
    second = later(context)
    deliver(standin, sent, OVERWRITE, second)
    assert second.sent == 0


def test_a_session_that_has_ended_by_its_age_begins_anew(standin: DropboxStandIn) -> None:
    sent = parcel(PIECES)
    context = half_sent(standin, sent)
    with standin.lock:
        for each in standin.sessions.values():
            each.until = 0.0
    second = later(context)
    deliver(standin, sent, FAIL, second)
    assert second.sent == PIECES
    assert second.state["session"] != context.state["session"]
    assert held(standin, sent)


def test_a_session_that_ends_again_and_again_is_an_error(standin: DropboxStandIn) -> None:
    standin.session_life = -1.0
    with pytest.raises(DeliveryError) as error:
        deliver(standin, parcel())
    assert error.value.kind is ErrorKind.SESSION_LOST
    assert standin.count("session_start") == 2


def test_abandon_asks_dropbox_for_nothing_and_says_so(standin: DropboxStandIn) -> None:
    context = half_sent(standin, parcel(PIECES))
    standin.forget()
    abandoning = HarnessContext()
    with connector(standin) as made:
        made.abandon(context.state, abandoning)
    assert not standin.seen
    assert "ends by itself" in str(abandoning.log.lines)


# --- bytes that Dropbox keeps ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [100, ONE])
def test_a_full_account_gets_the_bytes_once(standin: DropboxStandIn, size: int) -> None:
    standin.quota = 50
    sent, context = parcel(size), HarnessContext()
    with pytest.raises(DeliveryError) as error:
        deliver(standin, sent, RENAME, context)
    assert (error.value.kind, error.value.scope) == (ErrorKind.QUOTA, Scope.CONNECTION)
    assert "no space" in str(error.value.hint)
    assert not names(standin)
    standin.quota = None
    second = later(context)
    assert deliver(standin, sent, RENAME, second).path == PATH
    assert second.sent == 0
    assert held(standin, sent)


@pytest.mark.parametrize("size", [100, ONE])
@pytest.mark.parametrize("contention", ["answer", "error"])
def test_other_writers_are_waited_for(standin: DropboxStandIn, contention: str, size: int) -> None:
    standin.commits_at_once, standin.contention_in, standin.retry_after = 0, contention, 37
    sent, context = parcel(size), HarnessContext()
    with pytest.raises(DeliveryError) as error:
        deliver(standin, sent, RENAME, context)
    assert (error.value.kind, error.value.scope) == (ErrorKind.THROTTLED, Scope.CONNECTION)
    assert error.value.retry_after == (37.0 if contention == "answer" else None)
    standin.commits_at_once = None
    second = later(context)
    deliver(standin, sent, RENAME, second)
    kept = size == ONE or contention == "error"
    assert second.sent == (0 if kept else size)
    assert names(standin) == [STORED]


# --- what stands in the way --------------------------------------------------------------------------


@pytest.mark.parametrize("size", [100, ONE])
@pytest.mark.parametrize("name", [PATH, "INBOX/Photo.JPG"])
@BY_POLICY
def test_a_file_of_that_name_in_whatever_case(
    standin: DropboxStandIn, target: Target, name: str, size: int
) -> None:
    standin.put(f"Apps/Conveyor/{name}", b"a stranger's")
    sent, context = parcel(size), HarnessContext()
    outcome = tried(standin, sent, target, context)
    if target is FAIL:
        assert isinstance(outcome, DeliveryError)
        assert outcome.kind is ErrorKind.CONFLICT
    else:
        assert isinstance(outcome, Receipt)
        assert (outcome.skipped, outcome.renamed) == (target is SKIP, target is RENAME)
    there = {each.lower() for each in names(standin)}
    assert there == {each.lower() for each in ([STORED, NEXT] if target is RENAME else [STORED])}
    if target is RENAME:
        assert context.sent == size, "no byte is sent twice"
        assert standin.counts()["session_finish"] == (1 if size == 100 else 2)
        assert held(standin, sent, next(each for each in names(standin) if "(1)" in each))


def test_the_same_bytes_of_a_stranger_are_his(standin: DropboxStandIn) -> None:
    standin.put(STORED, b"x" * 100)
    sent = parcel(b"x" * 100)
    outcome = tried(standin, sent, FAIL, HarnessContext())
    assert isinstance(outcome, DeliveryError)
    assert outcome.kind is ErrorKind.CONFLICT
    with connector(standin) as made:
        assert made.find(sent, FAIL, HarnessContext({"path": PATH})).kind is FoundKind.SAME_BYTES
    assert deliver(standin, sent, RENAME).renamed


@pytest.mark.parametrize("size", [100, ONE])
@BY_POLICY
def test_a_folder_of_that_name(standin: DropboxStandIn, target: Target, size: int) -> None:
    standin.put(f"{STORED}/inner.jpg", b"a stranger's")
    outcome = tried(standin, parcel(size), target, HarnessContext())
    wanted = {FAIL: ErrorKind.CONFLICT, OVERWRITE: ErrorKind.NAME}
    assert (outcome.kind if isinstance(outcome, DeliveryError) else None) == wanted.get(target)
    assert names(standin) == sorted([f"{STORED}/inner.jpg", *([NEXT] if target is RENAME else [])])


@pytest.mark.parametrize("size", [100, ONE])
@BY_POLICY
def test_a_file_where_a_folder_should_be(standin: DropboxStandIn, target: Target, size: int) -> None:
    standin.put("Apps/Conveyor/inbox", b"a stranger's")
    outcome = tried(standin, parcel(size), target, HarnessContext())
    assert isinstance(outcome, DeliveryError)
    assert outcome.kind is ErrorKind.NAME
    assert "where a folder should be" in outcome.message
    assert names(standin) == ["Apps/Conveyor/inbox"]


@BY_POLICY
def test_a_name_taken_while_the_file_is_sent(standin: DropboxStandIn, target: Target) -> None:
    strangers: list[None] = []

    def intrude() -> None:
        if not strangers:
            strangers.append(None)
            standin.put(STORED, b"a stranger's")

    sent, context = parcel(), HarnessContext(on_commit=intrude)
    outcome = tried(standin, sent, target, context)
    if target is FAIL:
        assert isinstance(outcome, DeliveryError)
        assert outcome.kind is ErrorKind.CONFLICT
    else:
        assert isinstance(outcome, Receipt)
        assert (outcome.skipped, outcome.renamed) == (target is SKIP, target is RENAME)
    assert context.sent == ONE
    assert len(names(standin)) == (2 if target is RENAME else 1)


@pytest.mark.parametrize("size", [100, ONE])
@pytest.mark.parametrize("reason", ["malformed_path", "disallowed_name"])
def test_a_name_that_dropbox_refuses_is_final(standin: DropboxStandIn, reason: str, size: int) -> None:
    why = (
        files.WriteError.malformed_path(None)
        if reason == "malformed_path"
        else files.WriteError.disallowed_name
    )
    with standin.answering(refusing(why)), pytest.raises(DeliveryError) as error:
        deliver(standin, parcel(size), RENAME)
    assert (error.value.kind, error.value.code) == (ErrorKind.NAME, reason)
    assert "path_template" in str(error.value.hint)


# --- what arrived ------------------------------------------------------------------------------------


def another(size: int) -> Any:
    """A parcel whose digest is not that of its bytes."""
    sent = parcel(size)
    return dataclasses.replace(sent, digests={**sent.digests, "dropbox": "0" * 64})


def test_bytes_that_change_on_the_way_are_refused(standin: DropboxStandIn) -> None:
    with pytest.raises(DeliveryError) as error:
        deliver(standin, another(100))
    assert (error.value.kind, error.value.code) == (ErrorKind.INTEGRITY, "content_hash_mismatch")
    assert not names(standin)


def test_other_bytes_than_were_sent_are_removed_by_their_revision(standin: DropboxStandIn) -> None:
    with pytest.raises(DeliveryError) as error:
        deliver(standin, another(ONE))
    assert error.value.kind is ErrorKind.INTEGRITY
    (removed,) = standin.of("delete")
    assert argument(removed)["parent_rev"]
    assert not names(standin)


def test_what_somebody_has_written_since_is_not_removed(standin: DropboxStandIn) -> None:
    since = files.DeleteError.path_write(files.WriteError.conflict(files.WriteConflictError.file))
    standin.faults.append(Fault("delete", failed(files.delete_v2, since).answer))
    with pytest.raises(DeliveryError) as error:
        deliver(standin, another(ONE))
    assert error.value.kind is ErrorKind.INTEGRITY


# --- the account -------------------------------------------------------------------------------------


@ROUTES
def test_a_token_that_ends_in_mid_upload_is_renewed_once(standin: DropboxStandIn, route: str) -> None:
    tokens = (token(standin), token(standin))
    standin.faults.append(Fault(route, EXPIRED))
    sent = parcel(size_for(route))
    deliver(standin, sent, tokens=tokens)
    assert held(standin, sent)
    assert sum(each.status == 401 for each in standin.seen) == 1
    assert standin.count("session_start") <= 1 + (route == "session_start")
    used = [each.headers["Authorization"].removeprefix("Bearer ") for each in standin.seen]
    assert set(used) == set(tokens)
    assert used[-1] == tokens[1]


def test_a_token_that_is_refused_twice_is_not_tried_for_ever(standin: DropboxStandIn) -> None:
    tokens = tuple(token(standin) for _ in range(5))
    standin.refused_tokens.update(tokens)
    with pytest.raises(DeliveryError) as error:
        deliver(standin, parcel(100), tokens=tokens)
    assert (error.value.kind, error.value.scope) == (ErrorKind.AUTH_EXPIRED, Scope.CONNECTION)
    assert len(standin.seen) == 2


def test_a_missing_permission_names_the_cure(standin: DropboxStandIn) -> None:
    tokens = (standin.sign_in("files.metadata.read")[0],)
    with pytest.raises(DeliveryError) as error:
        deliver(standin, parcel(100), tokens=tokens)
    assert (error.value.kind, error.value.code) == (ErrorKind.AUTH_REVOKED, "missing_scope")
    assert "Tick this permission" in str(error.value.hint)


def test_a_suspended_account_needs_a_person(standin: DropboxStandIn) -> None:
    standin.suspended = True
    with pytest.raises(DeliveryError) as error:
        deliver(standin, parcel(100))
    assert (error.value.kind, error.value.scope) == (ErrorKind.AUTH_REVOKED, Scope.CONNECTION)


@ROUTES
@pytest.mark.parametrize("reason", ["too_many_requests", "too_many_write_operations"])
def test_throttling_says_exactly_how_long_and_concerns_the_account(
    standin: DropboxStandIn, route: str, reason: str
) -> None:
    standin.faults.append(Fault(route, rate_limited(reason, 37)))
    with pytest.raises(DeliveryError) as failed:
        deliver(standin, parcel(size_for(route)))
    error = failed.value
    assert (error.kind, error.retry_after, error.scope) == (ErrorKind.THROTTLED, 37.0, Scope.CONNECTION)
    assert standin.count(route) == 1


def test_a_delay_is_read_in_each_of_its_forms(standin: DropboxStandIn) -> None:
    now = datetime.datetime.now(datetime.UTC)
    until = format_datetime(now + datetime.timedelta(seconds=90), usegmt=True)
    silent = {"error_summary": "too_many_requests/..", "error": {"reason": {".tag": "too_many_requests"}}}
    answers = {
        90.0: Answer(429, body=b"slow down", headers={"Retry-After": until}, media_type="text/plain"),
        37.0: Answer(429, body=b"slow down", headers={"Retry-After": "37"}, media_type="text/plain"),
        300.0: Answer(429, silent, headers={"Retry-After": "300"}),
    }
    for seconds, answer in answers.items():
        standin.faults.append(Fault("upload", answer))
        with pytest.raises(DeliveryError) as error:
            deliver(standin, parcel(100))
        assert error.value.kind is ErrorKind.THROTTLED
        assert error.value.retry_after == pytest.approx(seconds, abs=2)


def test_a_team_space_is_named_at_each_request(standin: DropboxStandIn) -> None:
    standin.namespaces.add("42")
    for size in (100, PIECES):
        deliver(standin, parcel(size), at(f"inbox/{size}.jpg"), namespace_id="42")
    assert {each.headers["Dropbox-API-Path-Root"] for each in standin.seen} == {
        '{".tag": "namespace_id", "namespace_id": "42"}'
    }
    with pytest.raises(DeliveryError) as error:
        deliver(standin, parcel(100), namespace_id="43")
    assert error.value.kind is ErrorKind.CONFIG
    assert "namespace_id" in str(error.value.hint)
