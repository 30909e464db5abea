"""What goes over the wire: no retries, no redirects, nothing of the environment, no forbidden address."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from servers.s3_stub import Answer, Stub, answering
from servers.tls import make_certificates

from conveyor.contract import ConflictPolicy, DeliveryError, ErrorKind, Target
from conveyor.network import Network
from conveyor.testing.harness import HarnessContext, make_env, make_parcel
from conveyor.testing.ports import LOOPBACK, free_port
from conveyor_connectors.s3 import objects
from conveyor_connectors.s3.client import CLIENTS
from conveyor_connectors.s3.connector import S3Connector
from conveyor_connectors.s3.options import S3Options

TARGET = Target("a/photo.jpg", ConflictPolicy.OVERWRITE)
STORED = Answer(200, headers={"ETag": '"x"'})


def options(endpoint: str, **more: Any) -> S3Options:
    given = {"bucket": "photos", "endpoint": endpoint, "access_key": "AK", "secret_key": "very-secret"}
    return S3Options.model_validate({**given, **more})


@contextmanager
def connector(endpoint: str, network: Network | None = None, **more: Any) -> Iterator[S3Connector]:
    made = S3Connector(options(endpoint, **more), make_env(network=network))
    try:
        yield made
    finally:
        made.close()


def deliver(stub: Stub, size: int = 100, **more: Any) -> dict[str, str]:
    """Deliver one parcel to the stub; the headers of its only request."""
    with connector(stub.url, **more) as made:
        made.deliver(make_parcel(size), TARGET, HarnessContext())
    assert [request[:2] for request in stub.requests] == [("PUT", "/photos/a/photo.jpg")]
    return stub.requests[0][2]


def failure(stub: Stub, **more: Any) -> DeliveryError:
    with connector(stub.url, **more) as made, pytest.raises(DeliveryError) as failed:
        made.deliver(make_parcel(100), TARGET, HarnessContext())
    return failed.value


@pytest.fixture
def stub() -> Iterator[Stub]:
    with answering(STORED) as stub:
        yield stub


@pytest.mark.parametrize(
    ("status", "code"), [(500, "InternalError"), (503, "SlowDown"), (400, "RequestTimeout")]
)
def test_the_sdk_never_tries_twice(status: int, code: str) -> None:
    with answering(Answer(status, code)) as stub:
        failure(stub)
        assert len(stub.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    with answering(STORED) as elsewhere:
        headers = {"Location": elsewhere.url + "/photos/a/photo.jpg", "x-amz-bucket-region": "eu-west-3"}
        with answering(Answer(status, "PermanentRedirect", headers)) as stub:
            told = failure(stub)
            assert len(stub.requests) == 1
        assert elsewhere.requests == []
    assert told.kind is ErrorKind.CONFIG


def test_a_forbidden_address_is_refused_and_never_dialled(stub: Stub) -> None:
    with connector(stub.url, Network()) as made, pytest.raises(DeliveryError) as refused:
        made.deliver(make_parcel(100), TARGET, HarnessContext())
    assert refused.value.kind is ErrorKind.CONFIG
    assert "allow_private" in str(refused.value.hint)
    assert stub.requests == []


@pytest.mark.parametrize("host", ["169.254.169.254", "[fd00:ec2::254]"])
def test_metadata_services_are_never_dialled(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dialled: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: dialled.append(address))
    network = Network(["0.0.0.0/0", "::/0"])
    with connector(f"http://{host}", network) as made, pytest.raises(DeliveryError) as refused:
        made.deliver(make_parcel(100), TARGET, HarnessContext())
    assert refused.value.kind is ErrorKind.CONFIG
    assert dialled == []


def test_every_pool_of_a_client_is_policed(stub: Stub) -> None:
    """The one private attribute that the policy rests on."""
    with connector(stub.url) as made:
        made._open()
        assert made._shared is not None
        session = made._shared.client._endpoint.http_session  # type: ignore[attr-defined]
        for scheme in ("http", "https"):
            pool = session._manager.connection_from_url(f"{scheme}://{LOOPBACK}:1/")
            assert pool.ConnectionCls.network is made._env.network


def test_nothing_comes_from_the_environment(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(STORED) as trap:
        surprises = {
            "HTTP_PROXY": trap.url, "http_proxy": trap.url, "AWS_ENDPOINT_URL": trap.url,
            "AWS_PROFILE": "nope", "AWS_ENDPOINT_URL_S3": trap.url,
            "AWS_ACCESS_KEY_ID": "EVIL", "AWS_SESSION_TOKEN": "EVIL",
            "AWS_MAX_ATTEMPTS": "9", "AWS_CONFIG_FILE": "/nonexistent", "REQUESTS_CA_BUNDLE": "/nonexistent",
            "AWS_DEFAULT_REGION": "mars-north-1", "AWS_REGION": "mars-north-1",
        }  # fmt: skip
        for name, value in surprises.items():
            monkeypatch.setenv(name, value)
        headers = deliver(stub)
        assert trap.requests == []
    assert "Credential=AK/" in headers["authorization"]
    assert "/us-east-1/s3/" in headers["authorization"]
    assert "x-amz-security-token" not in headers


def test_the_proxy_of_the_network_is_used(stub: Stub) -> None:
    with answering(STORED) as proxy:
        network = Network(["127.0.0.0/8"], proxy=proxy.url)
        with connector("http://s3.example.com", network) as made:
            made.deliver(make_parcel(100), TARGET, HarnessContext())
        assert proxy.requests[0][1] == "http://s3.example.com/photos/a/photo.jpg"
        with connector("http://10.0.0.1", network) as made, pytest.raises(DeliveryError, match="private"):
            made.deliver(make_parcel(100), TARGET, HarnessContext())
        assert len(proxy.requests) == 1


def test_compatible_stores_get_a_length_and_an_md5(stub: Stub) -> None:
    headers = deliver(stub)
    assert headers["content-length"] == "100"
    assert "content-md5" in headers
    assert headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert "content-md5" in headers["authorization"], "the digest is signed"
    assert not {"transfer-encoding", "content-encoding", "x-amz-trailer", "expect"} & set(headers)
    assert not [name for name in headers if name.startswith("x-amz-checksum")]


def test_sha256_and_a_signed_payload_on_request(stub: Stub) -> None:
    headers = deliver(stub, checksum="sha256", sign_payload=True)
    assert "x-amz-checksum-sha256" in headers
    assert "content-md5" not in headers
    assert headers["x-amz-content-sha256"] == make_parcel(100).digests["sha256"]


def test_large_bodies_ask_first(stub: Stub) -> None:
    assert deliver(stub, 2 << 20)["expect"] == "100-continue"


def test_what_the_options_say_about_an_object(stub: Stub) -> None:
    headers = deliver(
        stub,
        storage_class="STANDARD_IA",
        acl="bucket-owner-full-control",
        sse="aws:kms",
        sse_kms_key_id="key-1",
        metadata={"site": "north"},
        custom_headers={"Cache-Control": "no-store", "x-amz-tagging": "a=b"},
        session_token="token-1",
    )
    wanted = {
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-acl": "bucket-owner-full-control",
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "key-1",
        "x-amz-meta-site": "north",
        "cache-control": "no-store",
        "x-amz-tagging": "a=b",
        "x-amz-security-token": "token-1",
        "content-type": "image/jpeg",
    }
    assert wanted.items() <= headers.items()
    assert headers["x-amz-meta-conveyor-sha256"] == make_parcel(100).digests["sha256"]
    for name in ("x-amz-tagging", "x-amz-meta-conveyor-delivery"):
        assert name in headers["authorization"], f"{name} is signed"


def test_a_media_type_cannot_inject_headers(stub: Stub) -> None:
    with connector(stub.url) as made:
        bad = make_parcel(10, media_type="image/jpeg\r\nx-amz-acl: public-read")
        made.deliver(bad, TARGET, HarnessContext())
    assert stub.requests[0][2]["content-type"] == "application/octet-stream"


def test_a_silent_server_costs_no_more_than_the_attempt_has(stub: Stub) -> None:
    with socket.create_server((LOOPBACK, 0)) as silent:
        url = f"http://{LOOPBACK}:{silent.getsockname()[1]}"
        started = time.monotonic()
        with connector(url) as made, pytest.raises(DeliveryError) as failed:
            made.deliver(make_parcel(100), TARGET, HarnessContext(deadline=1.2))
    assert failed.value.kind is ErrorKind.UNKNOWN_OUTCOME
    assert time.monotonic() - started < 10


def test_nobody_listens() -> None:
    with connector(f"http://{LOOPBACK}:{free_port()}") as made, pytest.raises(DeliveryError) as failed:
        made.deliver(make_parcel(100), TARGET, HarnessContext())
    assert failed.value.kind is ErrorKind.TRANSIENT


def test_connectors_share_a_client_and_the_last_one_closes_it(stub: Stub) -> None:
    before = len(CLIENTS)
    made = [S3Connector(options(stub.url), make_env()) for _ in range(8)]
    start = threading.Barrier(8)

    def work(one: S3Connector) -> None:
        start.wait(10)
        one.deliver(make_parcel(100), TARGET, HarnessContext())

    threads = [threading.Thread(target=work, args=(one,)) for one in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(stub.requests) == 8
    assert len({id(one._shared) for one in made}) == 1
    assert len(CLIENTS) == before + 1
    for one in made:
        one.close()
        one.close()
    assert len(CLIENTS) == before


def test_other_credentials_are_another_client(stub: Stub) -> None:
    with connector(stub.url) as one, connector(stub.url, secret_key="other") as two:
        assert one._open() is not two._open()
        assert one._shared is not two._shared


def test_a_token_that_ran_out_is_replaced_or_told() -> None:
    with answering(Answer(400, "ExpiredToken"), STORED) as stub, connector(stub.url) as made:
        with pytest.raises(DeliveryError) as expired:
            made.deliver(make_parcel(10), TARGET, HarnessContext())
        assert expired.value.kind is ErrorKind.AUTH_EXPIRED
        old = made._shared
        made.deliver(make_parcel(10), TARGET, HarnessContext())
        assert made._shared is not old
    with answering(Answer(400, "ExpiredToken")) as stub:
        told = failure(stub, session_token="token-1")
        assert told.kind is ErrorKind.AUTH_REVOKED
        assert "session_token" in str(told.hint)
        assert "token-1" not in f"{told.message} {told.hint}"


def test_amazon_by_its_own_rules() -> None:
    """Bucket in the host name, SHA-256, and the precondition without looking first."""
    with answering(STORED) as proxy:
        network = Network(proxy=proxy.url)
        endpoint = "http://s3.eu-west-3.amazonaws.com"
        with connector(endpoint, network, region="eu-west-3") as made:
            receipt = made.deliver(make_parcel(100), Target("a/b.jpg", ConflictPolicy.FAIL), HarnessContext())
    assert [request[:2] for request in proxy.requests] == [
        ("PUT", "http://photos.s3.eu-west-3.amazonaws.com/a/b.jpg")
    ]
    headers = proxy.requests[0][2]
    assert headers["if-none-match"] == "*"
    assert "x-amz-checksum-sha256" in headers
    assert "/eu-west-3/s3/" in headers["authorization"]
    assert receipt.reference == "s3://photos/a/b.jpg"


BEGUN = Answer(
    200, body=b"<InitiateMultipartUploadResult><UploadId>u-1</UploadId></InitiateMultipartUploadResult>"
)
PART = Answer(200, headers={"ETag": '"opaque"'})
PARTS = {"multipart_threshold": 0, "part_size": 5 << 20, "parallel_parts": 1}


def test_a_completion_that_says_200_and_means_an_error() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html, first note."""
    error = b"<Error><Code>InternalError</Code><Message>try again</Message></Error>"
    with answering(BEGUN, PART, Answer(200, body=error)) as stub, connector(stub.url, **PARTS) as made:
        context = HarnessContext()
        with pytest.raises(DeliveryError, match="InternalError") as failed:
            made.deliver(make_parcel(100), TARGET, context)
    assert failed.value.kind is ErrorKind.TRANSIENT
    assert context.state["upload"]["id"] == "u-1", "the next attempt continues it"  # type: ignore[index, call-overload]


