"""Webhooks over TLS: verified names and authorities, early answers inside TLS, and what a refusal becomes."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from conveyor.contract import ConflictPolicy, DeliveryError, ErrorKind, Receipt, Target
from conveyor.receiver import Answer, Receiver
from conveyor.testing import HarnessContext, make_env, make_parcel
from conveyor_connectors.webhook.connector import open_webhook
from conveyor_connectors.webhook.options import WebhookOptions

TARGET = Target("photo.jpg", ConflictPolicy.RENAME)


@dataclass(frozen=True)
class Certificate:
    """A self-signed one for an address, and the server context that shows it."""

    pem: Path
    context: ssl.SSLContext


def certificate(folder: Path, address: str) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")])
    now = datetime.datetime.now(datetime.UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(alternative, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / f"{address}.pem"
    private = folder / f"{address}.key"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, private)
    return Certificate(pem, context)


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("right"), "127.0.0.1")


@pytest.fixture
def receiver(tmp_path: Path, right: Certificate) -> Iterator[Receiver]:
    with Receiver(tmp_path / "received", secrets=["k"], tls=right.context) as receiver:
        yield receiver


def post(url: str, size: int, **options: Any) -> Receipt:
    webhook = open_webhook(WebhookOptions.model_validate({"url": url, **options}), make_env())
    try:
        return webhook.deliver(make_parcel(size), TARGET, HarnessContext())
    finally:
        webhook.close()


@pytest.mark.parametrize("size", [0, 70_001, 20_000_000])
def test_files_arrive_over_tls(receiver: Receiver, right: Certificate, size: int) -> None:
    post(receiver.url, size, secret="k", ca_bundle=str(right.pem))
    assert [got.size for got in receiver.received] == [size]
    assert receiver.received[0].verified == ("x-aptr-signature", "x-apertur-signature")


def test_an_early_answer_is_read_inside_tls(receiver: Receiver, right: Certificate) -> None:
    receiver.answer_next(Answer(413, body=b"too large here", early=True))
    with pytest.raises(DeliveryError) as caught:
        post(receiver.url, 20_000_000, secret="k", ca_bundle=str(right.pem))
    assert (caught.value.kind, caught.value.response) == (ErrorKind.TOO_LARGE, "too large here")


def test_an_unknown_authority_is_config(receiver: Receiver) -> None:
    webhook = open_webhook(WebhookOptions(url=receiver.url), make_env())
    for call in (
        lambda: webhook.deliver(make_parcel(1), TARGET, HarnessContext()),
        lambda: webhook.check(HarnessContext()),
    ):
        with pytest.raises(DeliveryError) as caught:
            call()
        assert caught.value.kind is ErrorKind.CONFIG
        assert "ca_bundle" in (caught.value.hint or "")
    assert receiver.requests == []


def test_a_certificate_for_another_name_is_config(tmp_path: Path) -> None:
    wrong = certificate(tmp_path, "127.0.0.9")
    with Receiver(tmp_path / "received", tls=wrong.context) as receiver:
        with pytest.raises(DeliveryError) as caught:
            post(receiver.url, 10, ca_bundle=str(wrong.pem))
        assert caught.value.kind is ErrorKind.CONFIG
        assert receiver.requests == []


def test_verification_can_be_switched_off(receiver: Receiver) -> None:
    post(receiver.url, 10, secret="k", verify_tls=False)
    assert len(receiver.received) == 1


def test_a_missing_ca_bundle_is_config(receiver: Receiver, tmp_path: Path) -> None:
    with pytest.raises(DeliveryError) as caught:
        post(receiver.url, 10, ca_bundle=str(tmp_path / "none.pem"))
    assert caught.value.kind is ErrorKind.CONFIG


def test_a_port_without_tls_is_transient_with_a_hint(tmp_path: Path) -> None:
    with Receiver(tmp_path / "received") as plain:
        with pytest.raises(DeliveryError) as caught:
            post(plain.url.replace("http:", "https:"), 10)
        assert caught.value.kind is ErrorKind.TRANSIENT
        assert "TLS" in (caught.value.hint or "")


def test_a_handshake_that_never_ends_is_transient() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held: list[socket.socket] = []
        thread = threading.Thread(target=lambda: held.append(listener.accept()[0]))
        thread.start()
        with pytest.raises(DeliveryError) as caught:
            post(f"https://127.0.0.1:{listener.getsockname()[1]}/", 10, connect_timeout=0.2)
        thread.join()
        held[0].close()
    assert caught.value.kind is ErrorKind.TRANSIENT


def test_check_tells_that_tls_was_verified(receiver: Receiver, right: Certificate) -> None:
    webhook = open_webhook(WebhookOptions(url=receiver.url, ca_bundle=right.pem), make_env())
    steps = {step.name: step.done for step in webhook.check(HarnessContext()).steps}
    webhook.close()
    assert steps == {"connect": True, "tls": True, "post": False}
