"""OneDrive's stand-in: what it accepts, and what it refuses with which code; msal against it."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import msal
import pytest
import requests

from servers.oauth_rules import CLIENT, SECRET
from servers.standins.kit import Fault, running
from servers.standins.messages import Answer
from servers.standins.onedrive import OneDrive
from servers.standins.onedrive.application import application_key
from servers.standins.onedrive.names import QuickXor
from servers.standins.onedrive.sessions import UNIT
from servers.tls import make_certificates

OPEN = "/root:/a:/createUploadSession"
BEHAVIOR = "@microsoft.graph.conflictBehavior"


class Client:
    """Plain requests to one stand-in."""

    def __init__(self, standin: OneDrive) -> None:
        self.standin = standin
        self.token, _ = standin.sign_in("Files.ReadWrite")

    def __call__(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        url = f"{self.standin.url}/v1.0/me/drive{path}"
        return requests.request(method, url, headers=headers, timeout=10, allow_redirects=False, **options)

    def put(self, name: str, data: bytes = b"x", **options: Any) -> requests.Response:
        return self("PUT", f"/root:/{quote(name)}:/content", data=data, **options)

    def session(self, name: str, behavior: str = "replace", **more: Any) -> requests.Response:
        body = {"item": {BEHAVIOR: behavior, **more.pop("item", {})}, **more}
        return self("POST", f"/root:/{quote(name)}:/createUploadSession", json=body)

    def open(self, name: str, behavior: str = "replace", **more: Any) -> str:
        return str(self.session(name, behavior, **more).json()["uploadUrl"])


def send(url: str, data: bytes, first: int, total: int, **headers: str) -> requests.Response:
    headers["Content-Range"] = f"bytes {first}-{first + len(data) - 1}/{total}"
    return requests.put(url, data=data, headers=headers, timeout=10)


def codes(answer: requests.Response) -> list[str]:
    """From the outermost to the most exact."""
    found, error = [], answer.json()["error"]
    while "code" in error:
        found.append(error["code"])
        error = error.get("innererror", {})
    return found


@pytest.fixture
def personal(onedrive_standin: OneDrive) -> Client:
    return Client(onedrive_standin)


@pytest.fixture
def business() -> Iterator[Client]:
    with running(OneDrive(kind="business")) as standin:
        yield Client(standin)


def slow_xor(data: bytes) -> str:
    value = len(data) << 96
    for index, byte in enumerate(data):
        shifted = byte << (index * 11 % 160)
        value ^= (shifted & ((1 << 160) - 1)) | (shifted >> 160)
    return base64.b64encode(value.to_bytes(20, "little")).decode()


@pytest.mark.parametrize("size", [0, 1, 159, 160, 161, 163_839, 163_840, 163_841, 400_000])
def test_the_fast_digest_is_the_published_one(size: int) -> None:
    data = random.Random(size).randbytes(size)
    digest = QuickXor()
    for start in range(0, size, 70_001):
        digest.update(data[start : start + 70_001])
    assert digest.base64() == slow_xor(data)


def test_a_small_file_comes_back(personal: Client) -> None:
    assert personal("POST", "/root/children", json={"name": "d", "folder": {}}).status_code == 201
    answer = personal.put("d/100% #1 ä.jpg", b"hello")
    assert answer.status_code == 201
    shown = answer.json()
    assert (shown["name"], shown["size"]) == ("100% #1 ä.jpg", 5)
    assert shown["file"]["hashes"] == {
        "quickXorHash": slow_xor(b"hello"),
        "sha1Hash": hashlib.sha1(b"hello").hexdigest().upper(),
    }
    moved = personal("GET", f"/items/{shown['id']}/content")
    assert moved.status_code == 302
    assert requests.get(moved.headers["Location"], timeout=10).content == b"hello"
    assert [path for path, _ in personal.standin.files()] == ["d/100% #1 ä.jpg"]
    drive = personal("GET", "").json()
    assert (drive["driveType"], drive["quota"]["used"]) == ("personal", 5)
    assert personal("GET", "/root:/D/100%25%20%231%20%C3%A4.JPG").json()["id"] == shown["id"]


def test_each_way_to_address(personal: Client) -> None:
    root = personal("GET", "/root").json()["id"]
    drive = personal.standin.drive.id
    assert personal("PUT", f"/items/{root}:/a.jpg:/content", data=b"x").status_code == 201
    login = {"Authorization": f"Bearer {personal.token}"}
    for path in ("root:/a.jpg", f"items/{root}:/a.jpg"):
        url = f"{personal.standin.url}/v1.0/drives/{drive}/{path}"
        assert requests.get(url, headers=login, timeout=10).status_code == 200
    other = requests.get(f"{personal.standin.url}/v1.0/drives/other/root", headers=login, timeout=10)
    assert (other.status_code, codes(other)) == (404, ["itemNotFound"])


def test_conflicts_of_small_files(personal: Client) -> None:
    personal.put("a.jpg")
    fail = personal.put("A.JPG", params={BEHAVIOR: "fail"})
    assert (fail.status_code, codes(fail)) == (409, ["nameAlreadyExists"])
    assert personal.put("a.jpg", params={BEHAVIOR: "rename"}).json()["name"] == "a 1.jpg"
    assert personal.put("a.jpg", b"new").status_code == 200
    assert personal.put("a.jpg", params={BEHAVIOR: "maybe"}).status_code == 400


DATA = {"data": b"x"}
REFUSED: list[tuple[str, str, str, dict[str, Any], int, str]] = [
    ("characters", "PUT", "/root:/a%3Ab:/content", {"data": b"x"}, 400, "nameContainsInvalidCharacters"),
    ("a reserved name", "PUT", "/root:/CON:/content", {"data": b"x"}, 400, "nameContainsInvalidCharacters"),
    ("a last dot", "PUT", "/root:/a.:/content", {"data": b"x"}, 400, "nameContainsInvalidCharacters"),
    ("a first space", "PUT", "/root:/%20a:/content", {"data": b"x"}, 400, "nameContainsInvalidCharacters"),
    ("_vti_", "PUT", "/root:/a_vti_b:/content", {"data": b"x"}, 400, "nameContainsInvalidCharacters"),
    ("a long path", "PUT", f"/root:/{'/'.join(['a' * 99] * 5)}:/content", DATA, 400, "pathIsTooLong"),
    ("no parent", "PUT", "/root:/none/a:/content", {"data": b"x"}, 404, "itemNotFound"),
    ("an unknown option", "PUT", "/root:/a:/content?x=1", {"data": b"x"}, 400, "invalidQueryOption"),
    ("an unknown item", "GET", "/items/none", {}, 404, "itemNotFound"),
    ("an unknown way", "GET", "/none", {}, 400, "BadRequest"),
    ("an unknown property", "POST", OPEN, {"json": {"x": 1}}, 400, "invalidParameterFormat"),
    ("a wrong type", "POST", OPEN, {"json": {"deferCommit": 1}}, 400, "invalidParameterFormat"),
    ("no byte", "POST", OPEN, {"json": {"item": {"fileSize": 0}}}, 400, "invalidRequest"),
    ("another name", "POST", OPEN, {"json": {"item": {"name": "b"}}}, 400, "invalidRequest"),
    ("no folder", "POST", "/root/children", {"json": {"name": "a"}}, 400, "invalidParameterFormat"),
    ("a bad page", "GET", "/root/children?$top=x", {}, 400, "invalidQueryOption"),
    ("a form", "POST", "/root/children", {"data": {"name": "a"}}, 415, "invalidRequest"),
]  # fmt: skip


@pytest.mark.parametrize("row", REFUSED, ids=[row[0] for row in REFUSED])
def test_a_violation_has_its_code(row: tuple[Any, ...], personal: Client) -> None:
    _, method, path, options, status, code = row
    answer = personal(method, path, **options)
    assert (answer.status_code, codes(answer)[-1]) == (status, code)
    assert not personal.standin.files()


def test_tokens(personal: Client) -> None:
    bad = personal("GET", "/root", headers={"Authorization": "Bearer x"})
    assert (bad.status_code, codes(bad)) == (401, ["InvalidAuthenticationToken"])
    personal.token, _ = personal.standin.sign_in("Files.Read")
    assert personal("GET", "/root").status_code == 200
    assert (personal.put("a").status_code, codes(personal.put("a"))) == (403, ["accessDenied"])


def test_a_session_in_order(personal: Client) -> None:
    data = random.Random(1).randbytes(2 * UNIT + 5)
    url = personal.open("a.bin", item={"fileSize": len(data)})
    assert personal.standin.unfinished() == {"a.bin"}
    first = send(url, data[:UNIT], 0, len(data))
    assert (first.status_code, first.json()["nextExpectedRanges"]) == (202, [f"{UNIT}-"])
    again = send(url, data[:UNIT], 0, len(data))
    assert (again.status_code, codes(again)) == (416, ["invalidRange", "fragmentOverlap"])
    early = send(url, data[2 * UNIT :], 2 * UNIT, len(data))
    assert (early.status_code, codes(early)) == (416, ["invalidRange", "fragmentOutOfOrder"])
    other = send(url, data[UNIT : 2 * UNIT], UNIT, len(data) + 1)
    assert (other.status_code, codes(other)) == (400, ["invalidRange", "fragmentLengthMismatch"])
    assert requests.get(url, timeout=10).json()["nextExpectedRanges"] == [f"{UNIT}-"]
    done = send(url, data[UNIT:], UNIT, len(data))
    assert done.status_code == 201
    assert done.json()["file"]["hashes"]["quickXorHash"] == slow_xor(data)
    gone = requests.get(url, timeout=10)
    assert (gone.status_code, codes(gone)) == (404, ["itemNotFound", "uploadSessionNotFound"])
    assert personal.standin.files()[0][1].read_bytes() == data


def test_a_session_refuses_a_token_and_a_missing_range(personal: Client) -> None:
    url = personal.open("a.bin")
    assert send(url, b"x", 0, 1, Authorization=f"Bearer {personal.token}").status_code == 401
    assert requests.put(url, data=b"x", timeout=10).status_code == 400
    lying = requests.put(url, data=b"x", headers={"Content-Range": "bytes 0-4/5"}, timeout=10)
    assert lying.status_code == 400
    assert requests.delete(url, timeout=10).status_code == 204
    assert requests.delete(url, timeout=10).status_code == 404
    assert not personal.standin.unfinished()


def test_uneven_and_large_fragments(personal: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    url = personal.open("a.bin")
    assert send(url, b"x" * 10, 0, 20).status_code == 202
    late = send(url, b"x" * 10, 10, 20)
    assert (late.status_code, codes(late)[-1]) == (400, "uploadSessionFailed")
    monkeypatch.setattr(OneDrive, "strict_fragments", True)
    assert send(personal.open("b.bin"), b"x" * 10, 0, 20).status_code == 400
    monkeypatch.setattr(OneDrive, "fragment_limit", 100)
    large = send(personal.open("c.bin"), b"x" * 100, 0, 100)
    assert (large.status_code, codes(large)[-1]) == (413, "maxFragmentLengthExceeded")
    monkeypatch.setattr(OneDrive, "put_limit", 3)
    assert personal.put("d.bin", b"xxxx").status_code == 413
    assert not personal.standin.files()


def test_a_cut_fragment_counts_for_nothing(personal: Client) -> None:
    url = personal.open("a.bin")
    personal.standin.faults.append(Fault("fragment", cut=100))
    with pytest.raises(requests.ConnectionError):
        send(url, b"x" * UNIT, 0, UNIT)
    assert requests.get(url, timeout=10).json()["nextExpectedRanges"] == ["0-"]
    assert send(url, b"y" * UNIT, 0, UNIT).status_code == 201
    assert personal.standin.files()[0][1].read_bytes() == b"y" * UNIT


def test_a_session_expires(personal: Client) -> None:
    url = personal.open("a.bin")
    later = personal.standin.now() + personal.standin.session_life + 1
    personal.standin.now = lambda: later
    assert requests.get(url, timeout=10).status_code == 404


def test_a_conflict_at_the_last_fragment_leaves_the_session(personal: Client) -> None:
    url = personal.open("a.bin", "fail")
    personal.put("a.bin", b"stranger")
    late = send(url, b"ours", 0, 4)
    assert (late.status_code, codes(late)) == (409, ["nameAlreadyExists"])
    body = {"name": "b.bin", BEHAVIOR: "fail", "@microsoft.graph.sourceUrl": url}
    assert personal("PUT", "/root", json=body).status_code == 201
    assert {path: file.read_bytes() for path, file in personal.standin.files()} == {
        "a.bin": b"stranger",
        "b.bin": b"ours",
    }
    taken = personal.session("a.bin", "fail")
    assert (taken.status_code, codes(taken)) == (409, ["nameAlreadyExists"])


def test_a_session_holds_its_name_on_business(business: Client, personal: Client) -> None:
    url = business.open("a.bin")
    second = business.session("A.bin")
    assert (second.status_code, codes(second)) == (409, ["nameAlreadyExists"])
    requests.delete(url, timeout=10)
    assert business.session("a.bin").status_code == 200
    assert personal.session("a.bin").status_code == personal.session("a.bin").status_code == 200


def test_a_deferred_commit(business: Client, personal: Client) -> None:
    url = business.open("a.bin", deferCommit=True)
    early = requests.post(url, timeout=10)
    assert (early.status_code, codes(early)[-1]) == (400, "uploadSessionIncomplete")
    assert send(url, b"abc", 0, 3).json()["nextExpectedRanges"] == []
    assert not business.standin.files()
    done = requests.post(url, timeout=10)
    assert (done.status_code, done.json()["size"]) == (201, 3)
    assert set(done.json()["file"]["hashes"]) == {"quickXorHash"}
    other = personal.open("a.bin", deferCommit=True)
    send(other, b"abc", 0, 3)
    assert codes(requests.post(other, timeout=10)) == ["notSupported"]


def test_folders_and_their_conflicts(business: Client, personal: Client) -> None:
    for client, status in ((business, 409), (personal, 200)):
        body = {"name": "d", "folder": {}, BEHAVIOR: "fail"}
        assert client("POST", "/root/children", json=body).status_code == 201
        assert client("POST", "/root/children", json=body).status_code == 409
        body[BEHAVIOR] = "replace"
        assert client("POST", "/root/children", json=body).status_code == status
    personal.standin.drive.creates_parents = True
    assert personal.put("x/y/a.jpg").status_code == 201
    assert business.put("forms").status_code == 400
    assert personal.put("forms").status_code == 201


def test_listing_in_pages_and_moving(personal: Client) -> None:
    for number in range(5):
        personal.put(f"{number}.jpg")
    page = personal("GET", "/root/children", params={"$top": "2", "$select": "name"}).json()
    names = [item["name"] for item in page["value"]]
    login = {"Authorization": f"Bearer {personal.token}"}
    while "@odata.nextLink" in page:
        page = requests.get(page["@odata.nextLink"], headers=login, timeout=10).json()
        names += [item["name"] for item in page["value"]]
    assert names == [f"{number}.jpg" for number in range(5)]
    folder = personal("POST", "/root/children", json={"name": "d", "folder": {}}).json()["id"]
    body = {"name": "new.jpg", "parentReference": {"id": folder}}
    assert personal("PATCH", "/root:/0.jpg", json=body).status_code == 200
    assert personal("PATCH", "/root:/1.jpg", json={"name": "2.jpg"}).status_code == 409
    assert personal("DELETE", "/root:/d").status_code == 204
    assert personal("GET", "/root:/d/new.jpg").status_code == 404


def test_preconditions(personal: Client) -> None:
    tag = personal.put("a.jpg").json()["eTag"]
    assert personal.put("a.jpg", headers={"If-Match": tag}).status_code == 200
    stale = personal.put("a.jpg", headers={"If-Match": tag})
    assert (stale.status_code, codes(stale)) == (412, ["resourceModified", "entityTagDoesNotMatch"])
    assert personal("DELETE", "/root:/a.jpg", headers={"If-Match": tag}).status_code == 412


def test_quota_locks_hashes_and_office(business: Client) -> None:
    drive = business.standin.drive
    drive.quota = 10
    full = business.put("a.jpg", b"x" * 11)
    assert (full.status_code, codes(full)) == (507, ["quotaLimitReached", "insufficientStorage"])
    assert business.session("a.jpg", item={"fileSize": 11}).status_code == 507
    drive.quota, drive.rewrites_office, drive.hash_delay = None, True, 60
    shown = business.put("a.docx", b"abc").json()
    assert shown["size"] > 3
    assert "hashes" not in shown["file"]
    drive.items[shown["id"]].locked = True
    locked = business.put("a.docx")
    assert (locked.status_code, codes(locked)) == (423, ["resourceLocked"])


def test_faults_come_as_told(personal: Client) -> None:
    busy = {"error": {"code": "activityLimitReached", "message": "Slow down."}}
    personal.standin.faults.append(Fault("put_content", Answer(429, busy, {"Retry-After": "7"})))
    answer = personal.put("a.jpg")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert personal.put("a.jpg").status_code == 201


def test_sixteen_at_once(personal: Client) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda n: personal.put(f"{n}.jpg", b"x" * 100_000).status_code, range(32)))
    assert found == [201] * 32
    assert len(personal.standin.files()) == 32


# --- sign-in ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OneDrive, Path]]:
    made = make_certificates(tmp_path_factory.mktemp("tls"))
    with running(OneDrive(certificates=made)) as standin:
        yield standin, made.ca


def of_msal(kind: Any, secure: tuple[OneDrive, Path], **options: Any) -> Any:
    standin, ca = secure
    authority = standin.facts()["authority"]
    session = requests.Session()
    session.trust_env, session.verify = False, str(ca)  # the environment's CA would go first
    return kind(CLIENT, authority=authority, instance_discovery=False, http_client=session, **options)


def test_msal_signs_a_person_in_by_code_and_renews(secure: tuple[OneDrive, Path]) -> None:
    standin, ca = secure
    app = of_msal(msal.PublicClientApplication, secure)
    with pytest.warns(UserWarning, match="form_post"):
        flow = app.initiate_auth_code_flow(["Files.ReadWrite"], redirect_uri="http://localhost:1")
    agreed = requests.get(flow["auth_uri"], verify=str(ca), allow_redirects=False, timeout=10)
    query = {k: v[0] for k, v in parse_qs(urlsplit(agreed.headers["Location"]).query).items()}
    given = app.acquire_token_by_auth_code_flow(flow, query)
    assert "access_token" in given, given
    assert given["id_token_claims"]["preferred_username"] == "ann@example.org"
    login = {"Authorization": f"Bearer {given['access_token']}"}
    me = requests.get(f"{standin.url}/v1.0/me", headers=login, verify=str(ca), timeout=10).json()
    assert me["userPrincipalName"] == "ann@example.org"
    old = given["refresh_token"]
    new = app.acquire_token_by_refresh_token(old, ["Files.ReadWrite"])
    assert new["refresh_token"] != old
    assert "access_token" in app.acquire_token_by_refresh_token(old, ["Files.ReadWrite"])
    (account,) = app.get_accounts()
    again = app.acquire_token_silent(["Files.ReadWrite"], account, force_refresh=True)
    assert again["access_token"] != given["access_token"]


def test_msal_signs_in_by_device(secure: tuple[OneDrive, Path]) -> None:
    app = of_msal(msal.PublicClientApplication, secure)
    flow = app.initiate_device_flow(["Files.ReadWrite"])
    secure[0].rules.decide(flow["user_code"])
    assert "access_token" in app.acquire_token_by_device_flow(flow)


def test_msal_signs_the_application_in(secure: tuple[OneDrive, Path]) -> None:
    standin, _ = secure
    scope = ["https://graph.microsoft.com/.default"]
    app = of_msal(msal.ConfidentialClientApplication, secure, client_credential=SECRET)
    assert "access_token" in app.acquire_token_for_client(scope)
    wrong = of_msal(msal.ConfidentialClientApplication, secure, client_credential="wrong")
    assert wrong.acquire_token_for_client(scope)["error_codes"] == [7000215]
    key, public, _ = application_key()
    credential = {"private_key": key, "public_certificate": public.decode()}
    app = of_msal(msal.ConfidentialClientApplication, secure, client_credential=credential)
    assert app.acquire_token_for_client(scope)["error_codes"] == [700027]
    standin.app_certificate = public
    app = of_msal(msal.ConfidentialClientApplication, secure, client_credential=credential)
    assert "access_token" in app.acquire_token_for_client(scope)
    standin.app_certificate = application_key()[1]
    app = of_msal(msal.ConfidentialClientApplication, secure, client_credential=credential)
    assert app.acquire_token_for_client(scope)["error"] == "invalid_client"


def token(standin: OneDrive, **form: str) -> requests.Response:
    return requests.post(standin.url + standin.token_path, data={"client_id": CLIENT, **form}, timeout=10)


def test_the_token_service_names_its_errors(onedrive_standin: OneDrive) -> None:
    _, refresh = onedrive_standin.sign_in("Files.ReadWrite offline_access")
    renew = {"grant_type": "refresh_token", "refresh_token": refresh}
    assert token(onedrive_standin, **renew).status_code == 200
    rows: list[tuple[dict[str, str], int, int]] = [
        ({**renew, "refresh_token": "x"}, 400, 70000),
        ({**renew, "client_id": "x"}, 400, 700016),
        ({"grant_type": "authorization_code", "code": "x"}, 400, 70008),
        ({"grant_type": "password"}, 400, 70003),
        ({"grant_type": "client_credentials"}, 401, 7000218),
        ({"grant_type": "client_credentials", "client_secret": SECRET, "scope": "x"}, 400, 1002012),
    ]
    for form, status, code in rows:
        answer = token(onedrive_standin, **form)
        assert (answer.status_code, answer.json()["error_codes"]) == (status, [code])
        assert f"AADSTS{code}" in answer.json()["error_description"]
    onedrive_standin.consented = False
    assert token(onedrive_standin, **renew).json()["suberror"] == "consent_required"
    onedrive_standin.consented, onedrive_standin.account_exists = True, False
    assert token(onedrive_standin, **renew).json()["error_codes"] == [50034]
    nowhere = requests.post(onedrive_standin.url + "/none/oauth2/v2.0/token", timeout=10)
    assert nowhere.json()["error_codes"] == [90002]


def test_no_refresh_token_without_offline_access(onedrive_standin: OneDrive) -> None:
    _, refresh = onedrive_standin.sign_in("Files.ReadWrite")
    given = token(onedrive_standin, grant_type="refresh_token", refresh_token=refresh).json()
    assert "refresh_token" not in given
