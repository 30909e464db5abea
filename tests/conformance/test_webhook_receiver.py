"""The receiver behind ``conveyor listen``: what it verifies, saves, refuses and plays."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from conveyor.contract import ConflictPolicy, DeliveryError, ErrorKind, Receipt, Target
from conveyor.receiver import Answer, Receiver, Request
from conveyor.testing import HarnessContext, make_env, make_parcel
from conveyor_connectors.webhook.connector import open_webhook
from conveyor_connectors.webhook.options import WebhookOptions

WHSEC = "whsec_" + base64.b64encode(b"a key of twenty-four bytes, or more").decode()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path / "received", secrets=[WHSEC, "plain"]) as receiver:
        yield receiver


def send(
    receiver: Receiver, content: bytes | int = b"photo", path: str = "ses/photo.jpg", **more: Any
) -> Receipt:
    options = {"url": receiver.url, "secret": WHSEC, **more.pop("options", {})}
    webhook = open_webhook(
        WebhookOptions.model_validate(options), make_env(clock=more.pop("clock", time.time))
    )
    try:
        target = Target(path, ConflictPolicy.RENAME)
        return webhook.deliver(make_parcel(content, **more), target, HarnessContext())
    finally:
        webhook.close()


def raw(receiver: Receiver, body: bytes, **headers: str) -> tuple[int, bytes]:
    with urllib3.PoolManager(retries=False) as pool:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = pool.request("POST", receiver.url, body=body, headers=named)
        return response.status, response.data


def files(receiver: Receiver) -> dict[str, bytes]:
    found = (path for path in receiver.folder.rglob("*") if path.is_file())
    return {str(path.relative_to(receiver.folder)): path.read_bytes() for path in found}


@pytest.mark.parametrize("body_format", ["multipart", "json_base64", "binary"])
@pytest.mark.parametrize("content", [b"", b"x", b'{"data": "eA=="}' * 100, bytes(range(256)) * 9000])
def test_every_format_is_saved_with_its_metadata(
    receiver: Receiver, body_format: str, content: bytes
) -> None:
    tags = ("order:7", "vip")
    send(receiver, content, options={"format": body_format}, filename="Zürich.jpg", tags=tags, image_index=3)
    (got,) = receiver.received
    assert files(receiver) == {"ses/photo.jpg": content}
    assert (got.format, got.filename, got.media_type) == (body_format, "Zürich.jpg", "image/jpeg")
    assert (got.session_id, got.image_id, got.image_index, got.tags) == ("ses_1", "img_1", 3, tags)
    assert got.verified == ("x-aptr-signature", "x-apertur-signature", "webhook-signature")
    assert (got.size, got.duplicate) == (len(content), False)


def test_a_wrong_or_missing_signature_is_refused(receiver: Receiver) -> None:
    for secret in ("wrong", "whsec_" + base64.b64encode(b"another key of 24 bytes!").decode()):
        with pytest.raises(DeliveryError) as caught:
            send(receiver, options={"secret": secret})
        assert caught.value.code == "401"
    digest = base64.b64encode(hashlib.sha256(b"x").digest()).decode()
    assert raw(receiver, b"x", webhook_id="dlv_1", Content_Digest=f"sha-256=:{digest}:")[0] == 401
    assert files(receiver) == {}


def test_an_old_timestamp_is_refused(receiver: Receiver) -> None:
    with pytest.raises(DeliveryError) as caught:
        send(receiver, clock=lambda: time.time() - 600)
    assert caught.value.code == "401"


def test_a_damaged_body_is_refused(tmp_path: Path) -> None:
    with Receiver(tmp_path / "open") as receiver:
        assert raw(receiver, b"x", webhook_id="dlv_1", Content_Digest="sha-256=:AAAA:")[0] == 400
        assert raw(receiver, b"x", webhook_id="dlv_1")[0] == 200
        assert raw(receiver, b"x")[0] == 400
        assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"not json"),
        ("application/json", b'{"data": "eA=="'),
        ("application/json", b'{"data": "e"}'),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b--\r\n',
        ),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disp"),
        ("multipart/form-data", b""),
    ],
)
def test_bodies_that_cannot_be_read_are_400(tmp_path: Path, content_type: str, body: bytes) -> None:
    with Receiver(tmp_path / "open") as receiver:
        assert raw(receiver, body, webhook_id="dlv_1", Content_Type=content_type)[0] == 400
        assert files(receiver) == {}


@pytest.mark.parametrize(
    "path",
    [
        "../../evil",
        "/etc/passwd",
        "..",
        "a/../../b",
        ".ssh/authorized_keys",
        "a\0b",
        "x" * 255,
        "ü" * 120 + ".jpg",
    ],
)
def test_nothing_leads_out_of_the_folder(receiver: Receiver, path: str) -> None:
    before = {one for one in receiver.folder.parent.rglob("*") if receiver.folder not in one.parents}
    send(receiver, path=path)
    (saved,) = receiver.received
    assert saved.path.resolve().is_relative_to(receiver.folder.resolve())
    assert not [part for part in saved.path.relative_to(receiver.folder).parts if part.startswith(".")]
    assert before == {one for one in receiver.folder.parent.rglob("*") if receiver.folder not in one.parents}


def test_the_same_delivery_is_saved_once_and_another_beside_it(receiver: Receiver) -> None:
    for _ in range(2):
        send(receiver, b"first", delivery_id="dlv_a")
    send(receiver, b"second", delivery_id="dlv_b")
    assert files(receiver) == {"ses/photo.jpg": b"first", "ses/photo (1).jpg": b"second"}
    assert [got.duplicate for got in receiver.received] == [False, True, False]


def test_answers_are_played_in_order_then_it_serves(receiver: Receiver) -> None:
    receiver.answer_next(
        Answer(503), Answer(429, retry_after=2), Answer(429, "Thu, 01 Jan 2099 00:00:00 GMT")
    )
    seen = []
    for _ in range(3):
        with pytest.raises(DeliveryError) as caught:
            send(receiver)
        seen.append((caught.value.kind, (caught.value.retry_after or 0) > 1))
    throttled = (ErrorKind.THROTTLED, True)
    assert seen == [(ErrorKind.TRANSIENT, False), throttled, throttled]
    send(receiver)
    receiver.answer_always(Answer(500, body=b"broken"))
    with pytest.raises(DeliveryError, match="500"):
        send(receiver)
    receiver.answer_always(None)
    send(receiver)
    assert [request.status for request in receiver.requests] == [503, 429, 429, 200, 500, 200]


def test_a_body_that_breaks_off_leaves_nothing(receiver: Receiver) -> None:
    port = urllib3.util.parse_url(receiver.url).port
    with socket.create_connection(("127.0.0.1", port or 0)) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nwebhook-id: d\r\n\r\nhalf")
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(100) == b""
    assert files(receiver) == {}


def test_limits_and_other_methods(tmp_path: Path) -> None:
    told: list[Request] = []
    with Receiver(tmp_path / "open", max_size=100, on_request=told.append) as receiver:
        assert raw(receiver, b"x" * 101, webhook_id="d")[0] == 413
        assert raw(receiver, b"x" * 100, webhook_id="d")[0] == 200
        with urllib3.PoolManager(retries=False) as pool:
            assert pool.request("GET", receiver.url).status == 200
            chunked = pool.request("POST", receiver.url, body=iter([b"x"]), chunked=True)
            assert chunked.status == 411
    assert [(request.status, request.delivery_id) for request in told] == [(413, "d"), (200, "d")]


def test_foreign_json_is_understood(tmp_path: Path) -> None:
    """Another sender's order of fields and white space are not ours."""
    with Receiver(tmp_path / "open") as receiver:
        document = {
            "data": base64.b64encode(b"abc").decode(),
            "filename": "a.jpg",
            "mime_type": "image/png",
            "tags": None,
        }
        body = json.dumps(document, indent=2).encode()
        assert raw(receiver, body, webhook_id="d", Content_Type="application/json; charset=utf-8")[0] == 200
        assert files(receiver) == {"a.jpg": b"abc"}


def test_stopping_drops_idle_connections_and_ends_its_threads(tmp_path: Path) -> None:
    before = threading.active_count()
    receiver = Receiver(tmp_path / "open").start()
    port = urllib3.util.parse_url(receiver.url).port
    with socket.create_connection(("127.0.0.1", port or 0)) as idle:
        idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(1000).startswith(b"HTTP/1.1 200")
        receiver.stop()
        receiver.stop()
        idle.settimeout(5)
        while idle.recv(1000):
            pass
    assert threading.active_count() == before
