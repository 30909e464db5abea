"""Options of OneDrive, and the token requests of an application."""

from __future__ import annotations

import base64
import datetime
import hashlib
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import ValidationError

from conveyor.contract import DeliveryError, ErrorKind
from conveyor_connectors.onedrive.options import OneDriveOptions
from conveyor_connectors.onedrive.unattended import form

TENANT = {"tenant": "contoso.onmicrosoft.com", "drive_id": "b!1", "client_id": "app-1", "app_only": True}
TOKEN_URL = "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token"


def options(**given: Any) -> OneDriveOptions:
    return OneDriveOptions.model_validate(given)


@pytest.mark.parametrize(
    ("given", "levels"),
    [
        ({}, ("Conveyor",)),
        ({"app_name": "Photo Booth"}, ("Photo Booth",)),
        ({"folder_path": "/"}, ()),
        ({"folder_path": "Photos/Incoming/"}, ("Photos", "Incoming")),
        ({"folder_path": "/Photos", "app_name": "x"}, ("Photos",)),
        ({"folderPath": "/Photos", "driveId": "b!1"}, ("Photos",)),
    ],
)
def test_the_folder(given: dict[str, Any], levels: tuple[str, ...]) -> None:
    assert options(**given).levels == levels


def test_the_drive() -> None:
    assert options().drive == "/me/drive"
    assert options(drive_id="b!1").drive == "/drives/b!1"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"folder_path": "/a//b"}, "without empty levels"),
        ({"folder_path": "/a/../b"}, "without empty levels"),
        ({"fragment_size": "1MiB"}, "multiple of 320 KiB"),
        ({"fragment_size": "60MiB"}, "less than"),
        ({"drive_id": "a/b"}, "drive_id"),
        ({"tenant": "a/b"}, "tenant"),
        ({"graph_url": "ftp://x"}, "graph_url"),
        ({"certificate": "x"}, "PEM"),
        ({**TENANT, "tenant": "common", "client_secret": "s"}, "your own tenant"),
        ({**TENANT, "drive_id": None, "client_secret": "s"}, "no drive of its own"),
        (TENANT, "client_secret or certificate"),
        ({**TENANT, "client_id": None, "client_secret": "s"}, "client_id"),
    ],
)
def test_what_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        options(**given)
    assert said in str(refused.value)


def _signed(found: object) -> Mapping[str, str]:
    """The form that has to be signed, signed now."""
    assert callable(found)
    made: Mapping[str, str] = found()
    return made


def test_a_person_signs_in_by_default() -> None:
    assert form(options(client_id="app-1", client_secret="s"), 0.0, TOKEN_URL) is None


@pytest.mark.parametrize(
    ("cloud", "scope"),
    [
        ("https://graph.microsoft.com/v1.0", "https://graph.microsoft.com/.default"),
        ("https://graph.microsoft.us/v1.0", "https://graph.microsoft.us/.default"),
        ("https://microsoftgraph.chinacloudapi.cn/v1.0", "https://microsoftgraph.chinacloudapi.cn/.default"),
    ],
)
def test_a_secret(cloud: str, scope: str) -> None:
    asked = form(options(**TENANT, client_secret="s3cret", graph_url=cloud), 0.0, TOKEN_URL)
    assert asked == {
        "grant_type": "client_credentials",
        "client_id": "app-1",
        "client_secret": "s3cret",
        "scope": scope,
    }


def certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "conveyor")])
    day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(day).not_valid_after(day.replace(year=2036))
    return builder.sign(key, hashes.SHA256())


def pem(key: rsa.RSAPrivateKey, made: x509.Certificate) -> str:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private.decode() + made.public_bytes(Encoding.PEM).decode()


def test_a_certificate() -> None:
    key = rsa.generate_private_key(65537, 2048)
    made = certificate(key)
    asked = _signed(form(options(**TENANT, certificate=pem(key, made)), 1_800_000_000.0, TOKEN_URL))
    assert "client_secret" not in asked
    assertion = asked["client_assertion"]
    header = jwt.get_unverified_header(assertion)
    thumbprint = hashlib.sha256(made.public_bytes(Encoding.DER)).digest()
    assert header["alg"] == "PS256"
    assert header["x5t#S256"].rstrip("=") == base64.urlsafe_b64encode(thumbprint).decode().rstrip("=")
    claims = jwt.decode(
        assertion, key.public_key(), ["PS256"], audience=TOKEN_URL, options={"verify_exp": False,
                                                                            "verify_iat": False,
                                                                            "verify_nbf": False},
    )  # fmt: skip
    assert (claims["iss"], claims["sub"]) == ("app-1", "app-1")
    assert claims["exp"] - 1_800_000_000 == 300
    again = _signed(form(options(**TENANT, certificate=pem(key, made)), 1_800_000_000.0, TOKEN_URL))
    assert again["client_assertion"] != assertion, "an assertion is used once"


def test_a_certificate_that_is_broken_says_what_to_do() -> None:
    text = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\nAAAA\n"
    with pytest.raises(DeliveryError) as failed:
        _signed(form(options(**TENANT, certificate=text), 0.0, TOKEN_URL))
    assert failed.value.kind is ErrorKind.CONFIG
    assert "PEM" in str(failed.value.hint)
    assert "AAAA" not in f"{failed.value!r}{failed.value.message}"


def test_secrets_are_not_shown() -> None:
    assert "s3cret" not in repr(options(**TENANT, client_secret="s3cret"))
