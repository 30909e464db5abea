"""The stand-in for Dropbox by plain HTTP: each rule, and the answer to a request that breaks it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import requests

from servers.standins.dropbox import DropboxStandIn, rate_limited
from servers.standins.dropbox.described import DESCRIBED
from servers.standins.kit import Fault

MIB = 1 << 20
FOUR = 4 * MIB
EMPTY = hashlib.sha256(b"").hexdigest()


class Plain:
    """Dropbox by HTTP, without the SDK."""

    def __init__(self, standin: DropboxStandIn, scopes: str | None = None) -> None:
        self.standin = standin
        self.session = requests.Session()
        self.session.trust_env = False
        self.token, _ = standin.sign_in(" ".join(standin.scopes) if scopes is None else scopes)

    def send(self, name: str, headers: Mapping[str, str | None], data: Any = None) -> requests.Response:
        all_of_them = {"Authorization": f"Bearer {self.token}", **headers}
        sent = {key: value for key, value in all_of_them.items() if value is not None}
        return self.session.post(f"{self.standin.url}/2/{name}", headers=sent, data=data, timeout=20)

    def ask(self, name: str, **argument: Any) -> requests.Response:
        return self.send(name, {"Content-Type": "application/json"}, json.dumps(argument))

    def give(self, name: str, data: bytes = b"", **argument: Any) -> requests.Response:
        told = {"Content-Type": "application/octet-stream", "Dropbox-API-Arg": json.dumps(argument)}
        return self.send(name, told, data)

    def upload(self, path: str, data: bytes = b"x", **more: Any) -> requests.Response:
        return self.give("files/upload", data, path=path, **more)

    def start(self, data: bytes = b"", **more: Any) -> str:
        answer = self.give("files/upload_session/start", data, **more)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["session_id"])

    def append(self, session: str, offset: int, data: bytes = b"", **more: Any) -> requests.Response:
        cursor = {"session_id": session, "offset": offset}
        return self.give("files/upload_session/append_v2", data, cursor=cursor, **more)

    def finish(self, session: str, offset: int, path: str, data: bytes = b"", **more: Any) -> Any:
        cursor, commit = {"session_id": session, "offset": offset}, {"path": path, **more}
        return self.give("files/upload_session/finish", data, cursor=cursor, commit=commit)


@pytest.fixture
def plain(dropbox_standin: DropboxStandIn) -> Iterator[Plain]:
    made = Plain(dropbox_standin)
    with made.session:
        yield made


def said(answer: requests.Response) -> str:
    """Status and summary: ``409 path/conflict/file``."""
    summary = answer.json()["error_summary"] if answer.status_code != 200 else "/.."
    assert summary.endswith("/..")
    return f"{answer.status_code} {summary[:-3]}".strip()


# --- uploads ---------------------------------------------------------------------------------------

UPLOADS: dict[str, tuple[dict[str, Any], str]] = {
    "a new file": ({"path": "/new"}, "200"),
    "the same bytes": ({"path": "/There.jpg", "data": b"old"}, "200"),
    "the same bytes, strictly": (
        {"path": "/there.jpg", "data": b"old", "strict_conflict": True},
        "409 path/conflict/file",
    ),
    "other bytes": ({"path": "/there.JPG"}, "409 path/conflict/file"),
    "other bytes, overwriting": ({"path": "/there.jpg", "mode": "overwrite"}, "200"),
    "an older revision": (
        {"path": "/there.jpg", "mode": {".tag": "update", "update": "0" * 16}},
        "409 path/conflict/file",
    ),
    "a revision of what is gone": ({"path": "/gone", "mode": {".tag": "update", "update": "0" * 16}}, "200"),
    "a revision of what is gone, strictly": (
        {"path": "/gone", "mode": {".tag": "update", "update": "0" * 16}, "strict_conflict": True},
        "409 path/conflict/file",
    ),
    "a folder": ({"path": "/folder", "mode": "overwrite"}, "409 path/conflict/folder"),
    "a file above": ({"path": "/there.jpg/x"}, "409 path/conflict/file_ancestor"),
    "a file far above": ({"path": "/there.jpg/x/y"}, "409 path/conflict/file_ancestor"),
    "no name": ({"path": "/"}, "409 path/malformed_path"),
    "an empty level": ({"path": "/a//b"}, "409 path/malformed_path"),
    "a trailing slash": ({"path": "/a/"}, "409 path/malformed_path"),
    "an id that nothing has": ({"path": "id:nothing/x"}, "409 path/malformed_path"),
    "a DEL": ({"path": "/a\x7fb"}, "409 path/disallowed_name"),
    "a trailing space in a folder": ({"path": "/a /b"}, "409 path/disallowed_name"),
    "a reserved name": ({"path": "/a/.DS_Store"}, "409 path/disallowed_name"),
    "the longest name": ({"path": "/" + "a" * 255}, "200"),
    "a longer name": ({"path": "/" + "a" * 256}, "409 path/disallowed_name"),
    "a namespace of others": ({"path": "ns:77/a"}, "409 path/no_write_permission"),
    "the right digest": ({"path": "/new", "data": b"", "content_hash": EMPTY}, "200"),
    "a wrong digest": ({"path": "/new", "content_hash": EMPTY}, "409 content_hash_mismatch"),
    "many bytes": ({"path": "/new", "data": b"x" * 100}, "200"),
    "too many bytes": ({"path": "/new", "data": b"x" * 101}, "409 payload_too_large"),
    "more than there is room": ({"path": "/new", "data": b"x" * 98}, "409 path/insufficient_space"),
}


@pytest.mark.parametrize("case", UPLOADS)
def test_uploads(plain: Plain, case: str) -> None:
    plain.upload("/There.jpg", b"old")
    plain.ask("files/create_folder_v2", path="/folder")
    plain.standin.upload_limit = 100
    plain.standin.quota = 100 if "room" in case else None
    argument, expected = UPLOADS[case]
    before = sorted(name for name, _ in plain.standin.files())
    answer = plain.upload(**argument)
    assert said(answer) == expected
    if answer.status_code != 200:
        assert sorted(name for name, _ in plain.standin.files()) == before
        listed = plain.ask("files/list_folder", path="", recursive=True).json()["entries"]
        assert {entry["path_lower"] for entry in listed} == {"/there.jpg", "/folder"}, "no folder for nothing"


BAD_UPLOADS: dict[str, tuple[dict[str, str | None], str]] = {
    "no argument": ({"Dropbox-API-Arg": None}, "Dropbox-API-Arg"),
    "no JSON": ({"Dropbox-API-Arg": "{"}, "Dropbox-API-Arg"),
    "not ASCII": ({"Dropbox-API-Arg": '{"path": "/\xfc"}'}, "could not decode"),
    "an unknown field": ({"Dropbox-API-Arg": '{"path": "/a", "colour": 1}'}, "colour"),
    "an unknown mode": ({"Dropbox-API-Arg": '{"path": "/a", "mode": "replace"}'}, "mode"),
    "a mode without its value": ({"Dropbox-API-Arg": '{"path": "/a", "mode": "update"}'}, "mode"),
    "a relative path": ({"Dropbox-API-Arg": '{"path": "a"}'}, "pattern"),
    "a number for a flag": ({"Dropbox-API-Arg": '{"path": "/a", "autorename": 1}'}, "autorename"),
    "half seconds": (
        {"Dropbox-API-Arg": '{"path": "/a", "client_modified": "2026-01-01T00:00:00.5Z"}'},
        "client_modified",
    ),
    "a short digest": ({"Dropbox-API-Arg": '{"path": "/a", "content_hash": "00"}'}, "content_hash"),
    "no media type": ({"Content-Type": None}, "Content-Type"),
    "the media type of JSON": ({"Content-Type": "application/json"}, "Content-Type"),
    "text": ({"Content-Type": "text/plain"}, "Content-Type"),
    "no login": ({"Authorization": None}, "Authorization"),
    "another scheme": ({"Authorization": "Basic YTpi"}, "Authorization"),
    "no token": ({"Authorization": "Bearer"}, "Authorization"),
    "another root, in words": ({"Dropbox-API-Path-Root": "home"}, "Path-Root"),
}


@pytest.mark.parametrize("case", BAD_UPLOADS)
def test_uploads_that_are_malformed(plain: Plain, case: str) -> None:
    headers, says = BAD_UPLOADS[case]
    good = {"Content-Type": "application/octet-stream", "Dropbox-API-Arg": '{"path": "/a"}'}
    answer = plain.send("files/upload", {**good, **headers}, b"x")
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "text/plain; charset=utf-8")
    assert answer.text.startswith('Error in call to API function "files/upload": ')
    assert says in answer.text
    assert plain.standin.files() == []


def test_the_argument_may_stand_in_the_url(plain: Plain) -> None:
    octets = {"Content-Type": "application/octet-stream"}
    assert plain.send('files/upload?arg={"path":"/%C3%BC"}', octets, b"x").json()["name"] == "ü"


def test_what_stands_there_already_keeps_its_times_whatever_the_mode(plain: Plain) -> None:
    made = plain.upload("/a", client_modified="2020-01-02T03:04:05Z").json()
    again = plain.upload("/a", mode="overwrite", client_modified="2026-01-02T03:04:05Z").json()
    assert (again["rev"], again["client_modified"]) == (made["rev"], "2020-01-02T03:04:05Z")
    fresh = plain.upload("/a", mode="overwrite", client_modified="2026-01-02T03:04:05Z", strict_conflict=True)
    assert fresh.json()["client_modified"] == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        ("add", ["a.tar (1).gz", "a.tar (2).gz"]),
        (
            {".tag": "update", "update": "0" * 16},
            ["a.tar (conflicted copy).gz", "a.tar (conflicted copy 1).gz"],
        ),
    ],
)
def test_names_are_chosen_for_those_who_ask(plain: Plain, mode: Any, names: list[str]) -> None:
    plain.upload("/a.tar.gz", b"first")
    given = [plain.upload("/a.tar.gz", data, mode=mode, autorename=True).json() for data in (b"1", b"2")]
    assert [entry["name"] for entry in given] == names
    plain.ask("files/create_folder_v2", path="/folder")
    assert plain.upload("/folder", autorename=True).json()["name"] == "folder (1)"


def test_case_does_not_count_and_is_kept(plain: Plain) -> None:
    plain.upload("/Fotos/Ä.jpg")
    made = plain.upload("/FOTOS/b.JPG").json()
    assert (made["path_display"], made["path_lower"]) == ("/Fotos/b.JPG", "/fotos/b.jpg")
    assert plain.ask("files/get_metadata", path="/fotos/A\u0308.jpg").json()["name"] == "Ä.jpg"


# --- sessions --------------------------------------------------------------------------------------


def closed(plain: Plain) -> requests.Response:
    return plain.append(plain.start(b"abc", close=True), 3, b"d")


def two_heads(plain: Plain) -> requests.Response:
    session = plain.start(session_type="concurrent")
    plain.append(session, FOUR, b"end", close=True)
    return plain.finish(session, FOUR + 3, "/a")  # type: ignore[no-any-return]


def over(plain: Plain, offset: int, *, finish: bool = False) -> requests.Response:
    plain.standin.max_file = 3
    session = plain.start(b"abc")
    return plain.finish(session, 3, "/a", b"d") if finish else plain.append(session, 3, b"d")


def late(plain: Plain) -> requests.Response:
    session, began = plain.start(b"abc"), plain.standin.now()
    plain.standin.now = lambda: began + 7 * 86_400
    plain.token, _ = plain.standin.sign_in("files.content.write")
    return plain.append(session, 3)


def committed(plain: Plain, *, after: str = "not_found") -> requests.Response:
    plain.standin.after_commit = after
    session = plain.start(b"abc")
    assert plain.finish(session, 3, "/a").status_code == 200
    return plain.append(session, 3)


def closed_first(plain: Plain) -> requests.Response:
    plain.standin.closed_before_offset = True
    return plain.append(plain.start(b"abc", close=True), 0)


def start(plain: Plain, data: bytes = b"", **more: Any) -> requests.Response:
    return plain.give("files/upload_session/start", data, **more)


def concurrent(plain: Plain) -> str:
    return plain.start(session_type="concurrent")


SESSIONS: dict[str, tuple[Callable[[Plain], requests.Response], str]] = {
    "unknown": (lambda p: p.append("nothing", 0), "409 not_found"),
    "behind": (lambda p: p.append(p.start(b"abc"), 2, b"c"), "409 incorrect_offset"),
    "ahead": (lambda p: p.append(p.start(b"abc"), 4, b"e"), "409 incorrect_offset"),
    "in place": (lambda p: p.append(p.start(b"abc"), 3, b"d"), "200"),
    "nothing more": (lambda p: p.append(p.start(b"abc"), 3), "200"),
    "closed": (closed, "409 closed"),
    "closed, and at another offset": (
        lambda p: p.append(p.start(b"a", close=True), 0),
        "409 incorrect_offset",
    ),
    "closed is told first": (closed_first, "409 closed"),
    "seven days old": (late, "409 not_found"),
    "committed": (committed, "409 not_found"),
    "committed, as others tell it": (lambda p: committed(p, after="closed"), "409 closed"),
    "too large": (lambda p: over(p, 3), "409 too_large"),
    "too large at the end": (lambda p: over(p, 3, finish=True), "409 lookup_failed/too_large"),
    "a wrong digest": (
        lambda p: p.append(p.start(b"abc"), 3, b"d", content_hash=EMPTY),
        "409 content_hash_mismatch",
    ),
    "a wrong digest at the start": (
        lambda p: start(p, b"d", content_hash=EMPTY),
        "409 content_hash_mismatch",
    ),
    "finish: unknown": (lambda p: p.finish("nothing", 0, "/a"), "409 lookup_failed/not_found"),
    "finish: behind": (lambda p: p.finish(p.start(b"abc"), 2, "/a"), "409 lookup_failed/incorrect_offset"),
    "finish: bytes for a closed one": (
        lambda p: p.finish(p.start(b"abc", close=True), 3, "/a", b"d"),
        "409 lookup_failed/closed",
    ),
    "finish: a closed one": (lambda p: p.finish(p.start(b"abc", close=True), 3, "/a"), "200"),
    "finish: a bad name": (lambda p: p.finish(p.start(b"abc"), 3, "/a//b"), "409 path/malformed_path"),
    "concurrent: bytes at the start": (
        lambda p: start(p, b"x", session_type="concurrent"),
        "409 concurrent_session_data_not_allowed",
    ),
    "concurrent: closed at the start": (
        lambda p: start(p, session_type="concurrent", close=True),
        "409 concurrent_session_close_not_allowed",
    ),
    "concurrent: an odd offset": (
        lambda p: p.append(concurrent(p), 1, b"x" * FOUR),
        "409 concurrent_session_invalid_offset",
    ),
    "concurrent: an odd size": (
        lambda p: p.append(concurrent(p), 0, b"x"),
        "409 concurrent_session_invalid_data_size",
    ),
    "concurrent: an odd size at the end": (lambda p: p.append(concurrent(p), 0, b"x", close=True), "200"),
    "concurrent: still open": (
        lambda p: p.finish(concurrent(p), 0, "/a"),
        "409 concurrent_session_not_closed",
    ),
    "concurrent: bytes at the end": (
        lambda p: p.finish(concurrent(p), 0, "/a", b"x"),
        "409 concurrent_session_data_not_allowed",
    ),
    "concurrent: a piece is missing": (two_heads, "409 concurrent_session_missing_data"),
}


@pytest.mark.parametrize("case", SESSIONS)
def test_sessions(plain: Plain, case: str) -> None:
    request, expected = SESSIONS[case]
    assert said(request(plain)) == expected


@pytest.mark.parametrize("name", ["start", "append_v2", "finish"])
def test_no_request_of_a_session_is_larger_than_an_upload(plain: Plain, name: str) -> None:
    session = plain.start(b"abc")
    plain.standin.upload_limit = 10
    cursor = {"session_id": session, "offset": 3}
    known = {"start": {}, "append_v2": {"cursor": cursor}, "finish": {"cursor": cursor}}[name]
    if name == "finish":
        known["commit"] = {"path": "/a"}
    answer = plain.give(f"files/upload_session/{name}", b"x" * 11, **known)
    assert said(answer) == "409 payload_too_large"
    assert plain.append(session, 3, b"x" * 10).status_code == 200


def test_an_offset_that_is_wrong_is_put_right(plain: Plain) -> None:
    error = plain.append(plain.start(b"abc"), 0).json()["error"]
    assert error == {".tag": "incorrect_offset", "correct_offset": 3}


def test_a_commit_that_failed_has_taken_its_bytes(plain: Plain) -> None:
    plain.upload("/a", b"theirs")
    session = plain.start(b"ab")
    assert said(plain.finish(session, 2, "/a", b"c")) == "409 path/conflict/file"
    assert said(plain.finish(session, 2, "/b", b"c")) == "409 lookup_failed/incorrect_offset"
    assert plain.finish(session, 3, "/b").json()["size"] == 3
    assert plain.standin.open_sessions() == set()


def test_a_batch_commits_what_is_closed(plain: Plain) -> None:
    (open_one,) = plain.ask("files/upload_session/start_batch", num_sessions=1).json()["session_ids"]
    good, taken = (plain.start(data, close=True) for data in (b"abc", b"def"))
    plain.upload("/taken", b"theirs")
    places = [(good, 3, "/good"), (open_one, 0, "/open"), (taken, 3, "/taken"), ("nothing", 0, "/none")]
    entries = [
        {"cursor": {"session_id": session, "offset": offset}, "commit": {"path": path}}
        for session, offset, path in places
    ]
    answer = plain.ask("files/upload_session/finish_batch_v2", entries=entries)
    outcomes = answer.json()["entries"]
    assert outcomes[0] | {".tag": "success", "name": "good", "size": 3} == outcomes[0]
    assert [outcome.get("failure") for outcome in outcomes[1:]] == [
        {".tag": "lookup_failed", "lookup_failed": {".tag": "not_closed"}},
        {".tag": "path", "path": {".tag": "conflict", "conflict": {".tag": "file"}}},
        {".tag": "lookup_failed", "lookup_failed": {".tag": "not_found"}},
    ]
    too_many = plain.ask("files/upload_session/finish_batch_v2", entries=entries[:1] * 1001)
    assert (too_many.status_code, "entries" in too_many.text) == (400, True)
    assert plain.ask("files/upload_session/start_batch", num_sessions=1001).status_code == 400


# --- contention ------------------------------------------------------------------------------------


def test_contention_is_answered_with_a_time_to_wait(plain: Plain) -> None:
    plain.standin.commits_at_once, plain.standin.retry_after = 0, 7
    answer = plain.upload("/a")
    assert (said(answer), answer.headers["Retry-After"]) == ("429 too_many_write_operations", "7")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["error"] == {"reason": {".tag": "too_many_write_operations"}, "retry_after": 7}


def test_contention_may_be_the_error_of_the_call(plain: Plain) -> None:
    session, closed_one = plain.start(b"abc"), plain.start(b"abc", close=True)
    plain.standin.commits_at_once, plain.standin.contention_in = 0, "error"
    uploaded = plain.upload("/a")
    assert said(uploaded) == "409 path/too_many_write_operations"
    assert said(plain.finish(session, 3, "/b", b"d")) == "409 path/too_many_write_operations"
    assert said(plain.ask("files/create_folder_v2", path="/c")) == "409 path/too_many_write_operations"
    assert said(plain.ask("files/delete_v2", path="/c")) == "409 too_many_write_operations"
    entry = {"cursor": {"session_id": closed_one, "offset": 3}, "commit": {"path": "/d"}}
    batch = plain.ask("files/upload_session/finish_batch_v2", entries=[entry]).json()["entries"]
    assert batch == [{".tag": "failure", "failure": {".tag": "too_many_write_operations"}}]
    plain.standin.commits_at_once = None
    kept = uploaded.json()["error"]["upload_session_id"]
    assert (plain.finish(kept, 1, "/a").json()["size"], plain.finish(session, 4, "/b").json()["size"]) == (
        1,
        4,
    )


def test_of_two_commits_at_once_one_is_refused(plain: Plain) -> None:
    plain.standin.commits_at_once = 1
    plain.standin.namespaces.add("42")
    with plain.standin.committing("3235641") as busy:
        assert busy is None
        assert said(plain.upload("/b")) == "429 too_many_write_operations"
        assert plain.upload("ns:42/b").status_code == 200, "another namespace"
    assert plain.upload("/b").status_code == 200


def test_throttling_by_a_fault_on_any_call(plain: Plain) -> None:
    plain.standin.faults.append(Fault("get_metadata", rate_limited("too_many_requests", 3)))
    answer = plain.ask("files/get_metadata", path="/a")
    assert (said(answer), answer.headers["Retry-After"]) == ("429 too_many_requests", "3")
    assert len(answer.headers["X-Dropbox-Request-Id"]) == 32


# --- looking ---------------------------------------------------------------------------------------

LOOKS: dict[str, tuple[str, dict[str, Any], str]] = {
    "nothing": ("files/get_metadata", {"path": "/none"}, "409 path/not_found"),
    "something": ("files/get_metadata", {"path": "/A/b.jpg"}, "200"),
    "in a namespace of others": ("files/get_metadata", {"path": "ns:77/a"}, "409 path/not_found"),
    "a list of nothing": ("files/list_folder", {"path": "/none"}, "409 path/not_found"),
    "a list of a file": ("files/list_folder", {"path": "/a/b.jpg"}, "409 path/not_folder"),
    "a folder that is there": ("files/create_folder_v2", {"path": "/A"}, "409 path/conflict/folder"),
    "a folder for a file": ("files/create_folder_v2", {"path": "/a/b.jpg"}, "409 path/conflict/file"),
    "a folder under a file": (
        "files/create_folder_v2",
        {"path": "/a/b.jpg/c"},
        "409 path/conflict/file_ancestor",
    ),
    "a new folder": ("files/create_folder_v2", {"path": "/b/c"}, "200"),
    "a folder by another name": ("files/create_folder_v2", {"path": "/a", "autorename": True}, "200"),
    "a folder with a bad name": ("files/create_folder_v2", {"path": "/c "}, "409 path/disallowed_name"),
    "deleting nothing": ("files/delete_v2", {"path": "/none"}, "409 path_lookup/not_found"),
    "deleting another revision": (
        "files/delete_v2",
        {"path": "/a/b.jpg", "parent_rev": "0" * 16},
        "409 path_write/conflict/file",
    ),
    "deleting a folder": ("files/delete_v2", {"path": "/a"}, "200"),
    "an echo": ("check/user", {"query": "hello"}, "200"),
}


@pytest.mark.parametrize("case", LOOKS)
def test_looking_and_changing(plain: Plain, case: str) -> None:
    plain.upload("/a/b.jpg")
    name, argument, expected = LOOKS[case]
    assert said(plain.ask(name, **argument)) == expected


@pytest.mark.parametrize(
    ("name", "argument", "kind"),
    [
        ("files/get_metadata", '{"path": ""}', "application/json"),
        ("files/get_metadata", '{"path": 7}', "application/json"),
        ("files/get_metadata", "{}", "application/json"),
        ("files/get_metadata", '{"path": "/a"}', "text/plain"),
        ("files/get_metadata", '{"path": "/a"}', None),
        ("files/list_folder", '{"path": "/"', "application/json"),
        ("files/list_folder", '{"path": "", "limit": 2001}', "application/json"),
        ("files/list_folder/continue", '{"cursor": "nothing"}', "application/json"),
        ("users/get_current_account", "{}", "application/json"),
        ("users/get_current_account", "", "application/json"),
        ("users/get_current_account", "null", "application/x-www-form-urlencoded"),
        ("check/user", json.dumps({"query": "x" * 501}), "application/json"),
        ("auth/token/revoke", "token=x", "application/x-www-form-urlencoded"),
    ],
)
def test_calls_that_are_malformed(plain: Plain, name: str, argument: str, kind: str | None) -> None:
    answer = plain.send(name, {"Content-Type": kind}, argument.encode())
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "text/plain; charset=utf-8")
    assert f'"{name}"' in answer.text


def test_calls_without_an_argument_take_null_or_nothing(plain: Plain) -> None:
    told = plain.send("users/get_current_account", {"Content-Type": "application/json"}, b"null")
    untold = plain.send("users/get_current_account", {})
    assert (told.status_code, told.json()) == (200, untold.json())
    assert told.headers["Content-Type"] == "application/json"


def test_downloads_come_with_their_metadata(plain: Plain) -> None:
    made = plain.upload("/ü", b"hello").json()
    asked = {"Dropbox-API-Arg": json.dumps({"path": "/ü"})}
    answer = plain.send("files/download", asked)
    assert (answer.content, json.loads(answer.headers["Dropbox-API-Result"])) == (b"hello", made)
    assert plain.send("files/download", {**asked, "Content-Type": "application/json"}).status_code == 400
    assert plain.send("files/download", {**asked, "Content-Type": "text/plain"}, b"{}").status_code == 400
    plain.ask("files/create_folder_v2", path="/f")
    folder = plain.send("files/download", {"Dropbox-API-Arg": '{"path": "/f"}'})
    assert said(folder) == "409 path/not_file"


def test_lists_come_in_pages_and_then_as_changes(plain: Plain) -> None:
    for name in "dacb":
        plain.upload(f"/f/{name}")
    plain.upload("/f/g/deep")
    plain.ask("files/delete_v2", path="/f/b")
    first = plain.ask("files/list_folder", path="/F", limit=2).json()
    assert ([e["name"] for e in first["entries"]], first["has_more"]) == (["a", "c"], True)
    second = plain.ask("files/list_folder/continue", cursor=first["cursor"]).json()
    assert ([e["name"] for e in second["entries"]], second["has_more"]) == (["d", "g"], False)
    plain.upload("/f/new")
    plain.upload("/elsewhere")
    plain.ask("files/delete_v2", path="/f/a")
    third = plain.ask("files/list_folder/continue", cursor=second["cursor"]).json()
    assert [(e[".tag"], e["name"]) for e in third["entries"]] == [("file", "new"), ("deleted", "a")]
    gone = plain.ask("files/get_metadata", path="/f/a", include_deleted=True).json()
    assert (gone[".tag"], gone["path_display"]) == ("deleted", "/f/a")
    plain.standin.wipe()
    lost = plain.ask("files/list_folder/continue", cursor=third["cursor"])
    assert said(lost) == "409 reset"


def test_room_is_counted(plain: Plain) -> None:
    plain.standin.quota = 100
    plain.upload("/a", b"x" * 60)
    assert said(plain.upload("/b", b"x" * 41)) == "409 path/insufficient_space"
    assert plain.upload("/a", b"y" * 100, mode="overwrite").status_code == 200
    usage = plain.send("users/get_space_usage", {}).json()
    assert usage == {"used": 100, "allocation": {".tag": "individual", "allocated": 100}}
    plain.ask("files/delete_v2", path="/a")
    assert plain.send("users/get_space_usage", {}).json()["used"] == 0


# --- who may do what -------------------------------------------------------------------------------


def test_each_call_wants_the_scope_that_its_description_names(dropbox_standin: DropboxStandIn) -> None:
    served = [known for known in DESCRIBED.values() if dropbox_standin._find("POST", f"/2/{known.name}")[0]]
    assert len(served) == 16
    other = Plain(dropbox_standin, "sharing.read")
    with other.session:
        for known in served:
            answer = other.send(known.name, {"Content-Type": "application/octet-stream"})
            if known.scope is None:
                assert (known.name, answer.status_code) == ("auth/token/revoke", 400)
                continue
            error = {".tag": "missing_scope", "required_scope": known.scope}
            assert (answer.status_code, answer.json()["error"]) == (401, error), known.name
    scopes = {known.name: known.scope for known in served}
    assert scopes["files/upload_session/append_v2"] == "files.content.write"
    assert scopes["files/list_folder/continue"] == "files.metadata.read"
    assert scopes["files/download"] == "files.content.read"


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda s, t: s.refused_tokens.add(t), "expired_access_token"),
        (lambda s, t: setattr(s.rules.access[t], "until", 0.0), "expired_access_token"),
        (lambda s, t: s.rules.access.pop(t), "invalid_access_token"),
        (lambda s, t: s.rules.revoke_all(), "invalid_access_token"),
        (lambda s, t: setattr(s, "suspended", True), "user_suspended"),
    ],
)
def test_logins_that_are_refused(
    plain: Plain, break_it: Callable[[DropboxStandIn, str], object], says: str
) -> None:
    break_it(plain.standin, plain.token)
    answer = plain.upload("/a")
    assert (said(answer), answer.headers["Content-Type"]) == (f"401 {says}", "application/json")
    assert plain.standin.files() == []


def test_an_application_with_a_folder_sees_it_as_its_root(plain: Plain) -> None:
    standin = plain.standin
    standin.put("private.txt", b"not for applications")
    standin.app_folder = "Apps/Conveyor"
    standin.put("Apps/Conveyor/theirs.jpg", b"theirs")
    assert plain.upload("/2026/photo.jpg").json()["path_display"] == "/2026/photo.jpg"
    listed = plain.ask("files/list_folder", path="", recursive=True).json()["entries"]
    assert [entry["path_lower"] for entry in listed] == ["/2026", "/2026/photo.jpg", "/theirs.jpg"]
    assert sorted(name for name, _ in standin.files()) == [
        "Apps/Conveyor/2026/photo.jpg",
        "Apps/Conveyor/theirs.jpg",
        "private.txt",
    ]
    assert said(plain.ask("files/get_metadata", path="/private.txt")) == "409 path/not_found"
    assert said(plain.upload("ns:3235641/a")) == "409 path/no_write_permission"


def test_the_root_of_a_team_is_another_one(plain: Plain) -> None:
    standin = plain.standin

    def rooted(root: dict[str, str], path: str = "/a") -> requests.Response:
        headers = {"Dropbox-API-Path-Root": json.dumps(root), "Dropbox-API-Arg": json.dumps({"path": path})}
        return plain.send("files/upload", {**headers, "Content-Type": "application/octet-stream"}, b"x")

    assert rooted({".tag": "home"}).status_code == 200
    assert said(rooted({".tag": "namespace_id", "namespace_id": "42"})) == "422 no_permission"
    assert rooted({".tag": "root", "root": "3235641"}).status_code == 200
    standin.root_namespace = "99"
    moved = rooted({".tag": "root", "root": "3235641"})
    assert said(moved) == "422 invalid_root"
    info = {".tag": "team", "root_namespace_id": "99", "home_namespace_id": "3235641", "home_path": "/ann"}
    assert moved.json()["error"]["invalid_root"] == info
    assert plain.send("users/get_current_account", {}).json()["root_info"] == info
    assert rooted({".tag": "root", "root": "99"}, "/team").status_code == 200
    standin.namespaces.add("42")
    assert rooted({".tag": "namespace_id", "namespace_id": "42"}, "/shared").status_code == 200
    assert {name for name, _ in standin.files()} == {"a", "ns:99/team", "ns:42/shared"}


def test_answers_are_held_to_the_description_too(plain: Plain) -> None:
    made = plain.upload("/a").json()
    entry = plain.standin.trees["3235641"].find(made["id"])
    assert entry is not None
    entry.rev = "no revision"
    assert plain.ask("files/get_metadata", path="/a").status_code == 500
    assert "rev" in plain.standin.defects.pop()
