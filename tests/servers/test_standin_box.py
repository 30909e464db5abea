"""Box's stand-in by plain HTTP: what it takes, and what it refuses with which status and code."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from conveyor.testing.ports import wait_until
from servers.standins.box import BoxStandIn
from servers.standins.box.client import OPEN, Client, code, sha1
from servers.standins.box.items import key
from servers.standins.kit import Fault, StandInObserver
from servers.standins.messages import Answer

MiB = 1 << 20


@pytest.fixture
def client(box_standin: BoxStandIn) -> Iterator[Client]:
    with requests.Session() as session:
        yield Client(box_standin, session)


# --- upload in one request ---------------------------------------------------------------------------


def test_an_upload_is_kept_with_the_digest_of_what_arrived(client: Client) -> None:
    data = b"0123456789" * 70_000
    answer = client.upload("a.jpg", data, content_md5=sha1(data))
    assert answer.status_code == 201
    (entry,) = answer.json()["entries"]
    assert (entry["name"], entry["size"], entry["sha1"]) == ("a.jpg", len(data), sha1(data))
    assert StandInObserver(client.standin).read("a.jpg") == data
    moved = client.ask("GET", f"/2.0/files/{entry['id']}/content")
    assert moved.status_code == 302
    assert requests.get(moved.headers["Location"], timeout=10).content == data


def test_an_empty_file_and_one_that_holds_line_ends_arrive_whole(client: Client) -> None:
    for name, data in (("empty", b""), ("lines", b"\r\n--\r\n\r\n--x--\r\n" * 9000)):
        assert client.upload(name, data).json()["entries"][0]["sha1"] == sha1(data)
        assert StandInObserver(client.standin).read(name) == data


def test_times_are_whole_seconds(client: Client) -> None:
    attributes = {
        "name": "a", "parent": {"id": "0"}, "content_created_at": "2012-12-12T10:53:43.9-08:00",
        "content_modified_at": "2013-12-12T10:53:43Z",
    }  # fmt: skip
    files = {"attributes": (None, json.dumps(attributes)), "file": ("a", b"x")}
    entry = client.ask("POST", "/api/2.0/files/content", files=files).json()["entries"][0]
    assert entry["content_created_at"] == "2012-12-12T18:53:43+00:00"
    assert entry["content_modified_at"] == "2013-12-12T10:53:43+00:00"
    assert "." not in entry["created_at"]


def multipart(client: Client, *parts: tuple[str, str | bytes], path: str = "/api/2.0/files/content") -> Any:
    files = [(name, (None if name == "attributes" else "f", value)) for name, value in parts]
    return client.ask("POST", path, files=files)


GOOD = json.dumps({"name": "a", "parent": {"id": "0"}})


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([("file", b"x"), ("attributes", GOOD)], (400, "metadata_after_file_contents")),
        ([("attributes", GOOD)], (400, "bad_request")),
        ([("attributes", "no json"), ("file", b"x")], (400, "bad_request")),
        ([("attributes", '{"name": "a"}'), ("file", b"x")], (400, "bad_request")),
        ([("attributes", '{"name": 7, "parent": {"id": "0"}}'), ("file", b"x")], (400, "bad_request")),
        (
            [("attributes", '{"name": "a", "parent": {"id": "0"}, "mine": 1}'), ("file", b"x")],
            (400, "bad_request"),
        ),
        ([("attributes", '{"name": "a", "parent": {"id": 0}}'), ("file", b"x")], (400, "bad_request")),
        (
            [("attributes", GOOD[:-1] + ', "content_modified_at": "yesterday"}'), ("file", b"x")],
            (400, "bad_request"),
        ),
        ([("attributes", GOOD), ("file", b"x"), ("file", b"y")], (400, "bad_request")),
        ([("attributes", GOOD.replace('"0"', '"77"')), ("file", b"x")], (404, "not_found")),
    ],
)
def test_a_body_that_is_not_as_described_is_refused(
    client: Client, parts: list[tuple[str, str | bytes]], expected: tuple[int, str]
) -> None:
    assert code(multipart(client, *parts)) == expected
    assert client.standin.files() == []
    assert [path for path in client.standin.folder.iterdir() if path.is_file()] == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x" * 255, None),
        ("x" * 256, "item_name_too_long"),
        ("a/b", "item_name_invalid"),
        ("a\\b", "item_name_invalid"),
        (" a", "item_name_invalid"),
        ("a ", "item_name_invalid"),
        (".", "item_name_invalid"),
        ("..", "item_name_invalid"),
        ("a\tb", "item_name_invalid"),
        ("a\x7fb", "item_name_invalid"),
        ("größe: 10 <*>?.jpg", None),
        (".hidden", None),
    ],
)
def test_names(client: Client, name: str, expected: str | None) -> None:
    for answer in (client.upload(name), client.folder(name + "_" if expected is None else name)):
        if expected is None and len(name) < 255:
            assert answer.status_code == 201
        elif expected is not None:
            # POST /folders has its 255 characters in the description, too
            assert answer.status_code == 400
            assert answer.json()["code"] in (expected, "bad_request" if len(name) > 255 else expected)


def test_a_wrong_content_md5_is_refused(client: Client) -> None:
    assert code(client.upload("a", b"x", content_md5=sha1(b"y"))) == (400, "bad_digest")
    assert code(client.upload("a", b"x", content_md5=hashlib.md5(b"x").hexdigest())) == (400, "bad_digest")
    assert client.standin.files() == []


def test_names_are_unique_in_a_folder_whatever_their_case(client: Client) -> None:
    first = client.upload("Photo.JPG", b"1").json()["entries"][0]
    answer = client.upload("photo.jpg", b"2")
    assert code(answer) == (409, "item_name_in_use")
    conflict = answer.json()["context_info"]["conflicts"]
    assert (conflict["id"], conflict["sha1"]) == (first["id"], sha1(b"1"))
    client.standin.file_conflicts = "list"
    assert client.upload("photo.jpg", b"2").json()["context_info"]["conflicts"] == [conflict]
    assert code(client.folder("PHOTO.jpg")) == (409, "item_name_in_use")
    other = client.folder("Other").json()["id"]
    assert client.upload("photo.jpg", b"2", other).status_code == 201


def test_a_name_is_reserved_while_an_upload_of_it_runs(client: Client) -> None:
    going, more = threading.Event(), threading.Event()

    def slow() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="attributes"\r\n\r\n' + GOOD.encode()
        yield b'\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"x" * MiB
        going.set()
        assert more.wait(20)
        yield b"\r\n--b--\r\n"

    answers: list[requests.Response] = []
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    other = Client(client.standin)
    thread = threading.Thread(
        target=lambda: answers.append(other.ask("POST", "/api/2.0/files/content", kind, data=slow()))
    )
    thread.start()
    assert going.wait(20)
    wait_until(lambda: client.standin.tree.reserved, what="the name is reserved")
    assert code(client.upload("A")) == (409, "name_temporarily_reserved")
    assert code(preflight(client, "a")) == (409, "name_temporarily_reserved")
    client.standin.reserve_names = False
    assert client.upload("b").status_code == 201
    more.set()
    thread.join()
    other.session.close()
    assert answers[0].status_code == 201
    assert client.standin.tree.reserved == set()


def test_a_new_version_needs_the_etag_it_names(client: Client) -> None:
    entry = client.upload("a", b"1").json()["entries"][0]
    path = f"/api/2.0/files/{entry['id']}/content"
    assert code(client.upload("a", b"2", path=path, if_match="9")) == (412, "precondition_failed")
    answer = client.upload("a", b"2", path=path, if_match=entry["etag"])
    assert answer.status_code == 200
    new = answer.json()["entries"][0]
    assert (new["id"], new["sha1"]) == (entry["id"], sha1(b"2"))
    assert new["etag"] != entry["etag"]
    assert new["file_version"]["id"] != entry["file_version"]["id"]
    assert code(client.upload("a", b"3", path=path, if_match=entry["etag"])) == (412, "precondition_failed")
    assert code(client.upload("a", b"3", path="/api/2.0/files/77/content")) == (404, "not_found")
    client.upload("b")
    assert code(client.upload("B", b"3", path=path)) == (409, "item_name_in_use")
    assert StandInObserver(client.standin).read("a") == b"2"


# --- limits ------------------------------------------------------------------------------------------


def preflight(
    client: Client, name: str, size: int = 1, parent: str = "0", path: str = ""
) -> requests.Response:
    body = {"name": name, "size": size, "parent": {"id": parent}}
    return client.ask("OPTIONS", path or "/2.0/files/content", json=body)


def test_quota_and_sizes(client: Client) -> None:
    client.standin.quota = 100
    first = client.upload("a", b"x" * 60).json()["entries"][0]
    for answer in (client.upload("b", b"x" * 60), preflight(client, "b", 60)):
        assert code(answer) == (403, "storage_limit_exceeded")
    client.ask("DELETE", f"/2.0/files/{first['id']}")
    assert code(client.upload("b", b"x" * 60)) == (403, "storage_limit_exceeded"), "the trash counts"
    assert client.ask("GET", "/2.0/users/me").json()["space_used"] == 60
    client.standin.max_upload_size = 10
    for answer in (client.upload("b", b"x" * 11), preflight(client, "b", 11)):
        assert code(answer) == (403, "file_size_limit_exceeded")
    client.standin.direct_limit = 5
    assert code(client.upload("b", b"x" * 6)) == (413, "request_entity_too_large")


def test_calls_by_the_minute(client: Client) -> None:
    clock = [1_700_000_000.0]
    client.standin.now = lambda: clock[0]
    client.token = client.standin.sign_in("root_readwrite")[0]
    client.standin.uploads_per_minute = 2
    assert [client.upload(name).status_code for name in "ab"] == [201, 201]
    answer = client.upload("c")
    assert code(answer) == (429, "rate_limit_exceeded")
    assert answer.headers["Retry-After"] == "60"
    clock[0] += 61
    assert client.upload("c").status_code == 201


def test_checks_before_an_upload(client: Client) -> None:
    answer = preflight(client, "a")
    assert answer.status_code == 200
    assert answer.json()["upload_url"] == client.standin.url + "/api/2.0/files/content"
    entry = client.upload("a").json()["entries"][0]
    assert code(preflight(client, "A")) == (409, "item_name_in_use")
    assert code(preflight(client, "a/b")) == (400, "item_name_invalid")
    assert code(preflight(client, "b", parent="77")) == (404, "not_found")
    assert code(client.ask("OPTIONS", "/2.0/files/content", json={"size": 1})) == (400, "bad_request")
    own = f"/2.0/files/{entry['id']}/content"
    assert (
        client.ask("OPTIONS", own, json={"size": 5})
        .json()["upload_url"]
        .endswith(own.replace("/2.0", "/api/2.0"))
    )


def test_a_folder_that_is_busy_or_not_ours(client: Client) -> None:
    folder = client.folder("f").json()["id"]
    client.standin.blocked.add(folder)
    assert code(client.upload("a", parent=folder)) == (409, "operation_blocked_temporary")
    client.standin.blocked.clear()
    client.standin.read_only.add(folder)
    assert code(client.upload("a", parent=folder)) == (403, "access_denied_insufficient_permissions")
    assert code(client.folder("a", folder)) == (403, "access_denied_insufficient_permissions")


# --- the description ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("GET", "/2.0/folders/0/items?limt=5", None, (400, "bad_request")),
        ("GET", "/2.0/folders/0/items?limit=many", None, (400, "invalid_limit")),
        ("GET", "/2.0/folders/0/items?limit=1001", None, (400, "invalid_limit")),
        ("GET", "/2.0/folders/0/items?offset=-1", None, (400, "invalid_offset")),
        ("GET", "/2.0/folders/0/items?usemarker=yes", None, (400, "bad_request")),
        ("GET", "/2.0/folders/0/items?sort=color", None, (400, "bad_request")),
        ("GET", "/2.0/folders/0/items?marker=MQ==", None, (400, "bad_request")),
        ("GET", "/2.0/folders/0/items?usemarker=true&offset=1", None, (400, "bad_request")),
        ("GET", "/2.0/folders/0/items?usemarker=true&marker=!", None, (400, "bad_request")),
        ("GET", "/2.0/folders/d_0/items", None, (405, "method_not_allowed")),
        ("GET", "/2.0/files/77", None, (404, "not_found")),
        ("GET", "/2.0/nothing", None, (404, "not_found")),
        ("POST", "/2.0/files/content", {}, (405, "method_not_allowed")),
        ("POST", "/2.0/files/upload_sessions", {}, (405, "method_not_allowed")),
        ("POST", "/2.0/folders", {"name": "a"}, (400, "bad_request")),
        ("POST", "/2.0/folders", {"name": "a", "parent": "0"}, (400, "bad_request")),
        ("POST", "/2.0/folders", {"name": "a", "parent": {"id": "0"}, "color": 1}, (400, "bad_request")),
        ("POST", "/2.0/folders", {"name": "a", "parent": {"id": "77"}}, (404, "not_found")),
        ("POST", OPEN, {}, (400, "missing_destination")),
        ("POST", OPEN, {"folder_id": "0", "file_name": "a"}, (400, "missing_file_size")),
        ("POST", OPEN, {"folder_id": "0", "file_size": 9}, (400, "missing_file_name")),
        (
            "POST", OPEN,
            {"folder_id": "0", "file_size": "9", "file_name": "a"}, (400, "invalid_file_size"),
        ),
        (
            "POST", OPEN,
            {"folder_id": "x", "file_size": 30_000_000, "file_name": "a"}, (400, "invalid_folder_id"),
        ),
        (
            "POST", OPEN,
            {"folder_id": "0", "file_size": 19_999_999, "file_name": "a"}, (400, "file_size_too_small"),
        ),
        ("GET", "/api/2.0/files/upload_sessions/77", None, (400, "invalid_upload_session_id")),
        ("GET", f"/api/2.0/files/upload_sessions/{'A' * 32}", None, (404, "not_found")),
        ("DELETE", "/2.0/folders/0", None, (403, "access_denied_insufficient_permissions")),
    ],
)  # fmt: skip
def test_what_the_description_does_not_have_is_refused(
    client: Client, method: str, path: str, body: Any, expected: tuple[int, str]
) -> None:
    assert code(client.ask(method, path, json=body)) == expected


def test_an_answer_that_the_description_does_not_have_is_a_defect(client: Client) -> None:
    entry = client.upload("a").json()["entries"][0]
    client.standin.tree.items[entry["id"]].sha1 = 7  # type: ignore[assignment]
    assert client.ask("GET", f"/2.0/files/{entry['id']}").status_code == 500
    assert "sha1" in client.standin.defects[0]
    client.standin.defects.clear()


# --- folders -----------------------------------------------------------------------------------------


def test_folders_and_their_conflicts(client: Client) -> None:
    answer = client.folder("Photos")
    assert answer.status_code == 201
    folder = answer.json()
    answer = client.folder("photos")
    assert code(answer) == (409, "item_name_in_use")
    (conflict,) = answer.json()["context_info"]["conflicts"]
    assert (conflict["type"], conflict["id"]) == ("folder", folder["id"])
    inner = client.folder("inner", folder["id"]).json()
    shown = client.ask("GET", f"/2.0/folders/{inner['id']}").json()
    assert [above["name"] for above in shown["path_collection"]["entries"]] == ["All Files", "Photos"]
    moved = client.ask("PUT", f"/2.0/folders/{folder['id']}", json={"parent": {"id": inner["id"]}})
    assert code(moved) == (400, "cyclical_folder_structure")
    both = client.ask("PUT", f"/2.0/folders/{inner['id']}", json={"parent": {"id": "0"}, "name": "x"})
    assert code(both) == (403, "operation_limit_exceeded")
    assert code(client.ask("DELETE", f"/2.0/folders/{folder['id']}")) == (400, "folder_not_empty")
    assert client.ask("DELETE", f"/2.0/folders/{folder['id']}?recursive=true").status_code == 204
    for item in (folder, inner):
        assert code(client.upload("a", parent=item["id"])) == (404, "trashed")
    restored = client.ask("POST", f"/2.0/folders/{folder['id']}", json={})
    assert restored.status_code == 201
    assert client.upload("a", parent=inner["id"]).status_code == 201
    assert [name for name, _ in client.standin.files()] == ["Photos/inner/a"]


def test_a_folder_is_listed_by_offset_and_by_marker(client: Client) -> None:
    folder = client.folder("f").json()["id"]
    for name in ("b", "c", "a"):
        client.upload(name, parent=folder)
    client.folder("z", folder)
    where = f"/2.0/folders/{folder}/items"
    page = client.ask("GET", where + "?limit=3").json()
    assert [entry["name"] for entry in page["entries"]] == ["z", "a", "b"]
    assert (page["total_count"], page["offset"], page["limit"]) == (4, 0, 3)
    assert [entry["name"] for entry in client.ask("GET", where + "?limit=3&offset=3").json()["entries"]] == [
        "c"
    ]
    first = client.ask("GET", where + "?usemarker=true&limit=3").json()
    second = client.ask("GET", where + f"?usemarker=true&limit=3&marker={first['next_marker']}").json()
    assert [entry["name"] for entry in second["entries"]] == ["c"]
    assert second["next_marker"] is None
    (entry, *_) = client.ask("GET", where + "?fields=size&sort=name&direction=DESC").json()["entries"]
    assert set(entry) == {"type", "id", "etag", "size"}


def test_a_file_is_looked_at_moved_and_deleted(client: Client) -> None:
    folder = client.folder("f").json()["id"]
    entry = client.upload("a").json()["entries"][0]
    where = f"/2.0/files/{entry['id']}"
    assert client.ask("GET", where + "?fields=sha1,version_number").json().keys() == {
        "type", "id", "etag", "sha1", "version_number"
    }  # fmt: skip
    assert client.ask("GET", where, {"If-None-Match": entry["etag"]}).status_code == 304
    assert code(client.ask("PUT", where, {"If-Match": "9"}, json={})) == (412, "precondition_failed")
    assert client.ask("PUT", where, json={"name": "b", "parent": {"id": folder}}).status_code == 200
    assert [name for name, _ in client.standin.files()] == ["f/b"]
    assert code(client.ask("POST", where, json={})) == (404, "not_found")
    assert client.ask("DELETE", where).status_code == 204
    assert code(client.ask("DELETE", where)) == (404, "trashed")
    assert code(client.ask("GET", where)) == (404, "trashed")
    assert client.upload("b", parent=folder).status_code == 201
    assert code(client.ask("POST", where, json={})) == (409, "item_name_in_use")
    assert client.ask("POST", where, json={"name": "c"}).json()["name"] == "c"
    client.standin.trash_enabled = False
    assert client.ask("DELETE", where).status_code == 204
    assert code(client.ask("GET", where)) == (404, "not_found")


# --- the kit -----------------------------------------------------------------------------------------


def test_an_upload_whose_answer_was_an_error_may_have_been_applied(client: Client) -> None:
    from servers.standins.box.errors import document

    client.standin.faults.append(Fault("upload_file", Answer(503, document("unavailable")), carried_out=True))
    assert code(client.upload("a")) == (503, "unavailable")
    assert code(client.upload("a")) == (409, "item_name_in_use")


def test_a_broken_upload_leaves_nothing(client: Client) -> None:
    client.standin.faults.append(Fault("upload_file", cut=300))
    with pytest.raises(requests.ConnectionError):
        client.upload("a", b"x" * 100_000)
    assert client.standin.files() == []
    assert client.standin.tree.reserved == set()
    assert list(client.standin.folder.iterdir()) == []


def test_the_second_route(client: Client) -> None:
    observer = StandInObserver(client.standin, "Apps/Conveyor")
    observer.put("f/a.txt", b"1")
    assert observer.names() == {"f/a.txt"}
    assert client.standin.at("apps/conveyor/F/A.TXT").size == 1
    observer.put("f/A.txt", b"22")
    assert observer.read("f/a.txt") == b"22"
    assert key("A.TXT") == key("a.txt")
    observer.wipe()
    assert observer.names() == set()
    assert list(client.standin.folder.iterdir()) == []
