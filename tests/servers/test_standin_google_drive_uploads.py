"""The stand-in for Google Drive: content in one request, with metadata beside it, by sessions."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from servers.standins.child import launched
from servers.standins.google_drive import GoogleDrive, failing
from servers.standins.google_drive.client import FILES, UNIT, UPLOAD, Client, code
from servers.standins.kit import CONTROL, Fault

DATA = os.urandom(2 * UNIT + 5)
SIZE = len(DATA)


@pytest.fixture
def client(google_drive_standin: GoogleDrive) -> Iterator[Client]:
    with requests.Session() as session:
        yield Client(google_drive_standin, session)


def contents(client: Client) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in client.standin.files()}


def progress(answer: requests.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.headers.get("Range")


# --- sessions -------------------------------------------------------------------------------------------


def test_session(client: Client) -> None:
    url = client.begin(name="a")
    assert progress(client.send(url, b"", f"*/{SIZE}")) == (308, None)
    assert progress(client.send(url, DATA[:UNIT], f"0-{UNIT - 1}/{SIZE}")) == (308, f"bytes=0-{UNIT - 1}")
    assert progress(client.send(url, b"", "*/*")) == (308, f"bytes=0-{UNIT - 1}")
    last = client.send(url, DATA[UNIT:], f"{UNIT}-{SIZE - 1}/{SIZE}")
    assert last.status_code == 200
    assert client.send(url, b"", f"*/{SIZE}").json() == last.json()
    assert client.send(url, DATA[:UNIT], f"0-{UNIT - 1}/{SIZE}").json() == last.json()
    known = client.get(last.json()["id"])
    assert known["size"] == str(SIZE)
    for name in ("md5", "sha1", "sha256"):
        assert known[f"{name}Checksum"] == hashlib.new(name, DATA).hexdigest()
    assert contents(client) == {"a": DATA}
    assert len(list(client.standin.folder.iterdir())) == 1


@pytest.mark.parametrize(
    ("span", "size", "status"),
    [
        (f"0-6/{SIZE}", 7, 400),
        ("0-6/*", 7, 400),
        (f"0-{UNIT - 1}/{SIZE}", 7, 400),
        (f"0-{UNIT}/{SIZE}", UNIT, 400),
        (f"0-{UNIT - 1}/{UNIT - 1}", UNIT, 400),
        ("3-2/9", 0, 400),
        ("*/*", 4, 400),
        ("0-9", 10, 400),
        ("nonsense", 0, 400),
        (f"{UNIT}-{2 * UNIT - 1}/{SIZE}", UNIT, 503),
        (f"0-{UNIT - 1}/{1 << 50}", UNIT, 413),
    ],
)
def test_refused_chunks(client: Client, span: str, size: int, status: int) -> None:
    url = client.begin(name="a")
    answer = client.send(url, DATA[:size], span)
    assert answer.status_code == status
    if status == 503:
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert f"the upload offset is {UNIT} byte(s), which exceeds already uploaded size of 0" in answer.text
    assert progress(client.send(url, b"", "*/*")) == (308, None)
    assert client.upload(b"next").status_code == 200


@pytest.mark.parametrize(
    ("declared", "first", "second"),
    [
        (SIZE, None, f"0-{UNIT - 1}/{SIZE + 1}"),
        (SIZE, None, f"*/{SIZE + 1}"),
        (SIZE, None, "*/0"),
        (UNIT, f"0-{UNIT - 1}/*", f"{UNIT}-{2 * UNIT - 1}/*"),
        (None, f"0-{UNIT - 1}/{SIZE}", f"{UNIT}-{2 * UNIT - 1}/{SIZE + 1}"),
        (None, f"0-{UNIT - 1}/*", f"*/{UNIT - 1}"),
        (None, f"0-{UNIT - 1}/*", "*/0"),
    ],
)
def test_a_total_is_remembered(client: Client, declared: int | None, first: str | None, second: str) -> None:
    told = {} if declared is None else {"X-Upload-Content-Length": str(declared)}
    url = client.begin(headers=told, name="a")
    if first is not None:
        client.send(url, DATA[:UNIT], first)
    answer = client.send(url, b"" if "*/" in second else DATA[:UNIT], second)
    if answer.status_code == 200:  # the declared bytes were all there
        assert declared == UNIT
    else:
        assert code(answer) == (400, "badRequest")


def test_an_unknown_length_ends_when_it_is_said(client: Client) -> None:
    url = client.begin(name="a")
    assert client.send(url, DATA[:UNIT], f"0-{UNIT - 1}/*").status_code == 308
    assert client.send(url, DATA[UNIT:], f"{UNIT}-{SIZE - 1}/{SIZE}").status_code == 200
    url = client.begin(name="b")
    assert client.send(url, DATA[:UNIT], f"0-{UNIT - 1}/*").status_code == 308
    assert client.send(url, b"", f"*/{UNIT}").status_code == 200
    url = client.begin(name="c")
    assert client.send(url, iter([b"chun", b"ked"]), None).status_code == 200
    assert client.send(client.begin(name="d"), b"", "*/0").status_code == 200
    assert client.send(client.begin(name="e"), b"", None).status_code == 200
    assert contents(client) == {"a": DATA, "b": DATA[:UNIT], "c": b"chunked", "d": b"", "e": b""}


def test_what_is_there_already_is_skipped(client: Client) -> None:
    url = client.begin(name="a")
    client.send(url, DATA[:UNIT], f"0-{UNIT - 1}/{SIZE}")
    again = client.send(url, bytes(UNIT), f"0-{UNIT - 1}/{SIZE}")
    assert progress(again) == (308, f"bytes=0-{UNIT - 1}")
    assert client.send(url, bytes(UNIT) + DATA[UNIT:], f"0-{SIZE - 1}/{SIZE}").status_code == 200
    assert contents(client) == {"a": DATA}


def test_less_may_be_kept_than_was_sent(client: Client) -> None:
    client.standin.short = 1
    url = client.begin(name="a")
    first = client.send(url, DATA[: 2 * UNIT], f"0-{2 * UNIT - 1}/{SIZE}")
    assert progress(first) == (308, f"bytes=0-{UNIT - 1}")
    client.standin.short, client.standin.lenient_units = 0, True
    odd = client.send(url, DATA[UNIT : 2 * UNIT + 3], f"{UNIT}-{2 * UNIT + 2}/{SIZE}")
    assert progress(odd) == (308, f"bytes=0-{2 * UNIT - 1}")
    assert client.send(url, DATA[2 * UNIT :], f"{2 * UNIT}-{SIZE - 1}/{SIZE}").status_code == 200
    assert contents(client) == {"a": DATA}


def test_of_a_chunk_that_is_cut_whole_units_stay(client: Client) -> None:
    url = client.begin(name="a")
    client.standin.faults.append(Fault("chunk", cut=UNIT + 100))
    with pytest.raises(requests.ConnectionError):
        client.send(url, DATA, f"0-{SIZE - 1}/{SIZE}")
    assert progress(client.send(url, b"", f"*/{SIZE}")) == (308, f"bytes=0-{UNIT - 1}")
    assert client.send(url, DATA[UNIT:], f"{UNIT}-{SIZE - 1}/{SIZE}").status_code == 200
    assert contents(client) == {"a": DATA}


def test_the_newer_of_two_requests_wins(client: Client) -> None:
    url = client.begin(name="a")
    with socket.create_connection((client.standin.host, client.standin.port), timeout=20) as slow:
        path = url.removeprefix(client.standin.url)
        head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {SIZE}\r\n"
        slow.sendall(f"{head}Content-Range: bytes 0-{SIZE - 1}/{SIZE}\r\n\r\n".encode() + bytes(UNIT + 9))
        wait_for(lambda: progress(client.send(url, b"", f"*/{SIZE}"))[1] == f"bytes=0-{UNIT - 1}")
        newer = client.send(url, bytes(UNIT) + DATA[UNIT:], f"0-{SIZE - 1}/{SIZE}")
        assert newer.status_code == 200
        slow.sendall(bytes(SIZE - UNIT - 9))
        assert slow.recv(100).startswith(b"HTTP/1.1 503")
    assert contents(client) == {"a": bytes(UNIT) + DATA[UNIT:]}


def wait_for(holds: Callable[[], bool]) -> None:
    tries = threading.Event()
    for _ in range(500):
        if holds():
            return
        tries.wait(0.01)
    raise AssertionError("it did not come")


@pytest.mark.parametrize("cure", ["room", "none"])
def test_a_refused_end_leaves_the_session(client: Client, cure: str) -> None:
    url = client.begin(name="a")
    client.standin.quota = SIZE - 1
    refused = (403, "storageQuotaExceeded")
    assert code(client.send(url, DATA, f"0-{SIZE - 1}/{SIZE}")) == refused
    assert code(client.send(url, b"", f"*/{SIZE}")) == refused
    assert code(client.send(url, DATA, f"0-{SIZE - 1}/{SIZE}")) == refused
    assert len(client.standin.unfinished()) == 1
    if cure == "room":
        client.standin.quota = None
        assert client.send(url, b"", f"*/{SIZE}").status_code == 200
        assert contents(client) == {"a": DATA}
    else:
        assert client.ask("DELETE", url).status_code == 499
        assert not list(client.standin.folder.iterdir())


def test_an_id_that_is_used_meanwhile(client: Client) -> None:
    (made,) = client.ask("GET", FILES + "/generateIds?count=1").json()["ids"]
    one, two = client.begin(id=made, name="a"), client.begin(id=made, name="a")
    assert client.send(one, b"x", None).status_code == 200
    assert code(client.send(two, b"x", None)) == (409, "fileIdInUse")
    assert code(client.send(two, b"", "*/1")) == (409, "fileIdInUse")
    assert contents(client) == {"a": b"x"}


@pytest.mark.parametrize("gone", [404, 499, 410])
def test_sessions_end(client: Client, gone: int) -> None:
    client.standin.gone = gone
    file = client.upload(b"old", name="b").json()["id"]
    for url in (client.begin(name="a"), client.begin(file)):
        client.send(url, DATA[:UNIT], f"0-{UNIT - 1}/{SIZE}")
        assert client.ask("DELETE", url).status_code == 499
        assert client.send(url, b"", "*/*").status_code == gone
        assert client.ask("DELETE", url).status_code == gone
    url, now = client.begin(name="c"), client.standin.now()
    client.standin.now = lambda: now + client.standin.session_life + 1
    client.token = client.standin.sign_in(client.standin.scopes[1])[0]
    assert code(client.send(url, b"x", "0-0/1")) == (404, "notFound")
    assert contents(client) == {"b": b"old"}
    assert len(list(client.standin.folder.iterdir())) == 1


def test_a_session_that_is_done_leaves_its_file(client: Client) -> None:
    url = client.begin(name="a")
    client.send(url, b"x", None)
    assert client.ask("DELETE", url).status_code == 499
    assert contents(client) == {"a": b"x"}


def test_the_address_authenticates_but_a_bad_token_does_not(client: Client) -> None:
    url, token = client.begin(name="a"), client.token
    client.standin.refused_tokens.add(token or "")
    assert code(client.send(url, b"x", None)) == (401, "authError")
    client.token = "nonsense"
    assert code(client.send(url, b"", "*/*")) == (401, "authError")
    client.token = None
    assert client.send(url, b"x", None).status_code == 200
    assert code(client.ask("POST", UPLOAD + "?uploadType=resumable")) == (401, "authError")


def test_the_address_is_taken_as_it_is(client: Client) -> None:
    url = client.begin(name="a")
    file = client.make("b")
    other = f"{UPLOAD}/{file}?{url.partition('?')[2]}"
    answers = [
        client.send(UPLOAD, b"x", None),
        client.send(UPLOAD + "?upload_id=unknown", b"x", None),
        client.send(other, b"x", None),
        client.send(url + "&colour=red", b"x", None),
        client.send(url.replace("/upload/", "/resumable/upload/"), b"x", None),
    ]
    gone = (404, "notFound")
    reasons = [(400, "required"), gone, gone, (400, "invalidParameter"), gone]
    assert [code(answer) for answer in answers] == reasons


def test_post_is_put_and_308_may_be_hidden(client: Client) -> None:
    url = client.begin(name="a")
    span = f"0-{UNIT - 1}/{SIZE}"
    hidden = client.send(url, DATA[:UNIT], span, "POST", X_GUploader_No_308="yes")
    assert progress(hidden) == (200, f"bytes=0-{UNIT - 1}")
    assert hidden.headers["X-HTTP-Status-Code-Override"] == "308"
    assert client.send(url, DATA[UNIT:], f"{UNIT}-{SIZE - 1}/{SIZE}", "POST").json()["name"] == "a"


# --- beginnings and types ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "headers", "data", "refused"),
    [
        ("?uploadType=carrier", {}, b"", (400, "badRequest")),
        ("", {}, b"", (400, "badRequest")),
        ("?uploadType=resumable", {"X-Upload-Content-Length": "many"}, b"", (400, "badRequest")),
        ("?uploadType=resumable", {"X-Upload-Content-Length": str(1 << 50)}, b"", (413, "uploadTooLarge")),
        ("?uploadType=resumable", {"X-Upload-Content-Type": "*/*"}, b"", (400, "badRequest")),
        ("?uploadType=resumable", {"Content-Type": "text/plain"}, b"{}", (400, "badContent")),
        ("?uploadType=resumable&fields=colour", {}, b"", (400, "invalidParameter")),
        ("?uploadType=media", {"Content-Type": "*/*"}, b"x", (400, "badRequest")),
        ("?uploadType=media&colour=red", {}, b"x", (400, "invalidParameter")),
        ("/nobody?uploadType=media", {}, b"x", (404, "notFound")),
        ("/root?uploadType=media", {}, b"x", (403, "fieldNotWritable")),
        ("/root?uploadType=resumable", {}, b"", (403, "fieldNotWritable")),
    ],
)
def test_refused_beginnings(
    client: Client, path: str, headers: dict[str, str], data: bytes, refused: tuple[int, str]
) -> None:
    method = "PATCH" if path.startswith("/") else "POST"
    assert code(client.ask(method, UPLOAD + path, headers, data=data)) == refused
    assert not list(client.standin.folder.iterdir())


def test_types(client: Client) -> None:
    media = UPLOAD + "?uploadType=media"
    plain = client.ask("POST", media, {"Content-Type": "text/plain; charset=utf-8"}, data=b"x").json()
    assert (plain["name"], plain["mimeType"]) == ("Untitled", "text/plain")
    assert client.ask("POST", media, data=b"x").json()["mimeType"] == "application/octet-stream"
    typed = {"X-Upload-Content-Type": "image/png"}
    png = client.send(client.begin(headers=typed), b"x", None).json()
    assert png["mimeType"] == "image/png"
    said = client.send(client.begin(headers=typed, mimeType="image/gif"), b"x", None).json()
    assert said["mimeType"] == "image/gif"
    # New content without a type keeps the old one; with one it changes.
    file = png["id"]
    assert client.upload(b"y", file).json()["mimeType"] == "image/png"
    kept = client.ask("PATCH", f"{UPLOAD}/{file}?uploadType=media", data=b"z").json()
    assert kept["mimeType"] == "image/png"
    again = client.send(client.begin(file, {"X-Upload-Content-Type": "image/tiff"}), b"y", None).json()
    assert again["mimeType"] == "image/tiff"
    document = {"mimeType": "application/vnd.google-apps.document"}
    refused = client.ask("POST", UPLOAD + "?uploadType=resumable", json=document)
    assert code(refused) == (400, "badRequest")


def test_new_content(client: Client) -> None:
    file = client.upload(b"old", name="a", appProperties={"k": "v"}).json()["id"]
    before = client.get(file)
    url = client.begin(file, name="b", modifiedTime="2020-01-01T00:00:00.000Z")
    assert client.get(file)["name"] == "a"
    assert client.send(url, b"new one", None).json()["id"] == file
    now = client.get(file)
    assert (now["name"], now["size"], now["modifiedTime"]) == ("b", "7", "2020-01-01T00:00:00.000Z")
    assert now["appProperties"] == {"k": "v"}
    assert now["headRevisionId"] != before["headRevisionId"]
    assert int(now["version"]) > int(before["version"])
    assert client.ask("GET", f"{FILES}/{file}?alt=media").content == b"new one"
    assert len(list(client.standin.folder.iterdir())) == 2  # the revisions


def test_largest(client: Client) -> None:
    client.standin.largest = UNIT + 1
    media = UPLOAD + "?uploadType=media"
    too_large = (413, "uploadTooLarge")
    assert code(client.ask("POST", media, data=DATA[: UNIT + 2])) == too_large
    assert code(client.ask("POST", media, data=iter([DATA[: UNIT + 2]]))) == too_large
    url = client.begin(name="a")
    assert client.send(url, DATA[:UNIT], f"0-{UNIT - 1}/*").status_code == 308
    assert code(client.send(url, DATA[:UNIT], f"{UNIT}-{2 * UNIT - 1}/*")) == too_large
    assert code(client.send(client.begin(), iter([DATA[: UNIT + 2]]), None)) == too_large
    assert client.ask("POST", media, data=DATA[: UNIT + 1]).status_code == 200
    client.standin.largest, client.standin.small = 1 << 40, 3
    assert code(client.ask("POST", media, data=b"four")) == too_large
    assert client.upload(b"four").status_code == 200


# --- multipart --------------------------------------------------------------------------------------------

JSON, TEXT = "Content-Type: application/json; charset=UTF-8", "Content-Type: text/plain"


def multipart(*parts: tuple[str, str], line: str = "\r\n", end: str = "--") -> bytes:
    body = "".join(f"--xyz{line}{head}{line}{line}{data}{line}" for head, data in parts)
    return f"{body}--xyz{end}{line}".encode()


def sent(client: Client, body: bytes, kind: str = "multipart/related; boundary=xyz") -> requests.Response:
    return client.ask("POST", UPLOAD + "?uploadType=multipart", {"Content-Type": kind}, data=body)


@pytest.mark.parametrize("line", ["\r\n", "\n"])
def test_multipart(client: Client, line: str) -> None:
    content = "one\r\n--xy\n\r two\r"
    answer = sent(client, multipart((JSON, '{"name": "a"}'), (TEXT, content), line=line)).json()
    assert (answer["name"], answer["mimeType"]) == ("a", "text/plain")
    assert contents(client) == {"a": content.encode()}
    where = f"{UPLOAD}/{answer['id']}?uploadType=multipart"
    body = multipart((JSON, '{"name": "b", "mimeType": "text/html"}'), (TEXT, "new"), line=line)
    changed = client.ask("PATCH", where, {"Content-Type": 'multipart/related; boundary="xyz"'}, data=body)
    assert (changed.json()["name"], changed.json()["mimeType"]) == ("b", "text/html")
    assert contents(client) == {"b": b"new"}


META = (JSON, '{"name": "a"}')


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        (multipart((TEXT, "data"), META), (400, "badRequest")),
        (multipart(META), (400, "badRequest")),
        (multipart(META, (TEXT, "x"), (TEXT, "y")), (400, "badRequest")),
        (multipart(META, (TEXT, "x"), end=""), (400, "badRequest")),
        (multipart(META, ("X-Other: 1", "x")), (400, "badRequest")),
        (multipart(META, ("Content-Type: */*", "x")), (400, "badRequest")),
        (multipart((JSON, "{"), (TEXT, "x")), (400, "parseError")),
        (multipart((JSON, '{"colour": 1}'), (TEXT, "x")), (400, "badRequest")),
        (multipart((JSON, '{"parents": ["nobody"]}'), (TEXT, "x")), (404, "notFound")),
        (multipart(META, (TEXT, "x" * 101)), (413, "uploadTooLarge")),
        (b"nothing", (400, "badRequest")),
        (b"", (400, "badRequest")),
    ],
)
def test_refused_multipart(client: Client, body: bytes, refused: tuple[int, str]) -> None:
    client.standin.small = 100
    assert code(sent(client, body)) == refused
    assert not list(client.standin.folder.iterdir())
    assert client.upload(b"next").status_code == 200


def test_the_outer_type_of_multipart(client: Client) -> None:
    body = multipart(META, (TEXT, "x"))
    related = "multipart/related"
    for kind in ("multipart/form-data; boundary=xyz", "text/plain", related, f"{related}; boundary=q"):
        assert code(sent(client, body, kind)) == (400, "badRequest")


# --- many, and elsewhere --------------------------------------------------------------------------------


def test_sixteen_at_once(client: Client) -> None:
    bodies = {f"f{n}": os.urandom(UNIT) + bytes([n]) for n in range(48)}

    def upload(name: str) -> None:
        with requests.Session() as session:
            one = Client(client.standin, session)
            url, data = one.begin(name=name), bodies[name]
            assert one.send(url, data[:UNIT], f"0-{UNIT - 1}/{len(data)}").status_code == 308
            last = one.send(url, data[UNIT:], f"{UNIT}-{UNIT}/{len(data)}").json()
            assert one.get(last["id"])["sha256Checksum"] == hashlib.sha256(data).hexdigest()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(upload, bodies))
    assert contents(client) == bodies
    assert len(list(client.standin.folder.iterdir())) == len(bodies)


def test_an_answer_that_is_lost(client: Client) -> None:
    (made,) = client.ask("GET", FILES + "/generateIds?count=1").json()["ids"]
    url = client.begin(id=made, name="a")
    client.standin.faults.append(Fault("chunk", lost=True))
    with pytest.raises(requests.ConnectionError):
        client.send(url, DATA, None)
    assert client.send(url, b"", f"*/{SIZE}").json()["id"] == made
    client.standin.faults.append(failing("chunk", "backendError", carried_out=True))
    url = client.begin(name="b")
    assert client.send(url, b"x", None).status_code == 500
    assert client.send(url, b"", "*/1").status_code == 200
    assert contents(client) == {"a": DATA, "b": b"x"}


def test_as_a_process_of_its_own() -> None:
    with launched("servers.standins.google_drive:GoogleDrive") as facts, requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {facts['access_token']}"
        where: Any = facts["url"]
        begun = session.post(f"{where}{UPLOAD}?uploadType=resumable", json={"name": "a"}, timeout=20)
        assert session.put(begun.headers["Location"], data=DATA, timeout=20).status_code == 200
        found = session.get(f"{where}{CONTROL}files", timeout=20).json()
        assert found == {"a": hashlib.sha256(DATA).hexdigest()}
        assert facts["service_account"]["token_uri"] == f"{where}/token"
