"""Private keys in every common form become paramiko's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from conveyor.contract import DeliveryError, ErrorKind
from conveyor_connectors.ftp.sftp.auth import load_key

SECRET = "correct horse"
KINDS: dict[str, Callable[[], ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey]] = {
    "ssh-ed25519": ed25519.Ed25519PrivateKey.generate,
    "ecdsa-sha2-nistp256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ssh-rsa": lambda: rsa.generate_private_key(65537, 2048),
}
FORMS = {
    "openssh": s.PrivateFormat.OpenSSH,
    "pem": s.PrivateFormat.TraditionalOpenSSL,
    "pkcs8": s.PrivateFormat.PKCS8,
}


@pytest.mark.parametrize("passphrase", [None, SECRET], ids=["plain", "encrypted"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_form_is_read(kind: str, form: str, passphrase: str | None) -> None:
    if (kind, form) == ("ssh-ed25519", "pem"):
        form = "pkcs8"  # RFC 8410: Ed25519 has no traditional PEM form
    key = KINDS[kind]()
    lock = s.BestAvailableEncryption(passphrase.encode()) if passphrase else s.NoEncryption()
    text = key.private_bytes(s.Encoding.PEM, FORMS[form], lock).decode()
    loaded = load_key(f"\n{text}\n\n", passphrase)
    assert loaded.get_name() == kind
    public = key.public_key().public_bytes(s.Encoding.OpenSSH, s.PublicFormat.OpenSSH).decode()
    assert loaded.get_base64() == public.split()[1]


def test_a_passphrase_for_a_plain_key_does_no_harm() -> None:
    text = KINDS["ssh-ed25519"]().private_bytes(s.Encoding.PEM, s.PrivateFormat.OpenSSH, s.NoEncryption())
    assert load_key(text.decode(), SECRET).get_name() == "ssh-ed25519"


def problem(text: str, passphrase: str | None) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        load_key(text, passphrase)
    assert caught.value.kind is ErrorKind.CONFIG
    assert caught.value.__cause__ is None
    return caught.value


@pytest.mark.parametrize("form", ["openssh", "pkcs8"])
@pytest.mark.parametrize("passphrase", [None, "wrong"])
def test_a_missing_or_wrong_passphrase_is_said(form: str, passphrase: str | None) -> None:
    lock = s.BestAvailableEncryption(SECRET.encode())
    text = KINDS["ssh-rsa"]().private_bytes(s.Encoding.PEM, FORMS[form], lock).decode()
    told = problem(text, passphrase)
    assert "passphrase" in (told.hint or "")
    assert text[100:130] not in repr((told.message, told.hint))


def test_a_broken_key_and_an_old_type_are_said() -> None:
    assert "cannot be read" in problem("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", None).message
    old = dsa.generate_private_key(1024)
    text = old.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()).decode()
    assert "not supported" in problem(text, None).message


def test_a_curve_that_ssh_does_not_know_is_said() -> None:
    key = ec.generate_private_key(ec.SECP256K1())
    text = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()).decode()
    assert "ssh-keygen" in (problem(text, None).hint or "")
