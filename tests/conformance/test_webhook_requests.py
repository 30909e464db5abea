"""What a webhook request looks like on the wire, checked by published verifiers and a foreign parser."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import io
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest
from apertur.signature import verify_webhook_signature
from standardwebhooks.webhooks import Webhook as StandardWebhook
from standardwebhooks.webhooks import WebhookVerificationError
from werkzeug.formparser import parse_form_data

from conveyor.contract import ConflictPolicy, DeliveryError, ErrorKind, Parcel, Receipt, Target
from conveyor.testing import HarnessContext, make_env, make_parcel
from conveyor_connectors.webhook.connector import open_webhook
from conveyor_connectors.webhook.options import WebhookOptions

OLD = "whsec_" + base64.b64encode(b"the old key of twenty-four bytes").decode()
NEW = "whsec_" + base64.b64encode(b"the new key of twenty-four bytes").decode()
FORMATS = ["multipart", "json_base64", "binary"]
TARGET = Target("ses_1/photo.jpg", ConflictPolicy.RENAME)


@dataclass
class Caught:
    """One request as it came."""

    headers: dict[str, str]
    body: bytes
    connection: int


class Catcher:
    """Answers 200 and keeps what it got."""

    def __init__(self) -> None:
        self.caught: list[Caught] = []
        self.status = 200
        caught, catcher = self.caught, self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                caught.append(
                    Caught({k.lower(): v for k, v in self.headers.items()}, body, self.client_address[1])
                )
                self.send_response(catcher.status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?token=in-the-query"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    def post(self, parcel: Parcel, target: Target = TARGET, **options: Any) -> tuple[Receipt, Caught]:
        webhook = open_webhook(WebhookOptions.model_validate({"url": self.url, **options}), make_env())
        try:
            receipt = webhook.deliver(parcel, target, HarnessContext())
        finally:
            webhook.close()
        return receipt, self.caught[-1]


@pytest.fixture
def catcher() -> Iterator[Catcher]:
    catcher = Catcher()
    catcher.thread.start()
    try:
        yield catcher
    finally:
        catcher.server.shutdown()
        catcher.server.server_close()
        catcher.thread.join()


def hmac_of(secret: str, body: bytes) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


@pytest.mark.parametrize("body_format", FORMATS)
@pytest.mark.parametrize("size", [0, 1, 3 * 65536, 2_000_003])
def test_headers_of_every_format(catcher: Catcher, body_format: str, size: int) -> None:
    parcel = make_parcel(size, session_id="ses_9", image_id="img_9", image_index=4)
    receipt, got = catcher.post(parcel, format=body_format, secret="s3cret")
    headers = got.headers
    assert headers["x-aptr-session-id"] == "ses_9"
    assert headers["x-aptr-image-index"] == "4"
    assert headers["x-aptr-image-id"] == "img_9"
    assert (
        headers["x-aptr-delivery-id"]
        == headers["webhook-id"]
        == headers["idempotency-key"]
        == parcel.delivery_id
    )
    assert headers["x-aptr-signature"] == headers["x-apertur-signature"] == hmac_of("s3cret", got.body)
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    assert "webhook-signature" not in headers
    digest = base64.b64encode(hashlib.sha256(got.body).digest()).decode()
    assert headers["content-digest"] == f"sha-256=:{digest}:"
    assert int(headers["content-length"]) == len(got.body)
    assert "transfer-encoding" not in headers
    assert "expect" not in headers
    assert receipt.size == size
    assert "in-the-query" not in receipt.reference


def test_without_a_secret_nothing_is_signed(catcher: Catcher) -> None:
    _, got = catcher.post(make_parcel(10))
    assert not [name for name in got.headers if "signature" in name]
    assert "content-digest" in got.headers


def test_absent_metadata_has_no_header(catcher: Catcher) -> None:
    _, got = catcher.post(make_parcel(10, session_id=None, image_id=None, image_index=None))
    assert not {"x-aptr-session-id", "x-aptr-image-id", "x-aptr-image-index"} & set(got.headers)


def test_json_body_and_the_published_verifier(catcher: Catcher) -> None:
    content = bytes(range(256)) * 1000
    parcel = make_parcel(content, filename="Zürich 📱.jpg", tags=("order:7", "vip"), image_index=0)
    _, got = catcher.post(parcel, format="json_base64", secret="kéy")
    assert got.headers["content-type"] == "application/json"
    assert verify_webhook_signature(got.body.decode(), got.headers["x-apertur-signature"], "kéy")
    assert not verify_webhook_signature(got.body.decode() + " ", got.headers["x-apertur-signature"], "kéy")
    document = json.loads(got.body)
    assert base64.b64decode(document.pop("data"), validate=True) == content
    assert document == {
        "session_id": "ses_1",
        "image_id": "img_1",
        "image_index": 0,
        "mime_type": "image/jpeg",
        "filename": "Zürich 📱.jpg",
        "size_bytes": 256_000,
        "tags": ["order:7", "vip"],
    }


def parsed_form(got: Caught) -> tuple[Any, dict[str, tuple[str | None, str, bytes]]]:
    """Text fields, and (file name, media type, bytes) of the files, as werkzeug reads them."""
    environ = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": got.headers["content-type"],
        "CONTENT_LENGTH": str(len(got.body)),
        "wsgi.input": io.BytesIO(got.body),
    }
    _, form, files = parse_form_data(environ)
    read = {}
    for name, file in files.items():
        with contextlib.closing(file):
            read[name] = (file.filename, file.mimetype, file.read())
    return form, read


@pytest.mark.parametrize(
    "filename",
    ["photo.jpg", "Zürich café.jpg", "写真 📱.jpg", 'say "cheese".jpg', "a%22b.jpg", "semi;colon.jpg", ""],
)
def test_multipart_as_another_parser_reads_it(catcher: Catcher, filename: str) -> None:
    content = b"\r\n--conveyor-\r\n" * 5000
    tags = ("order:7", "order:8", "ort:Zürich", "vip", "a:b:c", "image:no", "tags:no", ":empty")
    _, got = catcher.post(
        make_parcel(content, filename=filename, tags=tags, media_type="image/heic"), secret="x"
    )
    form, files = parsed_form(got)
    assert files == {"image": (filename, "image/heic", content)}
    assert form.getlist("order") == ["7", "8"]
    assert form["ort"] == "Zürich"
    assert form["a"] == "b:c"
    assert json.loads(form["tags"]) == list(tags)
    assert sorted(form) == ["a", "order", "ort", "tags"]


def test_multipart_part_headers_cannot_be_injected(catcher: Catcher) -> None:
    parcel = make_parcel(
        b"x",
        filename='a"\r\nX-Evil: 1\r\n\r\nb.jpg',
        media_type="image/jpeg\r\nX-Evil: 1",
        tags=('k"\r\nX-Evil:1', "ok:1"),
    )
    _, got = catcher.post(parcel)
    head = b"Content-Type: " + got.headers["content-type"].encode() + b"\r\n\r\n"
    message = message_from_bytes(head + got.body, policy=policy.HTTP)
    assert [part.get("X-Evil") for part in message.walk()] == [None] * len(list(message.walk()))


def test_binary_is_the_raw_bytes_with_its_metadata_in_headers(catcher: Catcher) -> None:
    content = bytes(range(256)) * 10
    _, got = catcher.post(
        make_parcel(content, filename="Zürich €.jpg", media_type="image/png", tags=("ort:Zürich",)),
        format="binary",
    )
    assert got.body == content
    assert got.headers["content-type"] == "application/octet-stream"
    plain, extended = got.headers["content-disposition"].split("; ")[1:]
    assert plain == 'filename="Z_rich _.jpg"'
    assert extended == "filename*=UTF-8''Z%C3%BCrich%20%E2%82%AC.jpg"
    assert got.headers["x-aptr-mime-type"] == "image/png"
    assert json.loads(got.headers["x-aptr-tags"]) == ["ort:Zürich"]


def test_header_values_from_strangers_are_harmless(catcher: Catcher) -> None:
    parcel = make_parcel(b"x", session_id="a\r\nX-Evil: 1", image_id="ü\0", filename="\r\nX-Evil: 1.jpg")
    target = Target("ördner/100% #1?.jpg", ConflictPolicy.RENAME)
    for body_format in FORMATS:
        _, got = catcher.post(parcel, target, format=body_format)
        assert "x-evil" not in got.headers
        assert got.headers["x-aptr-session-id"] == "a%0D%0AX-Evil: 1"
        assert got.headers["x-aptr-image-id"] == "%C3%BC%00"
        assert unquote(got.headers["x-aptr-path"]) == target.path


@pytest.mark.parametrize("body_format", FORMATS)
def test_standard_webhooks_verifier(catcher: Catcher, body_format: str) -> None:
    _, got = catcher.post(make_parcel(b"text, since the verifier decodes it"), format=body_format, secret=NEW)
    StandardWebhook(NEW).verify(got.body, got.headers, json_parse=False)
    assert got.headers["x-aptr-signature"] == hmac_of(NEW, got.body)
    with pytest.raises(WebhookVerificationError):
        StandardWebhook(OLD).verify(got.body, got.headers, json_parse=False)


def test_during_a_rotation_both_keys_verify(catcher: Catcher) -> None:
    _, got = catcher.post(make_parcel(b"text"), secret=[NEW, OLD])
    for secret in (NEW, OLD):
        StandardWebhook(secret).verify(got.body, got.headers, json_parse=False)
    assert len(got.headers["webhook-signature"].split(" ")) == 2
    assert got.headers["x-aptr-signature"] == hmac_of(NEW, got.body)


@pytest.mark.parametrize("code", [401, 403])
def test_during_a_rotation_a_refused_signature_gives_the_next_secret_its_turn(
    catcher: Catcher, code: int
) -> None:
    """There is one X-Aptr-Signature: a receiver that knows only the old secret, or only the new, gets it."""
    parcel, context = make_parcel(b"text"), HarnessContext()
    webhook = open_webhook(
        WebhookOptions.model_validate({"url": catcher.url, "secret": ["new", "old"]}), make_env()
    )
    for secret, answer in (("new", code), ("old", 500), ("old", code), ("new", 200)):
        catcher.status = answer
        if answer == 200:
            webhook.deliver(parcel, TARGET, context)
        else:
            with pytest.raises(DeliveryError):
                webhook.deliver(parcel, TARGET, context)
        got = catcher.caught[-1]
        assert (
            got.headers["x-aptr-signature"] == got.headers["x-apertur-signature"] == hmac_of(secret, got.body)
        )
        context = HarnessContext(context.state, attempt=context.attempt + 1)
    webhook.close()


def test_a_single_secret_saves_nothing(catcher: Catcher) -> None:
    catcher.status, context = 401, HarnessContext()
    webhook = open_webhook(WebhookOptions(url=catcher.url, secret="only"), make_env())  # type: ignore[arg-type]
    with pytest.raises(DeliveryError):
        webhook.deliver(make_parcel(b"text"), TARGET, context)
    webhook.close()
    assert context.saves == []


def test_a_retry_keeps_the_id_and_signs_anew(catcher: Catcher) -> None:
    parcel = make_parcel(b"text")
    seen = []
    for now in (time.time() - 100, time.time()):
        webhook = open_webhook(
            WebhookOptions.model_validate({"url": catcher.url, "secret": NEW}),
            make_env(clock=lambda now=now: now),
        )
        webhook.deliver(parcel, TARGET, HarnessContext())
        webhook.close()
        seen.append(catcher.caught[-1].headers)
        StandardWebhook(NEW).verify(catcher.caught[-1].body, seen[-1], json_parse=False)
    assert seen[0]["webhook-id"] == seen[1]["webhook-id"]
    assert int(seen[1]["webhook-timestamp"]) - int(seen[0]["webhook-timestamp"]) == 100


def test_custom_headers_and_prefix(catcher: Catcher) -> None:
    _, got = catcher.post(
        make_parcel(b"x"),
        custom_headers={"Authorization": "Bearer t0ken", "User-Agent": "shop"},
        header_prefix="X-Shop-",
        secret="k",
    )
    assert got.headers["authorization"] == "Bearer t0ken"
    assert got.headers["user-agent"] == "shop"
    assert "x-shop-delivery-id" in got.headers
    assert got.headers["x-shop-signature"] == hmac_of("k", got.body)
    assert not [name for name in got.headers if name.startswith(("x-aptr-", "x-apertur-"))]


def test_one_connection_serves_several_deliveries(catcher: Catcher) -> None:
    webhook = open_webhook(WebhookOptions(url=catcher.url), make_env())
    for number in range(3):
        webhook.deliver(make_parcel(10 + number), TARGET, HarnessContext())
    webhook.close()
    assert len({got.connection for got in catcher.caught}) == 1


def test_a_payload_that_changed_is_never_sent_whole(catcher: Catcher) -> None:
    for size in (1_000, 3_000_000):
        good = make_parcel(size)
        bad = make_parcel(size + 1)
        parcel = make_parcel(size)
        object.__setattr__(parcel, "open", bad.open)
        swapped = make_parcel(size)
        object.__setattr__(swapped, "digests", {**good.digests, "sha256": "0" * 64})
        for wrong in (parcel, swapped):
            with pytest.raises(DeliveryError) as caught:
                catcher.post(wrong, format="binary")
            assert caught.value.kind is ErrorKind.SOURCE
    assert catcher.caught == []


def test_the_payload_is_read_twice_only_when_it_is_large(catcher: Catcher) -> None:
    for size, times in ((500_000, 1), (5_000_000, 2)):
        opened: list[Any] = []
        catcher.post(make_parcel(size, opened=opened), secret="k")
        assert len(opened) == times
        assert all(stream.closed for stream in opened)
