"""Options of Google Drive, and the token requests of a service account."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import ValidationError

from conveyor.contract import DeliveryError, ErrorKind
from conveyor_connectors.google_drive.options import GoogleDriveOptions
from conveyor_connectors.google_drive.provider import DRIVE, FILE
from conveyor_connectors.google_drive.unattended import form

TOKEN_URL = "https://oauth2.googleapis.com/token"
MAIL = "robot@project.iam.gserviceaccount.com"
NOW = 1_800_000_000.0


def options(**given: Any) -> GoogleDriveOptions:
    return GoogleDriveOptions.model_validate(given)


def account(private: str = "-----BEGIN PRIVATE KEY-----", **changes: Any) -> dict[str, Any]:
    key = {"client_email": MAIL, "private_key": private, "token_uri": TOKEN_URL, **changes}
    return {"service_account": json.dumps(key), "folder_id": "1AbC"}


def pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    ("given", "root", "levels"),
    [
        ({}, "root", ("Conveyor",)),
        ({"app_name": "Photo Booth"}, "root", ("Photo Booth",)),
        ({"appName": "Photo Booth"}, "root", ("Photo Booth",)),
        ({"folder_id": "1AbC-_9"}, "1AbC-_9", ()),
        ({"folderId": "1AbC", "app_name": "unheard"}, "1AbC", ()),
    ],
)
def test_the_folder(given: dict[str, Any], root: str, levels: tuple[str, ...]) -> None:
    found = options(**given)
    assert (found.root, found.levels) == (root, levels)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"folder_id": "https://drive.google.com/drive/folders/1AbC"}, "folder_id"),
        ({"folder_id": "1AbC' or 'x' in parents"}, "folder_id"),
        ({"folder_id": ""}, "folder_id"),
        ({"app_name": ""}, "app_name"),
        ({"chunk_size": "1000000"}, "multiple of 256 KiB"),
        ({"chunk_size": "128KiB"}, "chunk_size"),
        ({"api_url": "ftp://x"}, "api_url"),
        ({"subject": "ann@example.org"}, "subject goes with service_account"),
        ({"service_account": "{}", "folder_id": "1AbC"}, "JSON key of a service account"),
        ({"service_account": "secrets/key.json", "folder_id": "1AbC"}, "!file secrets/service-account.json"),
        ({**account(), "folder_id": None}, "service_account needs folder_id"),
        (account(private_key=7), "JSON key of a service account"),
    ],
)
def test_what_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        options(**given)
    assert said in str(refused.value)


def test_sizes_have_units() -> None:
    assert options(chunkSize="32MiB").chunk_size == 32 * 1024 * 1024


def test_the_key_is_shown_nowhere() -> None:
    assert "BEGIN PRIVATE" not in repr(options(**account()))
    with pytest.raises(ValidationError) as refused:
        options(**account(token_uri=7))
    assert "BEGIN PRIVATE" not in str(refused.value.errors(include_input=False, include_context=False))


def _signed(found: object) -> Mapping[str, str]:
    """The form that has to be signed, signed now."""
    assert callable(found)
    made: Mapping[str, str] = found()
    return made


def test_a_person_signs_in_by_default() -> None:
    assert form(options(client_id="app-1", client_secret="s"), NOW, TOKEN_URL) is None


@pytest.mark.parametrize(
    ("given", "scope", "subject"),
    [
        ({}, DRIVE, None),
        ({"scopes": [FILE]}, FILE, None),
        ({"subject": "ann@example.org"}, DRIVE, "ann@example.org"),
    ],
)
def test_a_service_account(given: dict[str, Any], scope: str, subject: str | None) -> None:
    key = rsa.generate_private_key(65537, 2048)
    asked = _signed(form(options(**account(pem(key)), **given), NOW, "https://elsewhere.example/token"))
    assert asked["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    unchecked = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
    claims = jwt.decode(
        asked["assertion"], key.public_key(), ["RS256"], audience=TOKEN_URL, options=unchecked
    )
    assert (claims["iss"], claims["scope"], claims.get("sub")) == (MAIL, scope, subject)
    assert (claims["iat"], claims["exp"]) == (int(NOW), int(NOW) + 3600)


def test_a_key_that_is_broken_says_what_to_do() -> None:
    text = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
    with pytest.raises(DeliveryError) as failed:
        _signed(form(options(**account(text)), NOW, TOKEN_URL))
    assert failed.value.kind is ErrorKind.CONFIG
    assert "Google's console" in str(failed.value.hint)
    assert "c2VjcmV0" not in f"{failed.value!r}{failed.value.message}"
