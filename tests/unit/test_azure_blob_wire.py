"""What goes over the wire: no retries, no redirects, nothing of the environment, no forbidden address."""

from __future__ import annotations

import base64
import hashlib
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from servers.azure_bench import at, refusal
from servers.s3_stub import Answer, Stub, answering
from servers.tls import make_certificates

from conveyor.contract import AttemptCancelled, ConflictPolicy, DeliveryError, ErrorKind, Target
from conveyor.network import Network, NetworkRefused
from conveyor.testing.harness import HarnessContext, make_env, make_parcel
from conveyor.testing.ports import LOOPBACK, free_port
from conveyor_connectors.azure_blob import transport
from conveyor_connectors.azure_blob.client import CLIENTS
from conveyor_connectors.azure_blob.connector import AzureBlobConnector
from conveyor_connectors.azure_blob.options import AzureBlobOptions
from conveyor_connectors.azure_blob.transport import PolicedAdapter

TARGET = Target("a/photo.jpg", ConflictPolicy.OVERWRITE)
STORED = Answer(201, headers={"ETag": '"0x1"'})


def options(url: str, **more: Any) -> AzureBlobOptions:
    return AzureBlobOptions.model_validate({"container": "photos", "connection_string": at(url), **more})


@contextmanager
def connector(url: str, network: Network | None = None, **more: Any) -> Iterator[AzureBlobConnector]:
    made = AzureBlobConnector(options(url, **more), make_env(network=network))
    try:
        yield made
    finally:
        made.close()


def deliver(stub: Stub, size: int = 100, **more: Any) -> dict[str, str]:
    """Deliver one parcel to the stub; the headers of its only request."""
    with connector(stub.url, **more) as made:
        made.deliver(make_parcel(size), TARGET, HarnessContext())
    assert len(stub.requests) == 1
    method, path, headers = stub.requests[0]
    assert (method, path.partition("?")[0]) == ("PUT", "/photos/a/photo.jpg")
    return headers


def failure(stub: Stub, size: int = 100, **more: Any) -> DeliveryError:
    with connector(stub.url, **more) as made, pytest.raises(DeliveryError) as failed:
        made.deliver(make_parcel(size), TARGET, HarnessContext())
    return failed.value


@pytest.fixture
def stub() -> Iterator[Stub]:
    with answering(STORED) as stub:
        yield stub


@pytest.mark.parametrize(
    ("status", "code"), [(500, "InternalError"), (503, "ServerBusy"), (408, ""), (500, "OperationTimedOut")]
)
def test_the_sdk_never_tries_twice(status: int, code: str) -> None:
    with answering(refusal(status, code)) as stub:
        started = time.monotonic()
        failure(stub)
        assert len(stub.requests) == 1
        assert time.monotonic() - started < 5, "it slept: the SDK's first pause is 15 s"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    with answering(STORED) as elsewhere:
        with answering(Answer(status, headers={"Location": elsewhere.url + "/photos/a/photo.jpg"})) as stub:
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
    with connector(f"http://{host}", Network(["0.0.0.0/0", "::/0"])) as made:
        with pytest.raises(DeliveryError) as refused:
            made.deliver(make_parcel(100), TARGET, HarnessContext())
    assert refused.value.kind is ErrorKind.CONFIG
    assert dialled == []


def test_every_connection_of_a_client_is_policed(stub: Stub) -> None:
    with connector(stub.url) as made:
        made._open()
        assert made._shared is not None
        transport: Any = made._shared.client.container._pipeline._transport
        assert set(transport.session.adapters) == {"http://", "https://"}
        assert not transport.session.trust_env
        for adapter in transport.session.adapters.values():
            assert isinstance(adapter, PolicedAdapter)
            for scheme in ("http", "https"):
                pool = adapter.poolmanager.connection_from_url(f"{scheme}://{LOOPBACK}:1/")
                assert pool.ConnectionCls.network is made._env.network


