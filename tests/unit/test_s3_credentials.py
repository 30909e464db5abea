"""Whose credentials S3 signs with: the machine's chain and roles, their requests under the policy."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.credentials import SSOProvider
from botocore.tokens import SSOTokenProvider
from servers.s3_stub import Answer, Stub, answering

from conveyor.contract import ConflictPolicy, DeliveryError, ErrorKind, Target
from conveyor.network import Network, NetworkRefused
from conveyor.testing.harness import HarnessContext, make_env, make_parcel
from conveyor.testing.ports import LOOPBACK
from conveyor_connectors.s3.connector import S3Connector
from conveyor_connectors.s3.credentials import machine_session
from conveyor_connectors.s3.options import S3Options

TARGET = Target("a/photo.jpg", ConflictPolicy.OVERWRITE)
STORED = Answer(200, headers={"ETag": '"x"'})
ROLE = "arn:aws:iam::123456789012:role/photos"
LATER = (datetime.now(UTC) + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M:%SZ")
STS = (
    "<{0}Response xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><{0}Result><Credentials>"
    "<AccessKeyId>ROLEKEY</AccessKeyId><SecretAccessKey>role-secret</SecretAccessKey>"
    f"<SessionToken>role-token</SessionToken><Expiration>{LATER}</Expiration>"
    "</Credentials></{0}Result></{0}Response>"
)


def document(key: str) -> bytes:
    """What a metadata service says."""
    said = {"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": key, "SecretAccessKey": "s", "Token": "t"}
    return json.dumps({**said, "Expiration": LATER, "LastUpdated": LATER}).encode()


class Metadata:
    """The instance's metadata service, version 2 alone, and a container's.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.moves_to: str | None = None
        metadata = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                metadata.asked.append(f"{self.command} {self.path}")
                status, body = metadata.answer(self.command, self.path, dict(self.headers.items()))
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", metadata.moves_to or "")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = _answer

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self.url = f"http://{LOOPBACK}:{self.server.server_port}"

    def answer(self, verb: str, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
        named = {name.lower(): value for name, value in headers.items()}
        if self.moves_to is not None:
            return 302, b""
        if path == "/container":
            return (200, document("BOXKEY")) if named.get("authorization") == "Basic eA==" else (401, b"")
        if path == "/latest/api/token":
            return (200, b"tok") if verb == "PUT" else (405, b"")
        if named.get("x-aws-ec2-metadata-token") != "tok":
            return 401, b""
        roles = "/latest/meta-data/iam/security-credentials/"
        return {roles: (200, b"photos"), roles + "photos": (200, document("HOSTKEY"))}.get(path, (404, b""))


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    metadata = Metadata()
    thread = threading.Thread(target=metadata.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield metadata
    finally:
        metadata.server.shutdown()
        metadata.server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with no AWS configuration at all."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE", "REGION", "ROLE_ARN"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@contextmanager
def connector(stub: Stub, *ranges: str, **more: Any) -> Iterator[S3Connector]:
    given = {"bucket": "photos", "endpoint": stub.url, **more}
    network = Network(ranges or [f"{LOOPBACK}/32"])
    made = S3Connector(S3Options.model_validate(given), make_env(network=network))
    try:
        yield made
    finally:
        made.close()


def signed_by(stub: Stub, **more: Any) -> dict[str, str]:
    """Deliver one parcel; the headers of the request."""
    with connector(stub, **more) as made:
        made.deliver(make_parcel(10), TARGET, HarnessContext())
    return stub.requests[-1][2]


@pytest.fixture
def stub() -> Iterator[Stub]:
    with answering(STORED) as stub:
        yield stub


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    """STS; the machine's own configuration names it, as a VPC endpoint would be named."""
    with answering(Answer(200, body=STS.format("AssumeRole").encode())) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        yield sts


def test_an_instances_role(stub: Stub, metadata: Metadata, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
    headers = signed_by(stub)
    assert "Credential=HOSTKEY/" in headers["authorization"]
    assert headers["x-amz-security-token"] == "t"
    assert metadata.asked[0] == "PUT /latest/api/token"


def test_a_containers_role(stub: Stub, metadata: Metadata, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{metadata.url}/container")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic eA==")
    assert "Credential=BOXKEY/" in signed_by(stub)["authorization"]


def test_a_metadata_service_is_asked_directly_and_sends_nobody_elsewhere(
    stub: Stub, metadata: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
    metadata.moves_to = f"{stub.url}/stolen"
    with answering(STORED) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with connector(stub) as made, pytest.raises(DeliveryError) as told:
            made.deliver(make_parcel(10), TARGET, HarnessContext())
        assert proxy.requests == []
    assert told.value.kind is ErrorKind.AUTH_REVOKED
    assert metadata.asked
    assert stub.requests == []


def test_what_asks_the_metadata_service_reaches_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    chain: Any = machine_session(None, None, Network()).get_component("credential_provider")
    instance, container = chain.get_provider("iam-role"), chain.get_provider("container-role")
    service = instance._role_fetcher._session
    assert service is container._fetcher._session
    for host in ("169.254.169.254", "169.254.170.2"):
        service._network.policy.check(host)
    for host in ("169.254.169.253", "10.0.0.1", "127.0.0.1", "93.184.216.34", "fd00:ec2::254"):
        with pytest.raises(NetworkRefused, match="not the service that hands out"):
            service._network.policy.check(host)
    assert service._network.proxy is None


@pytest.mark.parametrize("named", ["environment", "profile"])
def test_a_web_identity(
    stub: Stub, sts: Stub, named: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sts.answers[:] = [Answer(200, body=STS.format("AssumeRoleWithWebIdentity").encode())]
    token = tmp_path / "token"
    token.write_text("header.claims.signature")
    more: dict[str, Any] = {}
    if named == "environment":
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
        monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    else:
        config = tmp_path / "config"
        config.write_text(f"[profile pod]\nrole_arn = {ROLE}\nweb_identity_token_file = {token}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        more = {"profile": "pod", "region": "eu-central-1"}
    headers = signed_by(stub, **more)
    assert "Credential=ROLEKEY/" in headers["authorization"]
    assert "authorization" not in sts.requests[0][2], "the token signs, nothing else"


def test_a_profile_that_assumes_a_role(
    stub: Stub, sts: Stub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text(
        f"[profile photos]\nrole_arn = {ROLE}\nsource_profile = base\n"
        "[profile base]\naws_access_key_id = BASEKEY\naws_secret_access_key = b\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    headers = signed_by(stub, profile="photos", region="eu-central-1")
    assert "Credential=ROLEKEY/" in headers["authorization"]
    signed = sts.requests[0][2]["authorization"]
    assert "Credential=BASEKEY/" in signed
    assert "/eu-central-1/sts/" in signed


@pytest.fixture
def signed_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """``aws sso login`` was run for the profile ``photos``: what it leaves, in a cache of this test's own."""
    config, cache = tmp_path / "config", tmp_path / "cache"
    config.write_text(
        "[profile photos]\nsso_session = acme\nsso_account_id = 123456789012\nsso_role_name = photos\n"
        "[sso-session acme]\nsso_region = eu-central-1\nsso_start_url = https://acme.awsapps.com/start\n"
    )
    cache.mkdir()
    left = {"startUrl": "https://acme.awsapps.com/start", "region": "eu-central-1"}
    # https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-sso.html: named by the session's SHA-1.
    name = f"{hashlib.sha1(b'acme').hexdigest()}.json"
    (cache / name).write_text(json.dumps({**left, "accessToken": "sso-token", "expiresAt": LATER}))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    for kept in (SSOProvider, SSOTokenProvider):
        monkeypatch.setattr(kept, "_SSO_TOKEN_CACHE_DIR", str(cache))
    return cache / name


def portal(status: int = 200) -> Answer:
    keys = {"accessKeyId": "SSOKEY", "secretAccessKey": "s", "sessionToken": "t", "expiration": 2 * 10**12}
    headers = {"Content-Type": "application/json", "x-amzn-ErrorType": "UnauthorizedException"}
    if status == 200:
        return Answer(200, body=json.dumps({"roleCredentials": keys}).encode(), headers=headers)
    return Answer(status, body=b'{"message": "Session token not found or invalid"}', headers=headers)


def test_a_profile_of_single_sign_on(stub: Stub, signed_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(portal()) as sso:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SSO", sso.url)
        headers = signed_by(stub, profile="photos")
        assert "Credential=SSOKEY/" in headers["authorization"]
        ((_, path, asked),) = sso.requests
        assert path == "/federation/credentials?role_name=photos&account_id=123456789012"
        assert asked["x-amz-sso_bearer_token"] == "sso-token"


@pytest.mark.parametrize("ended", ["there", "here"])
def test_a_single_sign_on_that_has_ended_names_the_cure(
    stub: Stub, signed_in: Path, ended: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ended == "here":
        left = json.loads(signed_in.read_text())
        signed_in.write_text(json.dumps({**left, "expiresAt": "2020-01-01T00:00:00Z"}))
    with answering(portal(401)) as sso:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SSO", sso.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_SSO_OIDC", sso.url)
        with connector(stub, profile="photos") as made, pytest.raises(DeliveryError) as told:
            made.deliver(make_parcel(10), TARGET, HarnessContext())
    assert told.value.kind is ErrorKind.AUTH_REVOKED, "held, not charged, and probed: goes on after a sign-in"
    assert "aws sso login" in str(told.value.hint)
    assert "sso-token" not in f"{told.value.message}{told.value.hint}{told.value.response}"
    assert stub.requests == []


def test_the_chains_own_requests_obey_the_policy(
    stub: Stub, sts: Stub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The destination's address is allowed, STS's is not."""
    token = tmp_path / "token"
    token.write_text("header.claims.signature")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url.replace(LOOPBACK, "127.0.0.2"))
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    with connector(stub) as made, pytest.raises(DeliveryError) as told:
        made.deliver(make_parcel(10), TARGET, HarnessContext())
    assert told.value.kind is ErrorKind.CONFIG
    assert "127.0.0.2/32" in str(told.value.hint)
    assert sts.requests == stub.requests == []


def test_a_role_of_the_destinations_own(stub: Stub, sts: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its STS is the one that its options name; what the machine's configuration says is not heard."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    role = {"role_arn": ROLE, "external_id": "ext-1", "role_session_name": "north", "sts_endpoint": sts.url}
    headers = signed_by(stub, access_key="AK", secret_key="sk", **role)
    assert "Credential=ROLEKEY/" in headers["authorization"]
    assert headers["x-amz-security-token"] == "role-token"
    assert "Credential=AK/" in sts.requests[0][2]["authorization"]


def test_a_role_that_is_refused_says_so(stub: Stub) -> None:
    with answering(
        Answer(403, body=b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>")
    ) as sts:
        with (
            connector(stub, access_key="AK", secret_key="sk", role_arn=ROLE, sts_endpoint=sts.url) as made,
            pytest.raises(DeliveryError, match="AccessDenied") as told,
        ):
            made.deliver(make_parcel(10), TARGET, HarnessContext())
        assert len(sts.requests) == 1
    assert (told.value.kind, "external_id" in str(told.value.hint)) == (ErrorKind.CONFIG, True)
    assert stub.requests == []