def test_options_of_the_object_stand_on_the_upload_not_on_its_parts() -> None:
    done = Answer(
        200, body=b"<CompleteMultipartUploadResult><ETag>x-1</ETag></CompleteMultipartUploadResult>"
    )
    head = Answer(200, headers={"Content-Length": "100"})
    more = {"custom_headers": {"Cache-Control": "no-store"}, "acl": "private", **PARTS}
    with (
        answering(BEGUN, PART, done, head) as stub,
        connector(stub.url, **more) as made,
        pytest.raises(DeliveryError),
    ):
        made.deliver(make_parcel(100), TARGET, HarnessContext())  # the stub's HEAD tells another size
    begin, part = stub.requests[0][2], stub.requests[1][2]
    assert begin["cache-control"] == "no-store"
    assert begin["x-amz-acl"] == "private"
    assert not {"cache-control", "x-amz-acl", "x-amz-meta-conveyor-delivery"} & set(part)
    assert "content-md5" in part


@pytest.mark.parametrize("more", [{}, PARTS], ids=["one request", "parts"])
def test_over_tls_bodies_keep_their_length(tmp_path: Path, more: dict[str, Any]) -> None:
    """The SDK's default over TLS is a chunked body with a trailer, which most compatible stores refuse."""
    certificates = make_certificates(tmp_path)
    answers = [BEGUN, PART, Answer(403, "AccessDenied")] if more else [STORED]
    more = {"ca_bundle": certificates.ca, "sign_payload": False, **more}
    with answering(*answers, certificates=certificates) as stub, connector(stub.url, **more) as made:
        try:
            made.deliver(make_parcel(2 << 20), TARGET, HarnessContext())
        except DeliveryError as error:
            assert error.kind is ErrorKind.CONFIG  # noqa: PT017 (the completion is refused, the part is what counts)
    (body,) = [headers for verb, _, headers in stub.requests if verb == "PUT"]
    assert body["content-length"] == str(2 << 20)
    assert not {"transfer-encoding", "content-encoding", "x-amz-trailer"} & set(body)


