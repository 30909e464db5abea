"""The stand-in for Google Drive: by plain requests, and with Google's own SDK."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import pytest
import requests
from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build_from_document
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaIoBaseUpload

from servers.standins.google_drive import PREFIX, GoogleDrive
from servers.standins.google_drive.description import document

UNIT = GoogleDrive.unit


@pytest.fixture
def drive(google_drive_standin: GoogleDrive) -> GoogleDrive:
    return google_drive_standin


def call(drive: GoogleDrive, method: str, path: str, **more: Any) -> requests.Response:
    token = drive.sign_in(" ".join(drive.scopes))[0]
    headers = {"Authorization": f"Bearer {token}", **more.pop("headers", {})}
    url = path if path.startswith("http") else drive.url + path
    return requests.request(method, url, headers=headers, timeout=10, **more)


def begin(drive: GoogleDrive, **meta: Any) -> str:
    answer = call(drive, "POST", "/upload/drive/v3/files?uploadType=resumable", json=meta)
    assert answer.status_code == 200, answer.text
    return answer.headers["Location"]


def send(drive: GoogleDrive, url: str, data: bytes, span: str) -> requests.Response:
    return call(drive, "PUT", url, data=data, headers={"Content-Range": span})


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("GET", "/drive/v3/files?nonsense=1", None, 400, "invalidParameter"),
        ("GET", "/drive/v3/files?pageSize=many", None, 400, "invalidParameter"),
        ("GET", "/drive/v3/files?pageSize=1001", None, 400, "invalidParameter"),
        ("GET", "/drive/v3/files/generateIds?count=1001", None, 400, "invalidParameter"),
        ("GET", "/drive/v3/files?q=name%20is%20'a'", None, 400, "invalid"),
        ("GET", "/drive/v3/files?orderBy=colour", None, 400, "invalid"),
        ("GET", "/drive/v3/files?fields=files(colour)", None, 400, "invalidParameter"),
        ("GET", "/drive/v3/about", None, 400, "required"),
        ("GET", "/drive/v3/files/nobody", None, 404, "notFound"),
        ("POST", "/drive/v3/files", {"name": 7}, 400, "badRequest"),
        ("POST", "/drive/v3/files", {"colour": "red"}, 400, "badRequest"),
        ("POST", "/drive/v3/files", {"parents": ["nobody"]}, 404, "notFound"),
        ("POST", "/drive/v3/files", {"id": "mine"}, 400, "invalid"),
        ("POST", "/drive/v3/files", {"md5Checksum": "x"}, 403, "fieldNotWritable"),
        ("POST", "/drive/v3/files", {"modifiedTime": "yesterday"}, 400, "invalid"),
        ("POST", "/drive/v3/files", {"appProperties": {"k": "v" * 124}}, 403, "propertyTooLarge"),
    ],
)
def test_refusals(drive: GoogleDrive, method: str, path: str, body: Any, status: int, reason: str) -> None:
    answer = call(drive, method, path, json=body)
    assert (answer.status_code, answer.json()["error"]["errors"][0]["reason"]) == (status, reason)


def test_session(drive: GoogleDrive) -> None:
    url = begin(drive, name="a")
    data = bytes(UNIT + 5)
    asked = send(drive, url, b"", f"bytes */{len(data)}")
    assert (asked.status_code, asked.headers.get("Range")) == (308, None)
    assert send(drive, url, data[:7], f"bytes 0-6/{len(data)}").status_code == 400
    first = send(drive, url, data[:UNIT], f"bytes 0-{UNIT - 1}/{len(data)}")
    assert (first.status_code, first.headers["Range"]) == (308, f"bytes=0-{UNIT - 1}")
    again = send(drive, url, data[:UNIT], f"bytes 0-{UNIT - 1}/{len(data)}")
    assert (again.status_code, again.headers["Range"]) == (308, f"bytes=0-{UNIT - 1}")
    last = send(drive, url, data[UNIT:], f"bytes {UNIT}-{UNIT + 4}/{len(data)}")
    assert last.status_code == 200
    assert send(drive, url, b"", f"bytes */{len(data)}").json() == last.json()
    assert [(name, path.read_bytes()) for name, path in drive.files()] == [("a", data)]


def test_sessions_end(drive: GoogleDrive) -> None:
    url = begin(drive, name="a")
    assert call(drive, "DELETE", url).status_code == 499
    assert send(drive, url, b"x", "bytes 0-0/1").status_code == 404
    url, now = begin(drive, name="b"), drive.now()
    drive.now = lambda: now + drive.session_life + 1
    assert send(drive, url, b"x", "bytes 0-0/1").status_code == 404


def test_ids_are_used_once(drive: GoogleDrive) -> None:
    (made,) = call(drive, "GET", "/drive/v3/files/generateIds?count=1").json()["ids"]
    assert call(drive, "POST", "/drive/v3/files", json={"id": made}).status_code == 200
    again = call(drive, "POST", "/drive/v3/files", json={"id": made})
    assert (again.status_code, again.json()["error"]["errors"][0]["reason"]) == (409, "fileIdInUse")


def test_listing_lags_and_get_does_not(drive: GoogleDrive) -> None:
    drive.lag, now = 5, drive.now()
    drive.now = lambda: now
    made = call(drive, "POST", "/drive/v3/files", json={"name": r"it's \ mine"}).json()["id"]
    asked = {"q": r"name = 'it\'s \\ mine' and 'root' in parents and not trashed = true"}
    assert call(drive, "GET", f"/drive/v3/files/{made}").status_code == 200
    assert call(drive, "GET", "/drive/v3/files", params=asked).json()["files"] == []
    drive.now = lambda: now + 5
    assert [f["id"] for f in call(drive, "GET", "/drive/v3/files", params=asked).json()["files"]] == [made]


def test_quota_shared_drives_and_scopes(drive: GoogleDrive) -> None:
    shared = drive.add_drive("Team")
    assert call(drive, "POST", "/drive/v3/files", json={"parents": [shared]}).status_code == 404
    assert call(drive, "POST", "/drive/v3/files?supportsAllDrives=true", json={"parents": [shared]}).ok
    drive.quota = 3
    full = call(drive, "POST", "/upload/drive/v3/files?uploadType=media", data=b"four")
    assert full.json()["error"]["errors"][0]["reason"] == "storageQuotaExceeded"
    drive.put("theirs", b"x")
    (theirs,) = [key for key, node in drive.nodes.items() if node.meta["name"] == "theirs"]
    token = drive.sign_in(PREFIX + "drive.file")[0]
    url, headers = f"{drive.url}/drive/v3/files/{theirs}", {"Authorization": f"Bearer {token}"}
    assert requests.get(url, headers=headers, timeout=10).status_code == 404
    assert call(drive, "GET", url).status_code == 200
    none = requests.get(url, timeout=10)
    assert none.status_code == 401
    assert none.headers["WWW-Authenticate"].startswith("Bearer")


def test_the_sdk(drive: GoogleDrive) -> None:
    described = {**document(), "rootUrl": drive.url + "/", "baseUrl": drive.url + "/drive/v3/"}
    token = drive.sign_in(" ".join(drive.scopes))[0]
    service = build_from_document(described, credentials=Credentials(token))  # type: ignore[no-untyped-call]
    data = bytes(range(256)) * 3000
    media = MediaIoBaseUpload(io.BytesIO(data), "text/plain", chunksize=UNIT, resumable=True)
    made = service.files().create(body={"name": "s"}, media_body=media, fields="id,sha256Checksum").execute()
    assert made["sha256Checksum"] == hashlib.sha256(data).hexdigest()
    assert service.files().list(q="name = 's'").execute()["files"][0]["id"] == made["id"]
    assert service.files().get_media(fileId=made["id"]).execute() == data
    service.files().delete(fileId=made["id"]).execute()
    with pytest.raises(HttpError, match="File not found"):
        service.files().get(fileId=made["id"]).execute()
    service.close()
