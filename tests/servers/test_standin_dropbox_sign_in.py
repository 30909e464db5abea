"""The stand-in for Dropbox: signing in, by HTTP and by the SDK; and the ways in which the SDK gets there."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import dropbox
import pytest
import requests
from dropbox.exceptions import AuthError, BadInputError

from servers.oauth_rules import CLIENT, SECRET
from servers.standins.child import launched
from servers.standins.dropbox import DropboxStandIn
from servers.standins.dropbox.client import client, diverted
from servers.standins.kit import running
from servers.tls import make_certificates

VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
ASKED = {
    "client_id": CLIENT, "response_type": "code", "redirect_uri": "http://localhost:53682/",
    "state": "s" * 20, "scope": "files.content.write account_info.read", "code_challenge": CHALLENGE,
    "code_challenge_method": "S256", "token_access_type": "offline",
}  # fmt: skip


class Application:
    """What signs in."""

    def __init__(self, standin: DropboxStandIn) -> None:
        self.standin = standin
        self.session = requests.Session()
        self.session.trust_env = False

    def authorize(self, **changes: str | None) -> requests.Response:
        asked = {key: value for key, value in {**ASKED, **changes}.items() if value is not None}
        url = f"{self.standin.url}/oauth2/authorize?{urlencode(asked)}"
        return self.session.get(url, allow_redirects=False, timeout=10)

    def token(self, **form: str) -> requests.Response:
        url = f"{self.standin.url}/oauth2/token"
        return self.session.post(url, data={"client_id": CLIENT, **form}, timeout=10)

    def code(self, **changes: str | None) -> str:
        went = self.authorize(**changes)
        assert went.status_code == 302, went.text
        return parse_qs(urlsplit(went.headers["Location"]).query)["code"][0]

    def exchange(self, code: str, **changes: str) -> requests.Response:
        form = {"code": code, "redirect_uri": ASKED["redirect_uri"], "code_verifier": VERIFIER}
        return self.token(grant_type="authorization_code", **{**form, **changes})

    def whose(self, access: str) -> requests.Response:
        url = f"{self.standin.url}/2/users/get_current_account"
        return self.session.post(url, headers={"Authorization": f"Bearer {access}"}, timeout=10)


@pytest.fixture
def application(dropbox_standin: DropboxStandIn) -> Iterator[Application]:
    made = Application(dropbox_standin)
    with made.session:
        yield made


def test_a_code_brings_what_the_guide_says(application: Application) -> None:
    granted = application.exchange(application.code()).json()
    account = application.whose(granted["access_token"]).json()["account_id"]
    assert granted == granted | {
        "token_type": "bearer", "expires_in": 14_400, "scope": ASKED["scope"], "account_id": account,
        "uid": "12345",
    }  # fmt: skip
    assert "refresh_token" in granted


@pytest.mark.parametrize("kind", ["online", None])
def test_without_offline_access_there_is_no_refresh_token(application: Application, kind: str | None) -> None:
    granted = application.exchange(application.code(token_access_type=kind)).json()
    assert "refresh_token" not in granted


def test_without_scopes_all_of_the_application_are_granted(application: Application) -> None:
    granted = application.exchange(application.code(scope=None)).json()
    assert granted["scope"].split() == list(application.standin.scopes)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"client_id": "another"}, "unauthorized_client"),
        ({"response_type": "token"}, "unauthorized_client"),
        ({"redirect_uri": "http://example.org/"}, "invalid_request"),
        ({"state": "short"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"token_access_type": "forever"}, "invalid_request"),
        ({"scope": "files.content.write sharing.write"}, "invalid_scope"),
    ],
)
def test_sign_ins_that_are_refused(
    application: Application, changes: dict[str, str | None], error: str
) -> None:
    answer = application.authorize(**changes)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


def test_redirects_are_matched_to_the_letter(application: Application) -> None:
    application.standin.rules.redirects = {"http://localhost:53682/"}
    assert application.authorize().status_code == 302
    for other in ("http://localhost:53683/", "http://127.0.0.1:53682/", "http://localhost:53682"):
        assert application.authorize(redirect_uri=other).status_code == 400


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_verifier": "w" * 64}, "invalid_grant"),
        ({"redirect_uri": "http://localhost:1/"}, "invalid_grant"),
        ({"code": "another"}, "invalid_grant"),
        ({"client_id": "another"}, "invalid_client: Invalid client_id or client_secret"),
        ({"client_secret": "wrong"}, "invalid_client: Invalid client_id or client_secret"),
    ],
)
def test_codes_that_are_refused(application: Application, changes: dict[str, str], error: str) -> None:
    answer = application.exchange(**{"code": application.code(), **changes})
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert answer.headers["Content-Type"] == "application/json"


def test_a_code_is_good_once(application: Application) -> None:
    code = application.code()
    granted = application.exchange(code).json()
    assert application.exchange(code).json()["error"] == "invalid_grant"
    assert application.whose(granted["access_token"]).status_code == 401


def test_refresh_tokens_stay_until_they_are_revoked(application: Application) -> None:
    refresh = application.exchange(application.code(), client_secret=SECRET).json()["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": refresh}
    for _ in range(2):
        renewed = application.token(**form).json()
        assert (renewed["expires_in"], "refresh_token" in renewed) == (14_400, False)
    wider = application.token(**form, scope="files.content.write files.content.read").json()
    assert wider["error"] == "invalid_scope"
    url = application.standin.url + "/2/auth/token/revoke"
    login = {"Authorization": f"Bearer {renewed['access_token']}"}
    assert application.session.post(url, headers=login, timeout=10).text == "null"
    assert application.session.post(url, headers=login, timeout=10).status_code == 401
    refused = application.token(**form)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert application.token(grant_type="password").json()["error"] == "unsupported_grant_type"


def test_access_ends_after_four_hours(application: Application) -> None:
    granted = application.exchange(application.code()).json()
    began = application.standin.now()
    application.standin.now = lambda: began + 14_390
    assert application.whose(granted["access_token"]).status_code == 200
    application.standin.now = lambda: began + 14_410
    answer = application.whose(granted["access_token"])
    assert (answer.status_code, answer.json()["error"]) == (401, {".tag": "expired_access_token"})


def test_another_account_is_another(application: Application) -> None:
    accounts = []
    for name in ("ann", "bob"):
        application.standin.rules.account = name
        granted = application.exchange(application.code()).json()
        accounts.append((granted["account_id"], application.whose(granted["access_token"]).json()["email"]))
    application.standin.rules.account = "ann"
    assert accounts[0][0] != accounts[1][0]
    assert [email for _, email in accounts] == ["ann@example.org", "bob@example.org"]


# --- the SDK ---------------------------------------------------------------------------------------


def test_the_sdk_signs_in_with_a_code_that_is_shown_and_refreshes_by_itself(
    dropbox_standin: DropboxStandIn,
) -> None:
    flow = dropbox.DropboxOAuth2FlowNoRedirect(
        CLIENT, use_pkce=True, token_access_type="offline", scope=["files.content.write"]
    )
    flow.requests_session = diverted(dropbox_standin.url)
    shown = flow.requests_session.get(flow.start(), timeout=10).text
    granted = flow.finish(shown)
    assert granted.scope == "files.content.write"
    with dropbox.Dropbox(
        oauth2_access_token=granted.access_token,
        oauth2_refresh_token=granted.refresh_token,
        oauth2_access_token_expiration=granted.expires_at,
        app_key=CLIENT,
        session=diverted(dropbox_standin.url),
    ) as sdk:
        dropbox_standin.refused_tokens.add(granted.access_token)
        assert sdk.files_upload(b"x", "/a").size == 1
        assert dropbox_standin.rules.exchanges
        sdk.auth_token_revoke()
        with pytest.raises(AuthError):
            sdk.refresh_access_token()


def test_a_wrong_application_is_told_in_dropboxs_own_words(dropbox_standin: DropboxStandIn) -> None:
    with client(dropbox_standin, oauth2_refresh_token="x", app_key="another") as sdk:
        with pytest.raises(BadInputError, match="invalid_client: Invalid client_id"):
            sdk.refresh_access_token()


HTTPS = """
import sys, dropbox
token = sys.stdin.read()
session = dropbox.create_session()
session.trust_env, session.verify = False, sys.argv[1]
made = dropbox.Dropbox(token, session=session, max_retries_on_error=0).files_upload(b"hello", "/a")
print(made.size)
"""


def test_the_sdk_gets_there_by_its_environment_over_tls(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    with running(DropboxStandIn(certificates=certificates)) as standin:
        host = standin.url.removeprefix("https://")
        done = subprocess.run(
            [sys.executable, "-c", HTTPS, str(certificates.ca)],
            input=standin.sign_in(" ".join(standin.scopes))[0],
            env={"DROPBOX_API_HOST": host, "DROPBOX_API_CONTENT_HOST": host},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == "5\n", done.stderr
        assert [name for name, _ in standin.files()] == ["a"]


def test_in_a_process_of_its_own_it_tells_what_a_client_needs() -> None:
    with launched("servers.standins.dropbox:DropboxStandIn") as facts:
        form: dict[str, Any] = {
            "grant_type": "refresh_token",
            "refresh_token": facts["refresh_token"],
            "client_id": facts["client_id"],
        }
        with diverted(facts["url"]) as session:
            renewed = session.post(facts["token_url"], data=form, timeout=10).json()
            with dropbox.Dropbox(renewed["access_token"], session=session) as sdk:
                assert sdk.users_get_current_account().account_id == facts["account_id"]
    assert facts["client_secret"] is None