@pytest.mark.parametrize("trusted", ["stranger", None])
def test_a_certificate_of_nobody_we_trust(tmp_path: Path, trusted: str | None) -> None:
    certificates = make_certificates(tmp_path)
    more = {"ca_bundle": certificates.stranger} if trusted else {}
    with answering(STORED, certificates=certificates) as stub:
        told = failure(stub, **more)
        assert stub.requests == []
    assert told.kind is ErrorKind.CONFIG
    assert "ca_bundle" in str(told.hint)


def test_verification_can_be_turned_off(tmp_path: Path) -> None:
    with answering(STORED, certificates=make_certificates(tmp_path)) as stub:
        deliver(stub, verify_tls=False)


def test_a_ca_file_that_cannot_be_read_is_configuration(stub: Stub, tmp_path: Path) -> None:
    told = failure(stub, ca_bundle=tmp_path / "missing.pem")
    assert told.kind is ErrorKind.CONFIG
    assert "missing.pem" in told.message


def test_an_assumed_role_is_asked_for_once(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    import botocore.client

    asked: list[dict[str, Any]] = []
    real = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined]

    def call(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        if operation != "AssumeRole":
            return real(client, operation, parameters)
        assert type(client._endpoint.http_session).__name__ == "PolicedSession"
        asked.append(parameters)
        keys = {"AccessKeyId": "ROLEKEY", "SecretAccessKey": "role-secret", "SessionToken": "role-token"}
        return {"Credentials": {**keys, "Expiration": datetime.now(UTC) + timedelta(hours=1)}}

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", call)
    role = {"role_arn": "arn:aws:iam::123456789012:role/photos", "external_id": "ext-1"}
    with connector(stub.url, **role) as made:
        for _ in range(2):
            made.deliver(make_parcel(10), TARGET, HarnessContext())
    assert len(asked) == 1
    assert asked[0]["RoleArn"] == role["role_arn"]
    assert asked[0]["ExternalId"] == "ext-1"
    headers = stub.requests[0][2]
    assert "Credential=ROLEKEY/" in headers["authorization"]
    assert headers["x-amz-security-token"] == "role-token"


def test_the_machines_own_credentials(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "MACHINEKEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "machine-secret")
    headers = deliver(stub, access_key=None, secret_key=None)
    assert "Credential=MACHINEKEY/" in headers["authorization"]


def test_no_credentials_at_all(stub: Stub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    told = failure(stub, access_key=None, secret_key=None)
    assert told.kind is ErrorKind.AUTH_REVOKED
    assert stub.requests == []


@pytest.mark.parametrize("status", [200, 503])
@pytest.mark.parametrize("piece", [b" ", b" " * 65_536], ids=["dribbles", "floods"])
def test_an_answer_without_an_end_is_given_up(
    monkeypatch: pytest.MonkeyPatch, status: int, piece: bytes
) -> None:
    monkeypatch.setattr(objects, "ANSWER_TIMEOUT", 0.5)
    started = time.monotonic()
    with answering(Answer(status, endless=piece)) as stub:
        error = failure(stub)
    assert "does not end" in error.message
    assert error.kind is ErrorKind.UNKNOWN_OUTCOME
    assert time.monotonic() - started < 10
