"""The option model of S3: what belongs together, what is refused, what follows from the endpoint."""

from __future__ import annotations

import base64
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from conveyor_connectors.s3.options import S3Options

KEYS = {"access_key": "AK", "secret_key": "very-secret"}


def options(**given: Any) -> S3Options:
    return S3Options.model_validate({"bucket": "photos", **given})


def test_published_names_are_accepted() -> None:
    made = options(accessKey="AK", secretKey="s", customHeaders={"Cache-Control": "no-store"})
    assert made.access_key == "AK"
    assert made.custom_headers == {"Cache-Control": "no-store"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"access_key": "AK"}, "belong together"),
        ({"secret_key": "s"}, "belong together"),
        ({"session_token": "t"}, "session_token needs"),
        ({**KEYS, "profile": "p"}, "either a profile"),
        ({"external_id": "x"}, "needs role_arn"),
        ({"sse_kms_key_id": "k"}, "needs sse"),
        ({"sse_kms_key_id": "k", "sse": "AES256"}, "needs sse"),
        ({"endpoint": "s3.example.com"}, "must be a URL"),
        ({"endpoint": "https://u:p@s3.example.com"}, "user name or password"),
        ({"endpoint": "https://s3.example.com/?x=1"}, "query"),
        ({"bucket": "photos/2026"}, "without a path"),
        ({"sse_customer_key": "c2hvcnQ="}, "32 bytes"),
        ({"part_size": "1MiB"}, "greater than or equal"),
        ({"max_parts": 10_001}, "less than or equal"),
        ({"custom_headers": {"Authorization": "x"}}, "set by Conveyor"),
        ({"custom_headers": {"x-amz-meta-conveyor-delivery": "x"}}, "set by Conveyor"),
        ({"custom_headers": {"x-amz-checksum-crc32": "x"}}, "set by Conveyor"),
        ({"custom_headers": {"X-Note": "a\r\nInjected: yes"}}, "printable ASCII"),
        ({"custom_headers": {"X Note": "a"}}, "not a header name"),
        ({"metadata": {"conveyor-sha256": "x"}}, "no name that begins"),
        ({"metadata": {"Größe": "x"}}, "use a-z"),
        ({"metadata": {"note": "größe"}}, "printable ASCII"),
        ({"metadata": {"note": "x" * 1_900}}, "1800"),
    ],
)
def test_what_does_not_fit_is_refused_and_says_why(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as refused:
        options(**given)
    assert "very-secret" not in str(refused.value)


def test_customer_key_travels_over_tls_only() -> None:
    key = base64.b64encode(bytes(32)).decode()
    assert options(sse_customer_key=key).sse_customer_key is not None
    with pytest.raises(ValidationError, match="https"):
        options(sse_customer_key=key, endpoint="http://127.0.0.1:9000")
    with pytest.raises(ValidationError, match="exclude each other"):
        options(sse_customer_key=key, sse="AES256")


@pytest.mark.parametrize(
    ("endpoint", "amazon"),
    [
        (None, True),
        ("https://s3.eu-central-1.amazonaws.com", True),
        ("https://s3.cn-north-1.amazonaws.com.cn", True),
        ("https://s3.example.com", False),
        ("https://amazonaws.com.example.com", False),
        ("https://notamazonaws.com", False),
    ],
)
def test_amazon_is_told_from_others(endpoint: str | None, amazon: bool) -> None:
    made = options(endpoint=endpoint)
    assert made.is_amazon is amazon
    assert made.digest == ("sha256" if amazon else "md5")
    assert made.path_style is not amazon
    assert options(endpoint=endpoint, addressing="path").path_style is True
    assert options(endpoint=endpoint, addressing="virtual").path_style is False
    assert options(endpoint=endpoint, checksum="none").digest == "none"


def test_secrets_are_not_shown() -> None:
    key = base64.b64encode(b"k" * 32).decode()
    made = options(**KEYS, session_token="secret-token", sse_customer_key=key)
    for text in (repr(made), str(made), made.model_dump_json()):
        assert not any(secret in text for secret in ("very-secret", "secret-token", key))


def test_the_model_needs_no_sdk() -> None:
    code = (
        "import sys, conveyor_connectors.s3.options, conveyor_connectors.s3.spec;"
        "assert not {'boto3', 'botocore'} & set(sys.modules), 'the SDK was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
