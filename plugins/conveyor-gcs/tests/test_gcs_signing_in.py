"""Options, keys, tokens: who signs in, how often, through which network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.auth.compute_engine import _metadata
from pydantic import ValidationError

from conveyor.contract import ConflictPolicy, DeliveryError, ErrorKind, Receipt, Target
from conveyor.testing import HarnessContext, make_env, make_parcel
from conveyor_gcs.client import CLIENTS
from conveyor_gcs.connector import GcsConnector
from conveyor_gcs.options import GcsOptions
from conveyor_gcs.tokens import Tokens

from .rules import BUCKET, CloudStorage, Refused, serving

K = ErrorKind
ADC = "GOOGLE_APPLICATION_CREDENTIALS"


@pytest.fixture(scope="module")
def running() -> Iterator[CloudStorage]:
    with serving() as storage:
        yield storage


@pytest.fixture
def storage(running: CloudStorage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CloudStorage:
    """Nothing asked yet, and no credentials of this machine."""
    for held in (running.objects, running.requests, running.bearers, running.tokens):
        held.clear()
    monkeypatch.delenv(ADC, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    return running


def options(storage: CloudStorage, **changes: Any) -> GcsOptions:
    given = {"bucket": BUCKET, "endpoint": storage.url, "credentials": storage.account()}
    told = {name: value for name, value in {**given, **changes}.items() if value is not None}
    return GcsOptions.model_validate(told)


def deliver(storage: CloudStorage, **changes: Any) -> Receipt:
    connector = GcsConnector(options(storage, **changes), make_env())
    try:
        return connector.deliver(
            make_parcel(b"a photo"), Target("photo.jpg", ConflictPolicy.RENAME), HarnessContext()
        )
    finally:
        connector.close()


def refused(storage: CloudStorage, **changes: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as told:
        deliver(storage, **changes)
    return told.value


def token_requests(storage: CloudStorage) -> int:
    return sum(path == "/token" for _, path in storage.requests)


def test_connectors_of_a_process_share_one_token(storage: CloudStorage) -> None:
    connectors = [GcsConnector(options(storage), make_env()) for _ in range(3)]
    for number, connector in enumerate(connectors):
        target = Target(f"{number}.jpg", ConflictPolicy.FAIL)
        connector.deliver(make_parcel(10), target, HarnessContext())
    assert token_requests(storage) == 1
    assert len(CLIENTS) == 1
    for connector in connectors:
        connector.close()
    assert len(CLIENTS) == 0


def test_a_token_that_is_refused_is_replaced_once_within_the_attempt(storage: CloudStorage) -> None:
    connector, context = GcsConnector(options(storage), make_env()), HarnessContext()
    connector.deliver(make_parcel(10), Target("1.jpg", ConflictPolicy.FAIL), context)
    storage.tokens.clear()  # revoked there, fresh for us
    connector.deliver(make_parcel(10), Target("2.jpg", ConflictPolicy.FAIL), context)
    assert token_requests(storage) == 2
    with storage.refusing(Refused(401, "authError"), "/upload"), pytest.raises(DeliveryError) as told:
        connector.deliver(make_parcel(10), Target("3.jpg", ConflictPolicy.FAIL), context)
    connector.close()
    assert told.value.kind is K.AUTH_REVOKED
    assert token_requests(storage) == 3


def test_a_key_that_google_refuses_holds_the_destination(storage: CloudStorage) -> None:
    with serving() as other:
        told = refused(storage, credentials=other.account(token_uri=f"{storage.url}/token"))
    assert (told.kind, told.code) == (K.AUTH_REVOKED, "invalid_grant")
    assert "Invalid JWT Signature" in told.message
    assert token_requests(storage) == 1
    assert "PRIVATE" not in repr((told.args, told.hint, told.response))


@pytest.mark.parametrize(("status", "kind"), [(503, K.TRANSIENT), (429, K.THROTTLED)])
def test_a_token_request_is_sent_once(storage: CloudStorage, status: int, kind: ErrorKind) -> None:
    with storage.refusing(Refused(status, "server_error", Retry_After="5"), "/token"):
        told = refused(storage)
    assert (told.kind, told.retry_after) == (kind, 5.0)
    assert token_requests(storage) == 1


def test_a_token_comes_from_no_address_that_the_network_policy_forbids(storage: CloudStorage) -> None:
    told = refused(storage, credentials=storage.account(token_uri="https://10.1.2.3/token"))
    assert told.kind is K.CONFIG
    assert "10.1.2.3" in told.message
    told = refused(storage, credentials=storage.account(token_uri="https://169.254.169.254/token"))
    assert told.kind is K.CONFIG
    assert storage.requests == []


def test_a_key_that_is_none_is_told_when_it_is_used(storage: CloudStorage) -> None:
    told = refused(storage, credentials=storage.account(private_key="-----BEGIN NOTHING-----"))
    assert told.kind is K.CONFIG
    assert "NOTHING" not in repr((told.args, told.hint, told.response))


def test_nobody_signs_in_where_nothing_is_asked_for(storage: CloudStorage) -> None:
    told = refused(storage, credentials=None, anonymous=True)
    assert told.kind is K.AUTH_REVOKED
    assert "credentials" in (told.hint or "")
    assert token_requests(storage) == 0


def test_the_machines_own_file(
    storage: CloudStorage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "key.json").write_text(storage.account())
    monkeypatch.setenv(ADC, str(tmp_path / "key.json"))
    assert deliver(storage, credentials=None).verified == "md5"
    assert token_requests(storage) == 1
    monkeypatch.setenv(ADC, str(tmp_path / "another.json"))
    assert refused(storage, credentials=None).kind is K.CONFIG


def test_the_machines_metadata_service(storage: CloudStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one address beyond the policy; it is found by the environment of the machine, not by an option."""
    host = f"localhost:{storage.port}"
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", host)
    monkeypatch.setenv("GCE_METADATA_HOST", host)
    env = make_env()
    tokens = Tokens(options(storage, credentials=None), replace(env, network=env.network.only(())))
    assert tokens.token() == "ya29.of-the-machine"
    tokens.close()
    deliver(storage, credentials=None)
    assert "Bearer ya29.of-the-machine" in storage.bearers
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", "localhost:1")
    told = refused(storage, credentials=None)
    assert (told.kind, told.hint is not None and "credentials" in told.hint) == (K.CONFIG, True)


