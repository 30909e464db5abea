"""Box's stand-in: sign-in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from servers.standins.box import BoxStandIn
from servers.standins.box.client import Client, code, token


@pytest.fixture
def client(box_standin: BoxStandIn) -> Iterator[Client]:
    with requests.Session() as session:
        yield Client(box_standin, session)


def authorized(client: Client, **query: str) -> str:
    asked = {
        "client_id": "app-1",
        "response_type": "code",
        "redirect_uri": "http://127.0.0.1:9/",
        "state": "s" * 16,
    }
    url = client.standin.url + "/api/oauth2/authorize"
    answer = client.session.get(url, params={**asked, **query}, timeout=10, allow_redirects=False)
    assert answer.status_code == 302, answer.text
    return answer.headers["Location"].partition("code=")[2].partition("&")[0]


def test_a_code_with_the_secret_gives_tokens(client: Client) -> None:
    answer = token(client, grant_type="authorization_code", code=authorized(client)).json()
    assert answer["token_type"] == "bearer"
    assert answer["expires_in"] == 3600
    client.token = answer["access_token"]
    me = client.ask("GET", "/2.0/users/me").json()
    assert (me["id"], me["login"], me["max_upload_size"]) == ("10001", "ann@example.com", 5_368_709_120)
    form = {"token": answer["refresh_token"], "client_id": "app-1", "client_secret": "wrong"}
    where = client.standin.url + "/oauth2/revoke"
    assert client.session.post(where, data=form, timeout=10).json()["error"] == "invalid_client"
    form["client_secret"] = client.standin.rules.secret or ""
    assert client.session.post(where, data=form, timeout=10).status_code == 200
    assert client.ask("GET", "/2.0/users/me").status_code == 401


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token", "refresh_token": "no"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "no", "client_secret": "no"}, "invalid_client"),
        ({"grant_type": "authorization_code", "code": "no"}, "invalid_grant"),
        ({"grant_type": "client_credentials", "box_subject_type": "robot"}, "invalid_request"),
        (
            {"grant_type": "client_credentials", "box_subject_type": "enterprise", "box_subject_id": "7"},
            "invalid_grant",
        ),
        (
            {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "a.b.c"},
            "invalid_grant",
        ),
    ],
)
def test_a_token_request_that_breaks_a_rule(client: Client, form: dict[str, str], error: str) -> None:
    answer = token(client, **form)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


def test_a_code_is_short_lived_and_used_once(client: Client) -> None:
    clock = [1_700_000_000.0]
    client.standin.now = lambda: clock[0]
    code_ = authorized(client)
    clock[0] += 31
    assert token(client, grant_type="authorization_code", code=code_).status_code == 400
    code_ = authorized(client)
    answer = token(client, grant_type="authorization_code", code=code_)
    assert answer.status_code == 200
    assert token(client, grant_type="authorization_code", code=code_).status_code == 400
    client.token = answer.json()["access_token"]
    assert client.ask("GET", "/2.0/users/me").status_code == 401, "what the first use gave is gone"


def test_a_refresh_token_is_honoured_until_the_new_access_token_is_used(client: Client) -> None:
    _, refresh = client.standin.sign_in("root_readwrite")
    lost = token(client, grant_type="refresh_token", refresh_token=refresh).json()
    again = token(client, grant_type="refresh_token", refresh_token=refresh).json()
    client.token = lost["access_token"]
    assert client.ask("GET", "/2.0/users/me").status_code == 401
    client.token = again["access_token"]
    assert client.ask("GET", "/2.0/users/me").status_code == 200
    assert token(client, grant_type="refresh_token", refresh_token=refresh).json()["error"] == "invalid_grant"
    real = client.standin.now
    client.standin.now = lambda: real() + 61 * 86_400
    form = {"grant_type": "refresh_token", "refresh_token": again["refresh_token"]}
    assert token(client, **form).json()["error_description"] == "Refresh token has expired"


def test_a_token_that_is_not_valid(client: Client) -> None:
    client.token = "nobody"
    answer = client.ask("GET", "/2.0/users/me")
    assert (answer.status_code, answer.content) == (401, b"")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    client.token, _ = client.standin.sign_in("root_readwrite")
    real = client.standin.now
    client.standin.now = lambda: real() + 3601
    assert client.ask("GET", "/2.0/users/me").status_code == 401


def test_a_token_that_may_only_read(client: Client) -> None:
    client.token, _ = client.standin.sign_in("root_readonly")
    assert client.ask("GET", "/2.0/folders/0/items").status_code == 200
    assert code(client.folder("f")) == (403, "insufficient_scope")


def test_an_application_without_approval(client: Client) -> None:
    form = {"grant_type": "client_credentials", "box_subject_type": "user", "box_subject_id": "10001"}
    assert token(client, **form).status_code == 200
    client.standin.rules.approved = False
    assert token(client, **form).json()["error"] == "unauthorized_client"


CLAIMS: list[tuple[dict[str, Any], Callable[[str], bool]]] = [
    ({}, lambda text: not text),
    ({"iss": "another"}, lambda text: "'iss'" in text),
    ({"aud": "https://example.com"}, lambda text: "'aud'" in text),
    ({"sub": "7"}, lambda text: "'sub'" in text),
    ({"box_sub_type": "user"}, lambda text: "'sub'" in text),
    ({"exp": 61}, lambda text: "exceeds the maximum" in text),
    ({"exp": -1}, lambda text: "MUST be before" in text),
    ({"jti": "short"}, lambda text: "'jti'" in text),
]


@pytest.mark.parametrize(("claims", "fits"), CLAIMS)
@pytest.mark.parametrize("algorithm", ["RS256", "RS512"])
def test_claims_of_an_assertion(
    client: Client, claims: dict[str, Any], fits: Callable[[str], bool], algorithm: str
) -> None:
    import jwt
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    now = 1_700_000_000.0
    client.standin.now = lambda: now
    given = client.standin.facts()["app_config"]["boxAppSettings"]["appAuth"]
    pem = load_pem_private_key(given["privateKey"].encode(), given["passphrase"].encode())
    known = {
        "iss": "app-1", "sub": "400001", "box_sub_type": "enterprise", "jti": "j" * 20,
        "aud": "https://api.box.com/oauth2/token", **claims, "exp": now + claims.get("exp", 50),
    }  # fmt: skip
    made = jwt.encode(known, pem, algorithm, {"kid": given["publicKeyID"]})  # type: ignore[arg-type]
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": made}
    answer = token(client, **form).json()
    assert fits(answer.get("error_description", "")), answer
    if not claims:
        assert "'jti'" in token(client, **form).json()["error_description"], "each assertion once"
        forged = jwt.encode(known, pem, algorithm, {"kid": "other"})  # type: ignore[arg-type]
        assert token(client, **{**form, "assertion": forged}).json()["error"] == "invalid_grant"
