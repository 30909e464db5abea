"""The stand-in for Google Drive: metadata, search, folders, limits, errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from servers.standins.google_drive import DOCUMENTED, PREFIX, GoogleDrive, failing, said
from servers.standins.google_drive.client import FILES, FOLDER, UPLOAD, Client, code
from servers.standins.google_drive.description import Broken, check_answer


@pytest.fixture
def client(google_drive_standin: GoogleDrive) -> Iterator[Client]:
    with requests.Session() as session:
        yield Client(google_drive_standin, session)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("GET", "?nonsense=1", None, 400, "invalidParameter"),
        ("GET", "?pageSize=many", None, 400, "invalidParameter"),
        ("GET", "?pageSize=0", None, 400, "invalidParameter"),
        ("GET", "?pageSize=1001", None, 400, "invalidParameter"),
        ("GET", "?supportsAllDrives=yes", None, 400, "invalidParameter"),
        ("GET", "?alt=media", None, 400, "invalidParameter"),
        ("GET", "?uploadType=media", None, 400, "invalidParameter"),
        ("GET", "?orderBy=colour", None, 400, "invalid"),
        ("GET", "?orderBy=name%20up", None, 400, "invalid"),
        ("GET", "?fields=files(colour)", None, 400, "invalidParameter"),
        ("GET", "?fields=files(id", None, 400, "invalidParameter"),
        ("GET", "?pageToken=3", None, 400, "invalid"),
        ("GET", "?spaces=photos", None, 400, "invalid"),
        ("GET", "?corpora=drive", None, 400, "invalid"),
        ("GET", "?corpora=everything", None, 400, "invalid"),
        ("GET", "?corpora=allDrives", None, 400, "invalid"),
        ("GET", "?driveId=x", None, 400, "invalid"),
        ("GET", "/generateIds?count=1001", None, 400, "invalidParameter"),
        ("GET", "/generateIds?space=photos", None, 400, "invalid"),
        ("GET", "/nobody", None, 404, "notFound"),
        ("GET", "/root?alt=media", None, 403, "fileNotDownloadable"),
        ("GET", "/root/children", None, 404, "notFound"),
        ("DELETE", "/nobody", None, 404, "notFound"),
        ("DELETE", "/root", None, 403, "insufficientFilePermissions"),
        ("PATCH", "/root", {"name": "x"}, 403, "insufficientFilePermissions"),
        ("PATCH", "/root", {"parents": ["x"]}, 403, "fieldNotWritable"),
        ("PATCH", "/root", {"mimeType": "text/plain"}, 400, "invalid"),
        ("POST", "", {"name": 7}, 400, "badRequest"),
        ("POST", "", [1], 400, "badRequest"),
        ("POST", "", {"colour": "red"}, 400, "badRequest"),
        ("POST", "", {"parents": [None]}, 400, "badRequest"),
        ("POST", "", {"parents": ["nobody"]}, 404, "notFound"),
        ("POST", "", {"parents": ["root", "root"]}, 403, "cannotAddParent"),
        ("POST", "", {"id": "mine"}, 400, "invalid"),
        ("POST", "", {"md5Checksum": "x"}, 403, "fieldNotWritable"),
        ("POST", "", {"mimeType": "text"}, 400, "badRequest"),
        ("POST", "", {"modifiedTime": "yesterday"}, 400, "invalid"),
        ("POST", "", {"appProperties": {"k": "v" * 124}}, 403, "propertyTooLarge"),
        ("POST", "", {"properties": {"k": "ö" * 62}}, 403, "propertyTooLarge"),
        ("POST", "", {"appProperties": {str(n): "v" for n in range(31)}}, 403, "propertyCountExceeded"),
        ("POST", "", {"appProperties": {"k": 1}}, 400, "badRequest"),
        ("POST", "?fields=colour", {"name": "never"}, 400, "invalidParameter"),
    ],
)
def test_refusals(client: Client, method: str, path: str, body: Any, status: int, reason: str) -> None:
    assert code(client.ask(method, FILES + path, json=body)) == (status, reason)
    assert client.standin.files() == []


@pytest.mark.parametrize(
    ("data", "headers", "reason"),
    [
        (b"{", {"Content-Type": "application/json"}, "parseError"),
        (b"\xff", {"Content-Type": "application/json"}, "parseError"),
        (b'{"name": "x"}', {"Content-Type": "text/plain"}, "badContent"),
        (b'{"name": "x"}', {}, "badContent"),
    ],
)
def test_bodies_that_are_no_json(client: Client, data: bytes, headers: dict[str, str], reason: str) -> None:
    assert code(client.ask("POST", FILES, headers, data=data)) == (400, reason)


def test_null_is_nothing(client: Client) -> None:
    nothing = dict.fromkeys(("id", "name", "mimeType", "parents", "appProperties", "modifiedTime", "trashed"))
    made = client.ask("POST", FILES, json=nothing).json()["id"]
    assert client.get(made)["name"] == "Untitled"
    client.ask("PATCH", f"{FILES}/{made}", json={"description": "d", "appProperties": {"a": "1", "b": "2"}})
    changed = client.ask("PATCH", f"{FILES}/{made}", json={**nothing, "description": None})
    assert changed.status_code == 200
    client.ask("PATCH", f"{FILES}/{made}", json={"appProperties": {"a": None, "c": "3"}})
    now = client.get(made)
    assert (now["name"], now["appProperties"]) == ("Untitled", {"b": "2", "c": "3"})
    assert "description" not in now


def test_thirty_properties(client: Client) -> None:
    made = client.make("a", appProperties={f"k{n}": "v" * 121 for n in range(10)})
    more = {f"k{n}": "v" for n in range(10, 30)}
    assert client.ask("PATCH", f"{FILES}/{made}", json={"appProperties": more}).status_code == 200
    one = client.ask("PATCH", f"{FILES}/{made}", json={"appProperties": {"k30": "v"}})
    assert code(one) == (403, "propertyCountExceeded")
    other = client.ask("PATCH", f"{FILES}/{made}", json={"appProperties": {"k30": "v", "k0": None}})
    assert other.status_code == 200
    assert len(client.get(made)["appProperties"]) == 30


# --- ids ------------------------------------------------------------------------------------------------


def test_ids_are_used_once(client: Client) -> None:
    (made,) = client.ask("GET", FILES + "/generateIds?count=1").json()["ids"]
    assert client.make("a", id=made) == made
    assert code(client.ask("POST", FILES, json={"id": made})) == (409, "fileIdInUse")
    assert code(client.ask("POST", UPLOAD + "?uploadType=resumable", json={"id": made}))[0] == 409
    assert client.ask("DELETE", f"{FILES}/{made}").status_code == 204
    assert code(client.ask("POST", FILES, json={"id": made})) == (409, "fileIdInUse")
    (other,) = client.ask("GET", FILES + "/generateIds?count=1").json()["ids"]
    document = {"id": other, "mimeType": "application/vnd.google-apps.document"}
    assert code(client.ask("POST", FILES, json=document)) == (403, "insufficientFilePermissions")
    assert code(client.ask("PATCH", f"{FILES}/{client.make('b')}", json={"id": other}))[0] == 403


# --- search ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("name = 'a'", "a"),
        ("name != 'a' and mimeType != 'text/plain'", "bc"),
        (rf"name = '{chr(92)}' {chr(92) * 2} x'", "q"),
        ("name contains 'Hel'", "h"),
        ("name contains 'wor'", ""),
        ("mimeType contains 'plain'", "qh"),
        ("trashed = true", "c"),
        ("trashed != true and name = 'c'", ""),
        ("not trashed = false", "c"),
        ("starred = true or (name = 'b' and starred = false)", "ab"),
        ("appProperties has { key='k' and value='v' }", "a"),
        ("properties has {key='k' and value='v'}", "b"),
        ("appProperties has { key='k' and value='w' }", ""),
        ("modifiedTime = '2020-01-01T11:00:00+02:00'", "a"),
        ("modifiedTime <= '2020-01-01T09:00:00'", "a"),
        ("modifiedTime > '2020-01-01T08:59:59.999Z' and modifiedTime < '2020-01-01T09:30:00Z'", "a"),
        ("'root' in parents and starred = true", "a"),
    ],
)
def test_search(client: Client, query: str, found: str) -> None:
    client.make("a", starred=True, appProperties={"k": "v"}, modifiedTime="2020-01-01T10:00:00+01:00")
    client.make("b", properties={"k": "v"}, mimeType="application/pdf")
    client.make("c", trashed=True)
    client.make(r"' \ x", mimeType="text/plain")
    client.make("HelloWorld", mimeType="text/plain")
    names = {"q": r"' \ x", "h": "HelloWorld"}
    assert client.search(query, orderBy="createdTime") == [names.get(each, each) for each in found]


@pytest.mark.parametrize(
    ("query", "status", "reason"),
    [
        ("name is 'a'", 400, "invalid"),
        ("name = a", 400, "invalid"),
        ("name = 'it's'", 400, "invalid"),
        ("name > 'a'", 400, "invalid"),
        ("trashed = maybe", 400, "invalid"),
        ("trashed < true", 400, "invalid"),
        ("colour = 'red'", 400, "invalid"),
        ("modifiedTime = 'then'", 400, "invalid"),
        ("modifiedTime contains '2020'", 400, "invalid"),
        ("name = 'a' and", 400, "invalid"),
        ("(name = 'a'", 400, "invalid"),
        ("name = 'a' 'b'", 400, "invalid"),
        ("appProperties has {key='k'}", 400, "invalid"),
        ("root in parents", 400, "invalid"),
        ("'nobody' in parents", 404, "notFound"),
    ],
)
def test_refused_search(client: Client, query: str, status: int, reason: str) -> None:
    client.make("a")
    assert code(client.ask("GET", FILES, params={"q": query})) == (status, reason)


def test_names_may_be_folded_as_users_report(client: Client) -> None:
    client.make("A")
    assert client.search("name = 'a'") == []
    client.standin.folds_case = True
    assert client.search("name = 'a'") == ["A"]


def test_pages(client: Client) -> None:
    for number in range(5):
        client.make(f"f{number}")
    asked: dict[str, str] = {"pageSize": "2", "orderBy": "name desc", "fields": "nextPageToken,files/name"}
    pages = []
    while True:
        answer = client.ask("GET", FILES, params=asked).json()
        pages.append([file["name"] for file in answer["files"]])
        if "nextPageToken" not in answer:
            break
        asked["pageToken"] = answer["nextPageToken"]
    assert pages == [["f4", "f3"], ["f2", "f1"], ["f0"]]
    assert code(client.ask("GET", FILES, params={**asked, "q": "name = 'f1'"})) == (400, "invalid")


@pytest.mark.parametrize(
    ("key", "order"),
    [
        ("name", "f1 f12 f2"), ("name desc", "f2 f12 f1"), ("name_natural", "f1 f2 f12"),
        ("modifiedTime", "f2 f1 f12"), ("recency desc", "f12 f1 f2"), ("modifiedByMeTime", "f2 f1 f12"),
        ("quotaBytesUsed desc,name", "f2 f1 f12"), ("starred desc,name_natural", "f12 f1 f2"),
        ("createdTime desc", "f1 f2 f12"), ("folder,name", "f1 f12 f2"),
        ("viewedByMeTime,sharedWithMeTime,name", "f1 f12 f2"),
    ],
)  # fmt: skip
def test_order(client: Client, key: str, order: str) -> None:
    times = {"f1": ("2022", "2023"), "f12": ("2020", "2024"), "f2": ("2021", "2022")}
    for name, (made, changed) in times.items():
        stamps = {"createdTime": f"{made}-01-01T00:00:00Z", "modifiedTime": f"{changed}-01-01T00:00:00Z"}
        answer = client.upload(b"xx" if name == "f2" else b"", name=name, starred=name == "f12", **stamps)
        assert answer.status_code == 200
    asked = {"orderBy": key, "fields": "files(name)"}
    found = client.ask("GET", FILES, params=asked).json()["files"]
    assert " ".join(file["name"] for file in found) == order


def test_listing_lags_and_get_does_not(client: Client) -> None:
    standin, now = client.standin, client.standin.now()
    standin.lag, standin.now = 5, lambda: now
    made = client.make("a")
    assert client.get(made)["name"] == "a"
    assert client.search("name = 'a'") == []
    standin.now = lambda: now + 5
    assert client.search("name = 'a'") == ["a"]


# --- folders --------------------------------------------------------------------------------------------


def test_what_lies_below_a_trashed_folder_is_trashed(client: Client) -> None:
    outer = client.folder("outer")
    inner = client.folder("inner", outer)
    file = client.make("f", inner)
    where = f"{FILES}/{outer}"
    assert client.ask("PATCH", where, json={"trashed": True}).status_code == 200
    both = [(client.get(each)["trashed"], client.get(each)["explicitlyTrashed"]) for each in (outer, file)]
    assert both == [(True, True), (True, False)]
    assert client.search("trashed = false") == []
    assert client.standin.files() == []
    client.ask("PATCH", where, json={"trashed": False})
    assert not client.get(file)["trashed"]
    assert client.ask("DELETE", where).status_code == 204
    assert code(client.ask("GET", f"{FILES}/{file}")) == (404, "notFound")
    assert not list(client.standin.folder.iterdir())


def moved(client: Client, file: str, **asked: str) -> requests.Response:
    params = {"supportsAllDrives": "true", **asked}
    return client.ask("PATCH", f"{FILES}/{file}", params=params, json={})


def test_moving(client: Client) -> None:
    one, two = client.folder("one"), client.folder("two")
    below, file = client.folder("below", one), client.make("f", one)
    assert moved(client, file, addParents=two, removeParents=one).status_code == 200
    assert client.get(file)["parents"] == [two]
    assert moved(client, file, addParents=one).status_code == 200  # alone: what is one's own
    refused = [
        moved(client, file, addParents=one),
        moved(client, file, removeParents=one),
        moved(client, file, removeParents=two),
        moved(client, file, addParents=two, removeParents="root"),
        moved(client, file, addParents=f"{two},root", removeParents=one),
        moved(client, file, addParents="nobody", removeParents=one),
        moved(client, file, addParents=client.make("g"), removeParents=one),
        moved(client, one, addParents=below, removeParents="root"),
        moved(client, "root", addParents=two),
    ]
    assert [code(answer) for answer in refused] == [
        (400, "badRequest"),
        (400, "badRequest"),
        (400, "invalid"),
        (400, "invalid"),
        (403, "cannotAddParent"),
        (404, "notFound"),
        (403, "parentNotAFolder"),
        (400, "badRequest"),
        (403, "cannotAddParent"),
    ]
    assert client.get(file)["parents"] == [one]


def test_a_strangers_file_is_moved_by_naming_both_folders(client: Client) -> None:
    client.standin.put("theirs", b"x")
    (theirs,) = [node.id for node in client.standin.nodes.values() if node.content]
    folder = client.folder("f")
    assert code(moved(client, theirs, addParents=folder)) == (403, "cannotAddParent")
    assert moved(client, theirs, addParents=folder, removeParents="root").status_code == 200


def test_shared_drives(client: Client) -> None:
    shared = client.standin.add_drive("Team")
    assert code(client.ask("POST", FILES, json={"parents": [shared]})) == (404, "notFound")
    file, folder = client.make("f", shared), client.folder("sub", shared)
    assert code(client.ask("GET", f"{FILES}/{file}")) == (404, "notFound")
    assert client.get(file)["driveId"] == shared
    assert client.search("name = 'f'") == []
    every = {"supportsAllDrives": "true", "includeItemsFromAllDrives": "true"}
    assert client.search("name = 'f'", **every) == ["f"]
    assert client.search(f"'{shared}' in parents", corpora="drive", driveId=shared, **every) == ["f", "sub"]
    unknown = {"corpora": "drive", "driveId": "x", **every}
    assert code(client.ask("GET", FILES, params=unknown)) == (404, "notFound")
    mine = client.folder("mine")
    inside = client.make("inside", mine)
    assert moved(client, inside, addParents=shared, removeParents=mine).status_code == 200
    assert client.get(inside)["driveId"] == shared
    into = moved(client, mine, addParents=folder, removeParents="root")
    assert code(into) == (403, "teamDrivesFolderMoveInNotSupported")


def test_limits(client: Client) -> None:
    standin, folder, shared = client.standin, client.folder("f"), client.standin.add_drive("Team")
    client.make("a", folder)
    client.make("b", shared)
    standin.folder_items = 1
    full = client.ask("POST", FILES, json={"parents": [folder]})
    assert code(full) == (403, "numChildrenInNonRootLimitExceeded")
    client.make("c")  # the root has no such limit
    standin.folder_items, standin.drive_items = 9, 1
    more = client.ask("POST", FILES + "?supportsAllDrives=true", json={"parents": [shared]})
    assert code(more) == (403, "teamDriveFileLimitExceeded")
    standin.drive_items, standin.depth = 99, 1
    deep = {"parents": [folder], "mimeType": FOLDER}
    assert code(client.ask("POST", FILES, json=deep)) == (403, "myDriveHierarchyDepthLimitExceeded")
    standin.read_only.add(folder)
    refused = client.ask("POST", FILES, json={"parents": [folder]})
    assert code(refused) == (403, "insufficientFilePermissions")


def test_about_and_quota(client: Client) -> None:
    assert code(client.ask("GET", "/drive/v3/about")) == (400, "required")
    client.standin.quota = 10
    made = client.upload(b"four").json()["id"]
    client.ask("PATCH", f"{FILES}/{made}", json={"trashed": True})
    about = client.ask("GET", "/drive/v3/about?fields=user(emailAddress),storageQuota/usage").json()
    assert about == {"user": {"emailAddress": "ann@example.org"}, "storageQuota": {"usage": "4"}}
    full = client.ask("POST", UPLOAD + "?uploadType=media", data=b"sevenxx")
    assert code(full) == (403, "storageQuotaExceeded")
    declared = {"X-Upload-Content-Length": "7"}
    begun = client.ask("POST", UPLOAD + "?uploadType=resumable", declared)
    assert code(begun) == (403, "storageQuotaExceeded")
    assert client.upload(b"ten bytes!", file=made).status_code == 200  # in place of four
    assert client.upload(b"x", file=made).status_code == 200
    assert len(list(client.standin.folder.iterdir())) == 3  # the revisions


def test_drive_file_sees_its_own(client: Client) -> None:
    client.standin.put("theirs", b"x")
    (theirs,) = [node.id for node in client.standin.nodes.values() if node.content]
    mine = client.make("mine")
    with requests.Session() as session:
        narrow = Client(client.standin, session, PREFIX + "drive.file")
        assert code(narrow.ask("GET", f"{FILES}/{theirs}")) == (404, "notFound")
        assert narrow.get(mine)["name"] == "mine"
        assert narrow.search("trashed = false") == ["mine"]
        readers = Client(client.standin, session, PREFIX + "drive.readonly")
        assert readers.get(theirs)["name"] == "theirs"
        assert code(readers.ask("POST", FILES, json={})) == (403, "insufficientPermissions")
        watchers = Client(client.standin, session, PREFIX + "drive.metadata.readonly")
        assert code(watchers.ask("GET", f"{FILES}/{theirs}?alt=media")) == (403, "insufficientPermissions")


# --- errors ---------------------------------------------------------------------------------------------

NAMED: dict[str, tuple[int, str, str]] = {
    "authError": (401, "global", "authError"),
    "userRateLimitExceeded": (403, "usageLimits", "userRateLimitExceeded"),
    "rateLimitExceeded": (403, "usageLimits", "rateLimitExceeded"),
    "dailyLimitExceeded": (403, "usageLimits", "dailyLimitExceeded"),
    "storageQuotaExceeded": (403, "global", "storageQuotaExceeded"),
    "insufficientFilePermissions": (403, "global", "insufficientFilePermissions"),
    "teamDriveFileLimitExceeded": (403, "global", "teamDriveFileLimitExceeded"),
    "numChildrenInNonRootLimitExceeded": (403, "global", "numChildrenInNonRootLimitExceeded"),
    "appNotAuthorizedToFile": (403, "global", "appNotAuthorizedToFile"),
    "domainPolicy": (403, "global", "domainPolicy"),
    "tooManyRequests": (429, "usageLimits", "rateLimitExceeded"),
    "backendError": (500, "global", "backendError"),
}

ROUTES: dict[str, Callable[[Client], requests.Response]] = {
    "about": lambda client: client.ask("GET", "/drive/v3/about?fields=user"),
    "generate_ids": lambda client: client.ask("GET", FILES + "/generateIds"),
    "list": lambda client: client.ask("GET", FILES),
    "get": lambda client: client.ask("GET", FILES + "/root"),
    "create": lambda client: client.ask("POST", FILES, json={}),
    "update": lambda client: client.ask("PATCH", FILES + "/root", json={}),
    "delete": lambda client: client.ask("DELETE", FILES + "/root"),
    "upload": lambda client: client.ask("POST", UPLOAD + "?uploadType=resumable"),
    "upload_again": lambda client: client.ask("PATCH", UPLOAD + "/root?uploadType=resumable"),
    "chunk": lambda client: client.ask("PUT", UPLOAD + "?upload_id=x", data=b"x"),
    "cancel": lambda client: client.ask("DELETE", UPLOAD + "?upload_id=x"),
}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_documented_errors(client: Client, name: str) -> None:
    client.standin.faults.append(failing("list", name))
    answer = client.ask("GET", FILES)
    status, domain, reason = NAMED.get(name, (DOCUMENTED[name].status, DOCUMENTED[name].domain, name))
    assert code(answer) == (status, reason)
    assert answer.json()["error"]["errors"][0]["domain"] == domain
    assert client.ask("GET", FILES).status_code == 200


@pytest.mark.parametrize("route", ROUTES)
def test_faults_strike_each_route(client: Client, route: str) -> None:
    client.standin.faults.append(failing(route, "backendError"))
    assert code(ROUTES[route](client)) == (500, "backendError")
    ROUTES[route](client)
    assert client.standin.count(route) == 2


def test_an_error_may_come_with_another_status_and_headers() -> None:
    answer = said("backendError", status=503, Retry_After="7")
    assert (answer.status, answer.document["error"]["code"]) == (503, 503)
    assert answer.headers == {"Retry-After": "7"}


# --- its own mistakes -------------------------------------------------------------------------------------


def test_what_the_standin_does_not_know_is_its_own_defect(client: Client) -> None:
    answer = client.ask("GET", FILES, params={"q": "fullText contains 'x'"})
    assert code(answer) == (500, "backendError")
    (defect,) = client.standin.defects
    assert "fullText" in defect
    client.standin.defects.clear()


def test_an_answer_is_held_to_the_description(client: Client) -> None:
    made = client.make("a")
    node = client.standin.nodes[made]
    node.meta["starred"] = "perhaps"
    assert code(client.ask("GET", f"{FILES}/{made}")) == (500, "backendError")
    assert code(client.ask("GET", FILES)) == (500, "backendError")
    assert len(client.standin.defects) == 2
    client.standin.defects.clear()
    for wrong in ({"size": "many"}, {"size": 3}, {"name": None}, {"modifiedTime": "now"}, {"colour": "red"}):
        with pytest.raises(Broken):
            check_answer(wrong, "File")


def test_the_newest_revision_makes_way_for_the_one_before(client: Client) -> None:
    first = client.upload(b"one", name="a").json()["id"]
    client.upload(b"two!", first)
    where = f"{FILES}/{first}/revisions/"
    assert code(client.ask("DELETE", where + "nobody")) == (404, "notFound")
    newest = client.get(first)["headRevisionId"]
    assert client.ask("DELETE", where + newest).status_code == 204
    left = client.get(first)
    assert (left["size"], client.ask("GET", f"{FILES}/{first}?alt=media").content) == ("3", b"one")
    last = client.ask("DELETE", where + left["headRevisionId"])
    assert code(last) == (403, "insufficientFilePermissions")
    assert len(list(client.standin.folder.iterdir())) == 1


def test_wiping_leaves_nothing(client: Client) -> None:
    client.standin.put("a/b", b"x")
    client.standin.quota = 7
    client.begin(name="open")
    assert client.standin.unfinished()
    client.standin.wipe()
    assert (client.standin.files(), client.standin.unfinished(), client.standin.quota) == ([], set(), None)
    assert not list(client.standin.folder.iterdir())
    assert json.loads(client.ask("GET", FILES).text)["files"] == []