def test_nothing_comes_from_the_environment(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(STORED) as trap:
        surprises = {
            "HTTP_PROXY": trap.url, "http_proxy": trap.url, "ALL_PROXY": trap.url,
            "REQUESTS_CA_BUNDLE": "/nonexistent", "CURL_CA_BUNDLE": "/nonexistent",
            "AZURE_STORAGE_CONNECTION_STRING": "x", "AZURE_STORAGE_KEY": "x",
        }  # fmt: skip
        for name, value in surprises.items():
            monkeypatch.setenv(name, value)
        headers = deliver(stub)
        assert trap.requests == []
    assert headers["authorization"].startswith("SharedKey stub:")


def test_the_proxy_of_the_network_is_used() -> None:
    with answering(STORED) as proxy:
        network = Network(["127.0.0.0/8"], proxy=proxy.url.replace("//", "//who:what@"))
        with connector("http://blob.example.com", network) as made:
            made.deliver(make_parcel(100), TARGET, HarnessContext())
        assert proxy.requests[0][1].startswith("http://blob.example.com/photos/a/photo.jpg")
        assert "proxy-authorization" in proxy.requests[0][2]
        with connector("http://10.0.0.1", network) as made, pytest.raises(DeliveryError, match="private"):
            made.deliver(make_parcel(100), TARGET, HarnessContext())
        assert len(proxy.requests) == 1


def test_a_small_file_is_one_request_by_the_sdk_with_its_digest(stub: Stub) -> None:
    headers = deliver(stub, tier="Cool", metadata={"note": "x"}, cache_control="no-store", tags={"a": "b c"})
    md5 = base64.b64encode(hashlib.md5(make_parcel(100).open().read()).digest()).decode()
    assert headers["content-length"] == "100"
    assert headers["content-md5"] == headers["x-ms-blob-content-md5"] == md5
    assert headers["x-ms-blob-type"] == "BlockBlob"
    assert headers["x-ms-access-tier"] == "Cool"
    assert headers["x-ms-blob-cache-control"] == "no-store"
    assert headers["x-ms-tags"] == "a=b%20c"
    assert headers["x-ms-meta-note"] == "x"
    assert {"x-ms-meta-conveyor_delivery", "x-ms-meta-conveyor_sha256"} <= set(headers)
    assert not {"transfer-encoding", "expect", "if-none-match"} & set(headers)
    assert "azsdk-python-storage-blob/" in headers["user-agent"]
    assert "conveyor" in headers["user-agent"]


def test_create_only_asks_the_service(stub: Stub) -> None:
    with connector(stub.url) as made:
        made.deliver(make_parcel(100), Target("x", ConflictPolicy.FAIL), HarnessContext())
    assert [request[2].get("if-none-match") for request in stub.requests] == ["*"]


def test_the_deadline_limits_the_service_and_the_answer(stub: Stub) -> None:
    with connector(stub.url) as made:
        made.deliver(make_parcel(100), TARGET, HarnessContext(deadline=20.0))
    assert "timeout=20" in stub.requests[0][1]
    with socket.create_server((LOOPBACK, 0)) as silent:
        url = f"http://{LOOPBACK}:{silent.getsockname()[1]}"
        started = time.monotonic()
        with connector(url) as made, pytest.raises(DeliveryError) as failed:
            made.deliver(make_parcel(100), TARGET, HarnessContext(deadline=1.0))
        assert time.monotonic() - started < 5
    assert failed.value.kind is ErrorKind.UNKNOWN_OUTCOME


def test_the_fence_is_asked_before_the_last_byte_leaves() -> None:
    with answering(STORED) as stub:
        context = HarnessContext(on_commit=lambda: seen.append(list(stub.requests)), fenced_out=True)
        seen: list[Any] = []
        with connector(stub.url) as made, pytest.raises(AttemptCancelled):
            made.deliver(make_parcel(600_000), TARGET, context)
        assert seen == [[]]
        assert context.sent < 600_000


def test_another_digest_in_the_answer_removes_what_was_stored() -> None:
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    lying = Answer(201, headers={"ETag": '"0x7"', "Content-MD5": wrong})
    with answering(lying, Answer(202)) as stub:
        told = failure(stub)
        assert [request[0] for request in stub.requests] == ["PUT", "DELETE"]
        assert stub.requests[1][2]["if-match"] == '"0x7"', "only what this request stored"
    assert told.kind is ErrorKind.INTEGRITY


def test_no_secret_in_an_error_of_a_sas() -> None:
    signature = "sv=2024-11-04&sr=c&sig=very-secret-signature"
    quoting = refusal(403, "AuthenticationFailed", message="?sig=very-secret-signature&amp;x is wrong")
    with answering(quoting) as stub:
        told = failure(stub, connection_string=f"BlobEndpoint={stub.url};SharedAccessSignature={signature}")
        assert "sig=very-secret-signature" in stub.requests[0][1]
    assert told.kind is ErrorKind.AUTH_REVOKED
    assert "?sig=…&x is wrong" in told.message
    assert "very-secret" not in f"{told!r} {told.hint} {told.response}"
    unreachable = f"BlobEndpoint=http://{LOOPBACK}:{free_port()};SharedAccessSignature={signature}"
    with connector("http://x", connection_string=unreachable) as made, pytest.raises(DeliveryError) as failed:
        made.deliver(make_parcel(100), TARGET, HarnessContext())
    assert failed.value.kind is ErrorKind.TRANSIENT
    assert "very-secret" not in f"{failed.value!r} {failed.value.hint}"


@pytest.mark.parametrize("known", [False, True])
def test_the_certificate_is_verified(tmp_path: Path, known: bool) -> None:
    certificates = make_certificates(tmp_path)
    with answering(STORED, certificates=certificates) as stub:
        if known:
            deliver(stub, ca_bundle=str(certificates.ca))
            return
        assert failure(stub, ca_bundle=str(certificates.stranger)).kind is ErrorKind.CONFIG
        assert "ca_bundle" in str(failure(stub).hint)
        assert stub.requests == []


def test_connectors_share_a_client_and_the_last_one_closes_it(stub: Stub) -> None:
    before = len(CLIENTS)
    with connector(stub.url) as one, connector(stub.url) as other, connector(stub.url + "/b") as third:
        for made in (one, other, third):
            made.deliver(make_parcel(10), TARGET, HarnessContext())
        assert one._shared is other._shared
        assert one._shared is not third._shared
        assert len(CLIENTS) == before + 2
    assert len(CLIENTS) == before


def identity(**more: Any) -> AzureBlobConnector:
    given = {"container": "photos", "account_url": "https://acct.blob.core.windows.net", "identity": True}
    return AzureBlobConnector(AzureBlobOptions.model_validate({**given, **more}), make_env())


def test_a_missing_package_for_identity_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    made = identity()
    with pytest.raises(DeliveryError) as failed:
        made.deliver(make_parcel(10), TARGET, HarnessContext())
    made.close()
    assert failed.value.kind is ErrorKind.CONFIG
    assert "pip install azure-identity" in str(failed.value.hint)


def test_only_the_metadata_service_is_asked_beside_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    fake = ModuleType("azure.identity")

    class DefaultAzureCredential:
        def __init__(self, **given: Any) -> None:
            asked.update(given)

        def get_token(self, *_: str) -> None: ...

        def close(self) -> None: ...

    fake.DefaultAzureCredential = DefaultAzureCredential  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "azure.identity", fake)
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://localhost:42356/msi/token")
    made = identity(identity_client_id="me")
    made._open()
    wire = asked["transport"].session
    assert asked["managed_identity_client_id"] == "me"
    dialled: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: dialled.append(address))
    everything = wire.get_adapter("https://login.microsoftonline.com/t/oauth2")
    special = wire.get_adapter("http://169.254.169.254/metadata/identity")
    assert special is wire.get_adapter("http://localhost:42356/msi/token?x=1")
    for adapter, url in (
        (everything, "http://169.254.169.253/"),
        (everything, "http://169.254.169.254:80/"),
        (special, "http://169.254.169.253/"),
        (special, "http://10.0.0.1/"),
    ):
        assert isinstance(adapter, PolicedAdapter)
        with pytest.raises(NetworkRefused):
            adapter.pools.urlopen("GET", url)
    assert wire.get_adapter("http://169.254.169.253/") is everything
    assert dialled == []
    made.close()


@pytest.mark.parametrize("status", [200, 503])
@pytest.mark.parametrize("piece", [b" ", b" " * 65_536], ids=["dribbles", "floods"])
def test_an_answer_without_an_end_is_given_up(
    monkeypatch: pytest.MonkeyPatch, status: int, piece: bytes
) -> None:
    monkeypatch.setattr(transport, "ANSWER_TIMEOUT", 0.5)
    started = time.monotonic()
    with answering(Answer(status, endless=piece)) as stub:
        error = failure(stub)
    assert "does not end" in error.message
    assert error.kind is ErrorKind.UNKNOWN_OUTCOME
    assert time.monotonic() - started < 10
