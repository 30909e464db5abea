"""What the options of a webhook accept, and what they refuse."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from conveyor_connectors.webhook.endpoint import Endpoint
from conveyor_connectors.webhook.options import WebhookOptions

URL = "https://api.example.com/photos"


def made(**options: Any) -> WebhookOptions:
    return WebhookOptions.model_validate({"url": URL, **options})


def test_published_names_are_accepted() -> None:
    options = made(customHeaders={"X-Key": "1"}, headerPrefix="X-Shop-", permanentStatuses=[404])
    assert options.custom_headers["X-Key"].get_secret_value() == "1"
    assert (options.header_prefix, options.permanent_statuses) == ("X-Shop-", (404,))
    assert made().format == "multipart"


def test_one_secret_or_several() -> None:
    assert made().secrets == ()
    assert made(secret="a").secrets == ("a",)
    assert made(secret=["b", "a"]).secrets == ("b", "a")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "example.com/photos",
        "https://",
        "https://user:pw@example.com/",
        "https://example.com/#part",
        "https://example.com/a b",
        "https://example.com/\r\nX-Evil: 1",
        "https://example.com:99999/",
        "https://example.com:0/",
        "https://exa\tmple.com/",
        "https://" + "ü" * 80 + ".example/",
        "",
    ],
)
def test_urls_that_cannot_be_posted_to(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        made(url=url)
    assert "pw" not in str(caught.value)


def test_urls_are_taken_apart() -> None:
    endpoint = Endpoint.parse("https://Zürich.example:8443/föö/a%20b?x=1&y=ä/?#")
    assert (endpoint.host, endpoint.port) == ("xn--zrich-kva.example", 8443)
    assert endpoint.authority == "xn--zrich-kva.example:8443"
    assert endpoint.target == "/f%C3%B6%C3%B6/a%20b?x=1&y=%C3%A4/?"
    six = Endpoint.parse("http://[::1]/")
    assert (six.host, six.port, six.authority, six.target) == ("::1", 80, "[::1]", "/")


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Key": "a\r\nX-Evil: 1"},
        {"X-Key": "a\nb"},
        {"X-Key": "a\0b"},
        {"X-Key": "ü"},
        {"X Key": "a"},
        {"X-Key:": "a"},
        {"X-Key\r\nX-Evil": "a"},
        {"": "a"},
        {"Content-Length": "1"},
        {"transfer-encoding": "chunked"},
        {"Host": "other"},
        {"Webhook-Signature": "v1,x"},
        {"X-Apertur-Signature": "x"},
        {"x-aptr-delivery-id": "x"},
    ],
)
def test_headers_that_would_inject_or_replace(headers: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        made(custom_headers=headers)


@pytest.mark.parametrize(
    "options",
    [
        {"secret": ""},
        {"secret": "whsec_"},
        {"secret": "whsec_not base64!"},
        {"secret": "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
        {"secret": ["good", ""]},
        {"format": "xml"},
        {"header_prefix": "X Aptr "},
        {"header_prefix": ""},
        {"permanent_statuses": [200]},
        {"connect_timeout": 0},
        {"unknown": 1},
    ],
)
def test_other_mistakes(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        made(**options)


def test_secrets_are_in_no_text() -> None:
    options = made(secret=["s3cret-1", "s3cret-2"], custom_headers={"Authorization": "s3cret-3"})
    assert "s3cret" not in repr(options)
    assert "s3cret" not in options.model_dump_json()
    with pytest.raises(ValidationError) as caught:
        made(secret="whsec_s3cret!", custom_headers={"X-Key": "s3cret\n"})
    assert "s3cret" not in str(caught.value)


def test_listing_the_type_imports_nothing_heavy() -> None:
    code = (
        "import sys, conveyor_connectors\n"
        "from conveyor_connectors.webhook.spec import SPEC\n"
        "print(sorted({'pydantic', 'urllib3', 'boto3', 'paramiko', 'sqlalchemy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