def account(**changes: Any) -> str:
    key = {
        "type": "service_account",
        "client_email": "a",
        "private_key": "b",
        "token_uri": "https://a.example",
    }
    return json.dumps({name: value for name, value in {**key, **changes}.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"bucket": "gs://acme"}, "without gs://"),
        ({"bucket": "Acme"}, "a-z, 0-9"),
        ({"prefix": "a//b"}, "without empty levels"),
        ({"prefix": "../a"}, "without empty levels"),
        ({"prefix": "é" * 65}, "128 bytes"),
        ({"credentials": "key.json"}, "!file"),
        ({"credentials": "[]"}, "!file"),
        ({"credentials": account(type="external_account")}, "service_account or authorized_user"),
        ({"credentials": account(private_key=None)}, "lacks private_key"),
        ({"credentials": account(token_uri="http://a.example")}, "https"),
        ({"credentials": account(), "anonymous": True}, "exclude"),
        ({"endpoint": "http://storage.example"}, "https"),
        ({"endpoint": "https://user:secret@storage.example"}, "no password"),
        ({"chunk_size": 300_000}, "multiple of 256 KiB"),
        ({"metadata": {"conveyor-delivery": "x"}}, "conveyor-"),
        ({"metadata": {"a": "b\r\nc"}}, "printable"),
        ({"kms_key": "k"}, "pattern"),
    ],
)
def test_a_mistake_in_the_options(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says) as told:
        GcsOptions.model_validate({"bucket": "acme", **changes})
    assert "secret@" not in str(told.value)


def test_sizes_are_written_as_people_do() -> None:
    made = GcsOptions.model_validate({"bucket": "acme", "chunkSize": "32MiB", "resumable_above": "1MiB"})
    assert (made.chunk_size, made.resumable_above) == (32 << 20, 1 << 20)
    assert GcsOptions.model_validate({"bucket": "acme", "prefix": "a/b"}).prefix == "a/b/"


def test_a_relative_file_is_relative_to_the_config() -> None:
    given = {"bucket": "acme", "ca_bundle": "ca.pem"}
    made = GcsOptions.model_validate(given, context={"base": "/etc/conveyor"})
    assert made.ca_bundle == Path("/etc/conveyor/ca.pem")
