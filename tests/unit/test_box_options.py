"""Options of Box, and the token requests that need no person."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from pydantic import ValidationError

from conveyor.contract import DeliveryError, ErrorKind
from conveyor_connectors.box.options import BoxOptions
from conveyor_connectors.box.unattended import AUDIENCE, form

TOKEN_URL = "https://api.box.com/oauth2/token"
NOW = 1_800_000_000.0
CLIENT = {"client_id": "app-1", "client_secret": "s3cret"}


def options(**given: Any) -> BoxOptions:
    return BoxOptions.model_validate(given)


def config(private: str = "-----BEGIN PRIVATE KEY-----", passphrase: str = "", **changes: Any) -> str:
    """What the developer console hands out."""
    key = {"publicKeyID": "k1", "privateKey": private, "passphrase": passphrase}
    app = {"clientID": "app-1", "clientSecret": "s3cret", "appAuth": key}
    return json.dumps({"boxAppSettings": app, "enterpriseID": "400001", **changes})


def test_defaults() -> None:
    found = options()
    assert (found.folder_id, found.direct_limit, found.subject) == ("0", 20_000_000, None)
    assert options(folderId=163521387011).folder_id == "163521387011"
    assert options(direct_limit="50MB").direct_limit == 50_000_000


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"folder_id": "https://app.box.com/folder/1"}, "the number at the end of the folder's address"),
        ({"folder_id": "١٢"}, "the number at the end"),
        ({"folder_id": ""}, "the number at the end"),
        ({"as_user": "ann@example.org"}, "is a number"),
        ({"direct_limit": "51MB"}, "direct_limit"),
        ({"api_url": "ftp://x"}, "api_url"),
        ({"upload_url": "x"}, "upload_url"),
        ({**CLIENT, "enterprise_id": "1", "user_id": "2"}, "not both"),
        ({"enterprise_id": "1"}, "needs client_id and client_secret"),
        ({"user_id": "1", "client_id": "app-1"}, "needs client_secret"),
        ({"jwt_config": "{}"}, "!file box.json"),
        ({"jwt_config": "secrets/box.json"}, "!file box.json"),
        ({"jwt_config": config(private=7)}, "!file box.json"),  # type: ignore[arg-type]
        ({"jwt_config": config(enterpriseID=None)}, "names no enterprise"),
        ({"jwt_config": config(), "refresh_token": "t"}, "remove one of them"),
    ],
)
def test_what_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        options(**given)
    assert said in str(refused.value)


def test_secrets_are_shown_nowhere() -> None:
    assert "s3cret" not in repr(options(**CLIENT, jwt_config=config()))
    with pytest.raises(ValidationError) as refused:
        options(jwt_config=config(boxAppSettings={"clientSecret": "s3cret"}))
    assert "s3cret" not in str(refused.value.errors(include_input=False, include_context=False))
    assert "s3cret" not in str(refused.value)


def _signed(found: object) -> Mapping[str, str]:
    """The form that has to be signed, signed now."""
    assert callable(found)
    made: Mapping[str, str] = found()
    return made


def test_a_person_signs_in_by_default() -> None:
    assert form(options(**CLIENT), NOW, TOKEN_URL) is None


@pytest.mark.parametrize(
    ("given", "kind", "number"),
    [({"enterprise_id": "400001"}, "enterprise", "400001"), ({"user_id": 7}, "user", "7")],
)
def test_client_credentials(given: dict[str, Any], kind: str, number: str) -> None:
    assert form(options(**CLIENT, **given), NOW, TOKEN_URL) == {
        "grant_type": "client_credentials",
        "client_id": "app-1",
        "client_secret": "s3cret",
        "box_subject_type": kind,
        "box_subject_id": number,
    }


@pytest.mark.parametrize(
    ("given", "kind", "number"), [({}, "enterprise", "400001"), ({"user_id": "7"}, "user", "7")]
)
@pytest.mark.parametrize("passphrase", ["", "open sesame"])
def test_a_key_pair(given: dict[str, Any], kind: str, number: str, passphrase: str) -> None:
    key = rsa.generate_private_key(65537, 2048)
    shut = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, shut).decode()
    found = options(jwt_config=config(pem, passphrase), **given)
    asked = _signed(form(found, NOW, "https://elsewhere.example/token"))
    assert (asked["client_id"], asked["client_secret"]) == ("app-1", "s3cret")
    assert asked["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assertion = asked["assertion"]
    assert jwt.get_unverified_header(assertion)["kid"] == "k1"
    claims = jwt.decode(
        assertion, key.public_key(), ["RS256"], audience=AUDIENCE, options={"verify_exp": False}
    )
    assert (claims["iss"], claims["sub"], claims["box_sub_type"]) == ("app-1", number, kind)
    assert 0 < claims["exp"] - NOW <= 60
    again = _signed(form(found, NOW, TOKEN_URL))
    assert again["assertion"] != assertion, "an assertion is used once"


def test_a_key_that_is_broken_says_what_to_do() -> None:
    text = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
    with pytest.raises(DeliveryError) as failed:
        _signed(form(options(jwt_config=config(text)), NOW, TOKEN_URL))
    assert failed.value.kind is ErrorKind.CONFIG
    assert "developer console" in str(failed.value.hint)
    assert "c2VjcmV0" not in f"{failed.value!r}{failed.value.message}"
