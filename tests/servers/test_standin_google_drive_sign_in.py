"""The stand-in for Google Drive: sign-in, service accounts, and Google's own SDK against it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import google.auth.transport.requests
import jwt
import pytest
import requests
from google.oauth2 import service_account
from google.oauth2.credentials import Credentials
from google_auth_httplib2 import AuthorizedHttp
from googleapiclient.discovery import build_from_document
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaIoBaseUpload, build_http

from servers.oauth_rules import CLIENT, SECRET
from servers.standins.google_drive import PREFIX, GoogleDrive, failing, said
from servers.standins.google_drive.client import FILES, FOLDER, UNIT, UPLOAD, Client, code
from servers.standins.google_drive.description import document
from servers.standins.google_drive.sign_in import SERVICE, USER, GoogleRules
from servers.standins.kit import running
from servers.tls import make_certificates

DRIVE, FILE = PREFIX + "drive", PREFIX + "drive.file"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@pytest.fixture
def client(google_drive_standin: GoogleDrive) -> Iterator[Client]:
    with requests.Session() as session:
        yield Client(google_drive_standin, session)


def rules(client: Client) -> GoogleRules:
    assert isinstance(client.standin.rules, GoogleRules)
    return client.standin.rules


def post(client: Client, path: str, **form: str) -> requests.Response:
    return client.session.post(client.standin.url + path, data=form, timeout=10)


def token(client: Client, **form: str) -> requests.Response:
    return post(client, "/token", **{"client_id": CLIENT, "client_secret": SECRET, **form})


def refusal(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


# --- tokens ---------------------------------------------------------------------------------------------


def test_tokens_are_over_after_an_hour_and_are_renewed(client: Client) -> None:
    refresh, now = client.standin.sign_in(FILE)[1], client.standin.now()
    client.standin.now = lambda: now + 3601
    stale = client.ask("GET", FILES)
    assert code(stale) == (401, "authError")
    assert stale.headers["WWW-Authenticate"].startswith("Bearer")
    answer = token(client, grant_type="refresh_token", refresh_token=refresh).json()
    assert set(answer) == {"access_token", "expires_in", "scope", "token_type"}
    assert (answer["token_type"], answer["expires_in"], answer["scope"]) == ("Bearer", 3600, FILE)
    client.token = answer["access_token"]
    assert client.ask("GET", FILES).status_code == 200
    client.token = None
    assert code(client.ask("GET", FILES)) == (401, "authError")


@pytest.mark.parametrize(
    ("form", "refused"),
    [
        ({"grant_type": "refresh_token", "refresh_token": "no"}, (400, "invalid_grant")),
        ({"grant_type": "refresh_token", "client_secret": "no"}, (401, "invalid_client")),
        ({"grant_type": "client_credentials"}, (400, "unsupported_grant_type")),
        ({"grant_type": "password"}, (400, "unsupported_grant_type")),
        ({"grant_type": "authorization_code", "code": "no"}, (400, "invalid_grant")),
    ],
)
def test_refused_grants(client: Client, form: dict[str, str], refused: tuple[int, str]) -> None:
    assert refusal(token(client, **form)) == refused


@pytest.mark.parametrize("change", [{"scope": PREFIX + "drve"}, {"scope": ""}, {"redirect_uri": None}])
def test_refused_authorizations(client: Client, change: dict[str, Any]) -> None:
    asked = {"client_id": CLIENT, "response_type": "code", "redirect_uri": "http://127.0.0.1:9/",
             "state": "s" * 16, "code_challenge": "c" * 43, "code_challenge_method": "S256",
             "scope": FILE}  # fmt: skip
    url = client.standin.url + client.standin.authorize_path
    good = client.session.get(url, params=asked, timeout=10, allow_redirects=False)
    assert good.status_code == 302
    asked = {key: value for key, value in {**asked, **change}.items() if value is not None}
    assert client.session.get(url, params=asked, timeout=10, allow_redirects=False).status_code == 400


def test_revoking(client: Client) -> None:
    access, refresh = client.standin.sign_in(FILE)
    assert post(client, "/revoke", token=access).status_code == 200
    assert refusal(token(client, grant_type="refresh_token", refresh_token=refresh)) == (400, "invalid_grant")
    client.token = access
    assert code(client.ask("GET", FILES)) == (401, "authError")
    for again in (access, refresh, "unknown"):
        assert refusal(post(client, "/revoke", token=again)) == (400, "invalid_token")
    assert refusal(post(client, "/revoke")) == (400, "invalid_request")
    other = client.standin.sign_in(FILE)[1]
    assert post(client, f"/revoke?token={other}").status_code == 200
    late, now = client.standin.sign_in(FILE)[0], client.standin.now()
    client.standin.now = lambda: now + 3601
    assert refusal(post(client, "/revoke", token=late)) == (400, "invalid_token")


# --- devices --------------------------------------------------------------------------------------------


def test_devices(client: Client) -> None:
    now = client.standin.now()
    client.standin.now = lambda: now
    begun = post(client, "/device/code", client_id=CLIENT, scope=f"{FILE} email").json()
    assert (begun["interval"], begun["expires_in"]) == (5, 1800)
    assert begun["verification_url"] == "https://www.google.com/device"
    polled = {"grant_type": DEVICE, "device_code": begun["device_code"]}
    assert refusal(token(client, **polled)) == (428, "authorization_pending")
    assert refusal(token(client, **polled)) == (403, "slow_down")
    client.standin.now = lambda: now + 20
    rules(client).decide(begun["user_code"])
    answer = token(client, **polled).json()
    assert answer["scope"] == f"{FILE} email"
    assert answer["refresh_token"]
    begun = post(client, "/device/code", client_id=CLIENT, scope=FILE).json()
    rules(client).decide(begun["user_code"], agree=False)
    polled["device_code"] = begun["device_code"]
    assert refusal(token(client, **polled)) == (403, "access_denied")
    client.standin.now = lambda: now + 2000
    assert refusal(token(client, **polled)) == (400, "expired_token")


@pytest.mark.parametrize(
    ("form", "refused"),
    [
        ({"scope": DRIVE}, (400, "invalid_scope")),
        ({"scope": f"{FILE} {DRIVE}"}, (400, "invalid_scope")),
        ({"scope": ""}, (400, "invalid_request")),
        ({"scope": FILE, "client_id": "stranger"}, (401, "invalid_client")),
    ],
)
def test_refused_devices(client: Client, form: dict[str, str], refused: tuple[int, str]) -> None:
    assert refusal(post(client, "/device/code", **{"client_id": CLIENT, **form})) == refused


# --- service accounts -----------------------------------------------------------------------------------


def assertion(client: Client, algorithm: str = "RS256", headers: Any = None, **changes: Any) -> str:
    key, now = client.standin.facts()["service_account"], int(client.standin.now())
    claims = {"iss": key["client_email"], "scope": DRIVE, "aud": key["token_uri"]}
    claims |= {"iat": now, "exp": now + 3600}
    claims = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    secret = key["private_key"] if algorithm != "HS256" else "s" * 32
    return jwt.encode(claims, secret, algorithm, headers or {"kid": key["private_key_id"]})


def asserted(client: Client, made: str) -> requests.Response:
    return post(client, "/token", grant_type=BEARER, assertion=made)


def test_a_service_account_signs_in_by_googles_library(client: Client) -> None:
    key = client.standin.facts()["service_account"]
    made: Any = service_account.Credentials
    login = made.from_service_account_info(key, scopes=[DRIVE])
    login.refresh(google.auth.transport.requests.Request(client.session))
    client.token = login.token
    about = client.ask("GET", "/drive/v3/about?fields=user(emailAddress),storageQuota").json()
    assert about == {"user": {"emailAddress": SERVICE}, "storageQuota": {"usage": "0", "limit": "0"}}


@pytest.mark.parametrize("claims", [{}, {"sub": USER}, {"sub": SERVICE}, {"iat": -300}])
def test_assertions(client: Client, claims: dict[str, Any]) -> None:
    if "iat" in claims:
        now = int(client.standin.now())
        claims = {"iat": now - 300, "exp": now + 3300}
    answer = asserted(client, assertion(client, **claims))
    assert answer.status_code == 200
    assert set(answer.json()) == {"access_token", "expires_in", "token_type"}


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"algorithm": "RS512"}, (400, "invalid_grant")),
        ({"algorithm": "HS256"}, (400, "invalid_grant")),
        ({"headers": {"kid": "another"}}, (400, "invalid_grant")),
        ({"iss": "stranger@standin.iam.gserviceaccount.com"}, (400, "invalid_grant")),
        ({"iss": None}, (400, "invalid_grant")),
        ({"aud": "https://example.org/token"}, (400, "invalid_grant")),
        ({"iat": 0}, (400, "invalid_grant")),
        ({"iat": None}, (400, "invalid_grant")),
        ({"exp": 0}, (400, "invalid_grant")),
        ({"exp": "soon"}, (400, "invalid_grant")),
        ({"exp": 1 << 40}, (400, "invalid_grant")),
        ({"scope": None}, (400, "invalid_scope")),
        ({"scope": PREFIX + "drve"}, (400, "invalid_scope")),
        ({"sub": "bob@example.org"}, (401, "unauthorized_client")),
    ],
)
def test_refused_assertions(client: Client, changes: dict[str, Any], refused: tuple[int, str]) -> None:
    assert refusal(asserted(client, assertion(client, **changes))) == refused


def test_a_signature_has_to_fit(client: Client) -> None:
    head, body, _ = assertion(client).split(".")
    other = assertion(client, scope=FILE).split(".")[2]
    for forged in (f"{head}.{body}.{other}", f"{head}.{body}.", "nonsense", ""):
        assert refusal(asserted(client, forged)) == (400, "invalid_grant")


def test_a_service_account_has_no_room_of_its_own(client: Client) -> None:
    shared = client.standin.add_drive("Team")
    client.token = asserted(client, assertion(client)).json()["access_token"]
    none = (403, "storageQuotaExceeded")
    answer = client.ask("POST", UPLOAD + "?uploadType=media", data=b"x")
    assert code(answer) == none
    assert "Service Accounts do not have storage quota" in answer.json()["error"]["message"]
    assert code(client.ask("POST", UPLOAD + "?uploadType=resumable", json={"name": "a"})) == none
    assert code(client.ask("POST", FILES, json={"mimeType": FOLDER})) == none
    where = UPLOAD + "?uploadType=resumable&supportsAllDrives=true"
    begun = client.ask("POST", where, json={"name": "a", "parents": [shared]})
    assert client.send(begun.headers["Location"], b"x", None).status_code == 200
    client.token = asserted(client, assertion(client, sub=USER)).json()["access_token"]
    assert client.ask("POST", UPLOAD + "?uploadType=media", data=b"x").status_code == 200
    client.standin.service_accounts.add(client.standin.rules.account)
    assert code(client.ask("POST", UPLOAD + "?uploadType=media", data=b"x")) == none


# --- the SDK --------------------------------------------------------------------------------------------


@contextmanager
def sdk(url: str, access: str | None, ca: Path | None = None) -> Iterator[Any]:
    """The methods of files, as a user would have them but for the address."""
    described = {**document(), "rootUrl": url + "/", "baseUrl": url + "/drive/v3/"}
    login: Any = Credentials
    http = build_http()
    http.ca_certs = None if ca is None else str(ca)
    with closing(build_from_document(described, http=AuthorizedHttp(login(access), http=http))) as service:
        yield service.files()


def media(data: bytes, kind: str = "text/plain", *, resumable: bool = True) -> MediaIoBaseUpload:
    return MediaIoBaseUpload(io.BytesIO(data), kind, chunksize=UNIT, resumable=resumable)


def whole(asked: Any) -> tuple[Any, int]:
    """Send all chunks; the answer, and how many there were."""
    answer, chunks = None, 0
    while answer is None:
        _, answer = asked.next_chunk()
        chunks += 1
    return answer, chunks


def test_the_sdk(client: Client) -> None:
    data = bytes(range(256)) * 3000
    with sdk(client.standin.url, client.token) as files:
        (made,) = files.generateIds(count=1).execute()["ids"]
        folder = files.create(body={"name": "f", "mimeType": FOLDER}, fields="id").execute()["id"]
        body = {"id": made, "name": "s", "parents": [folder], "appProperties": {"k": "v"}}
        answer, chunks = whole(files.create(body=body, media_body=media(data), fields="id,sha256Checksum"))
        assert chunks == -(-len(data) // UNIT)
        assert answer == {"id": made, "sha256Checksum": hashlib.sha256(data).hexdigest()}
        with pytest.raises(HttpError, match="already exists") as twice:
            files.create(body=body).execute()
        assert twice.value.resp.status == 409
        query = f"name = 's' and '{folder}' in parents and appProperties has {{ key='k' and value='v' }}"
        assert [file["id"] for file in files.list(q=query).execute()["files"]] == [made]
        assert files.get_media(fileId=made).execute() == data
        files.update(fileId=made, body={"name": "t"}, media_body=media(b"new", "text/html")).execute()
        assert files.get_media(fileId=made).execute() == b"new"
        into = {"addParents": "root", "removeParents": folder}
        files.update(fileId=made, body={"trashed": True}, **into).execute()
        assert files.list(q="trashed = false and name = 't'").execute()["files"] == []
        files.delete(fileId=made).execute()
        with pytest.raises(HttpError, match="File not found"):
            files.get(fileId=made).execute()


def test_the_sdk_sends_multipart_and_media(client: Client) -> None:
    data = b"line\r\nline\n--==\n" + bytes(range(256))
    with sdk(client.standin.url, client.token) as files:
        both = files.create(body={"name": "both"}, media_body=media(data, resumable=False))
        assert both.execute()["mimeType"] == "text/plain"
        alone = files.create(media_body=media(data, "image/png", resumable=False), fields="*")
        assert alone.execute()["md5Checksum"] == hashlib.md5(data).hexdigest()
    kept = {name: path.read_bytes() for name, path in client.standin.files()}
    assert kept == {"both": data, "Untitled": data}
    kinds = [seen.query["uploadType"] for seen in client.standin.of("upload")]
    assert kinds == ["multipart", "media"]


def test_the_sdk_meets_errors_and_goes_on(client: Client) -> None:
    data = bytes(3 * UNIT)
    with sdk(client.standin.url, client.token) as files:
        for name in ("userRateLimitExceeded", "tooManyRequests", "storageQuotaExceeded", "backendError"):
            client.standin.faults.append(failing("list", name))
            with pytest.raises(HttpError) as refused:
                files.list().execute()
            assert refused.value.error_details == said(name).document["error"]["errors"]
        asked = files.create(body={"name": "s"}, media_body=media(data))
        asked.next_chunk()
        client.standin.faults.append(failing("chunk", "backendError", carried_out=True))
        with pytest.raises(HttpError):
            asked.next_chunk()
        whole(asked)
    (found,) = client.standin.files()
    assert found[1].read_bytes() == data


def test_over_tls(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    with running(GoogleDrive(certificates=certificates)) as standin:
        with sdk(standin.url, standin.facts()["access_token"], certificates.ca) as files:
            files.create(body={"name": "s"}, media_body=media(bytes(2 * UNIT + 1))).execute()
        assert [name for name, _ in standin.files()] == ["s"]
        assert standin.count("chunk") == 3
        assert not standin.defects
