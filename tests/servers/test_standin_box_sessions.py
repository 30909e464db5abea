"""Box's stand-in: upload sessions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from servers.standins.box import BoxStandIn
from servers.standins.box.client import Client, code, digest, sha1, token
from servers.standins.kit import StandInObserver


@pytest.fixture
def client(box_standin: BoxStandIn) -> Iterator[Client]:
    with requests.Session() as session:
        yield Client(box_standin, session)


@pytest.fixture
def chunked(client: Client) -> Client:
    client.standin.chunked_floor, client.standin.part_size = 20, 10
    return client


DATA = b"abcdefghijklmnopqrstuvwxy"


def sent(client: Client, session: Mapping[str, Any], *offsets: int, data: bytes = DATA) -> list[Any]:
    parts = []
    for offset in offsets:
        answer = client.part(session, offset, data[offset : offset + 10], len(data))
        assert answer.status_code == 200, answer.text
        parts.append(answer.json()["part"])
    return parts


def test_a_session_takes_parts_in_any_order(chunked: Client) -> None:
    answer = chunked.open(size=25)
    assert answer.status_code == 201
    session = answer.json()
    assert (session["part_size"], session["total_parts"], session["num_parts_processed"]) == (10, 3, 0)
    where = session["session_endpoints"]
    parts = sent(chunked, session, 20, 0)
    assert chunked.standin.unfinished() == {session["id"]}
    listed = chunked.ask("GET", where["list_parts"]).json()
    assert [part["offset"] for part in listed["entries"]] == [0, 20]
    assert chunked.ask("GET", where["list_parts"] + "?limit=1&offset=1").json()["entries"] == [parts[0]]
    assert chunked.ask("GET", where["status"]).json()["num_parts_processed"] == 2
    parts += sent(chunked, session, 10)
    answer = chunked.commit(session, parts, DATA)
    assert answer.status_code == 201
    assert answer.json()["entries"][0]["sha1"] == sha1(DATA)
    assert StandInObserver(chunked.standin).read("big.bin") == DATA
    assert chunked.standin.unfinished() == set()
    assert len(list(chunked.standin.folder.iterdir())) == 1


@pytest.mark.parametrize(
    ("offset", "data", "headers", "expected"),
    [
        (0, b"abcdefghij", {}, (409, "conflict")),
        (10, b"klmnopqrst", {"digest": digest(b"x")}, (412, "precondition_failed")),
        (10, b"klmnopqrst", {"digest": "md5=abc"}, (400, "bad_request")),
        (10, b"klmnopqrst", {"digest": ""}, (400, "bad_request")),
        (10, b"klmnopqrst", {"content_range": ""}, (400, "bad_request")),
        (10, b"klmnopqrst", {"content_range": "10-19/25"}, (400, "bad_request")),
        (10, b"klmnopqrst", {"content_range": "bytes 10-19/26"}, (416, "requested_range_not_satisfiable")),
        (5, b"fghijklmno", {}, (416, "requested_range_not_satisfiable")),
        (10, b"klmno", {}, (416, "requested_range_not_satisfiable")),
        (10, b"klmno", {"content_range": "bytes 10-19/25"}, (416, "requested_range_not_satisfiable")),
        (20, b"uvwxyz", {}, (416, "requested_range_not_satisfiable")),
        (30, b"x", {}, (416, "requested_range_not_satisfiable")),
    ],
)
def test_a_part_that_breaks_a_rule(
    chunked: Client, offset: int, data: bytes, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    session = chunked.open(size=25).json()
    sent(chunked, session, 0)
    assert code(chunked.part(session, offset, data, 25, **headers)) == expected
    assert chunked.ask("GET", session["session_endpoints"]["list_parts"]).json()["total_count"] == 1
    assert len(list(chunked.standin.folder.iterdir())) == 1


def test_a_commit_that_breaks_a_rule(chunked: Client) -> None:
    session = chunked.open(size=25).json()
    parts = sent(chunked, session, 0, 10)
    assert code(chunked.commit(session, parts, DATA)) == (400, "parts_mismatch")
    parts += sent(chunked, session, 20)
    assert code(chunked.commit(session, parts[:2], DATA)) == (400, "parts_mismatch")
    assert code(chunked.commit(session, [*parts[:2], {**parts[2], "size": 4}], DATA)) == (
        400,
        "parts_mismatch",
    )
    assert code(chunked.commit(session, parts, b"other")) == (412, "precondition_failed")
    assert code(chunked.commit(session, parts, DATA, digest="sha=x")) == (400, "bad_request")
    assert code(chunked.commit(session, "all", DATA)) == (400, "bad_request")
    chunked.upload("BIG.bin")
    answer = chunked.commit(session, parts, DATA)
    assert code(answer) == (409, "item_name_in_use")
    chunked.ask("DELETE", f"/2.0/files/{answer.json()['context_info']['conflicts']['id']}")
    assert chunked.commit(session, parts, DATA).status_code == 201
    assert code(chunked.commit(session, parts, DATA)) == (404, "not_found")
    chunked.standin.commit_again = True
    assert chunked.commit(session, parts, DATA).status_code == 201
    assert [name for name, _ in chunked.standin.files()] == ["big.bin"]


def test_a_commit_is_put_off_as_often_as_is_set(chunked: Client) -> None:
    chunked.standin.mismatches, chunked.standin.put_off, chunked.standin.retry_after = 1, 2, 7
    session = chunked.open(size=25).json()
    parts = sent(chunked, session, 0, 10, 20)
    assert code(chunked.commit(session, parts, DATA)) == (400, "parts_mismatch")
    for _ in range(2):
        answer = chunked.commit(session, parts, DATA)
        assert (answer.status_code, answer.headers["Retry-After"], answer.content) == (202, "7", b"")
    assert chunked.commit(session, parts, DATA).status_code == 201


def test_a_session_ends(chunked: Client) -> None:
    session = chunked.open(size=25).json()
    where = session["session_endpoints"]
    sent(chunked, session, 0)
    assert chunked.ask("DELETE", where["abort"]).status_code == 204
    assert list(chunked.standin.folder.iterdir()) == []
    assert code(chunked.ask("DELETE", where["abort"])) == (404, "not_found")
    assert code(chunked.part(session, 10, DATA[10:20], 25)) == (404, "not_found")
    session = chunked.open(size=25).json()
    real = chunked.standin.now
    chunked.standin.now = lambda: real() + 7 * 86_400 + 1
    chunked.token = chunked.standin.sign_in("root_readwrite")[0]
    assert code(chunked.part(session, 0, DATA[:10], 25)) == (410, "session_expired")
    assert chunked.standin.unfinished() == set()


def test_a_session_that_is_beyond_repair(chunked: Client) -> None:
    session = chunked.open(size=25).json()
    chunked.standin.broken.add(session["id"])
    assert code(chunked.part(session, 0, DATA[:10], 25)) == (410, "upload_failed")
    assert chunked.ask("DELETE", session["session_endpoints"]["abort"]).status_code == 204


def test_of_two_commits_at_once_one_makes_the_file(chunked: Client) -> None:
    session = chunked.open(size=25).json()
    parts = sent(chunked, session, 0, 10, 20)
    others = [Client(chunked.standin) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda other: other.commit(session, parts, DATA).status_code, others))
    for other in others:
        other.session.close()
    assert answers.count(201) == 1
    assert set(answers) <= {201, 404, 409}
    assert StandInObserver(chunked.standin).read("big.bin") == DATA


def test_nothing_comes_between_a_commit_and_its_end(chunked: Client) -> None:
    session = chunked.open(size=25).json()
    parts = sent(chunked, session, 0, 10, 20)
    running = chunked.standin.sessions[session["id"]]
    running.committing = True
    assert code(chunked.commit(session, parts, DATA)) == (409, "operation_blocked_temporary")
    abort = session["session_endpoints"]["abort"]
    assert code(chunked.ask("DELETE", abort)) == (409, "operation_blocked_temporary")
    running.committing = False
    assert chunked.commit(session, parts, DATA).status_code == 201


def test_a_part_that_comes_twice_at_once_is_kept_once(chunked: Client) -> None:
    session = chunked.open(size=25).json()
    others = [Client(chunked.standin) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda other: other.part(session, 0, DATA[:10], 25).status_code, others))
    for other in others:
        other.session.close()
    assert sorted(answers) == [200] + [409] * 7
    assert len(list(chunked.standin.folder.iterdir())) == 1


def test_a_session_is_known_where_it_says(chunked: Client) -> None:
    session = chunked.open(size=25).json()
    direct = f"/api/2.0/files/upload_sessions/{session['id']}"
    assert chunked.ask("GET", direct).status_code == 200
    chunked.standin.only_server_urls = True
    assert code(chunked.ask("GET", direct)) == (404, "not_found")
    assert chunked.ask("GET", session["session_endpoints"]["status"]).status_code == 200


def test_a_session_for_a_new_version(chunked: Client) -> None:
    entry = chunked.upload("a", b"1").json()["entries"][0]
    assert code(chunked.open("A", 25)) == (409, "item_name_in_use")
    path = f"/api/2.0/files/{entry['id']}/upload_sessions"
    session = chunked.ask("POST", path, json={"file_size": 25}).json()
    parts = sent(chunked, session, 0, 10, 20)
    assert code(chunked.commit(session, parts, DATA, if_match="9")) == (412, "precondition_failed")
    new = chunked.commit(session, parts, DATA, if_match=entry["etag"]).json()["entries"][0]
    assert (new["id"], new["sha1"]) == (entry["id"], sha1(DATA))


def test_a_session_is_its_owners(chunked: Client) -> None:
    session = chunked.open(size=25).json()
    form = {"grant_type": "client_credentials", "box_subject_type": "enterprise", "box_subject_id": "400001"}
    other = Client(chunked.standin, chunked.session, token(chunked, **form).json()["access_token"])
    assert code(other.part(session, 0, DATA[:10], 25)) == (403, "forbidden")


def test_a_session_is_measured_by_the_quota(chunked: Client) -> None:
    chunked.standin.quota = 24
    assert code(chunked.open(size=25)) == (403, "storage_limit_exceeded")
    chunked.standin.quota, chunked.standin.max_upload_size = 100, 24
    assert code(chunked.open(size=25)) == (403, "file_size_limit_exceeded")
