"""What S3's options do at real servers: encryption, roles, addressing, metadata, another worker's upload."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from servers.s3 import REGION, S3Server

from conveyor.contract import AttemptCancelled, ConflictPolicy, DeliveryError, ErrorKind, Receipt, Target
from conveyor.testing.harness import HarnessContext, make_env, make_parcel
from conveyor_connectors.s3.connector import S3Connector
from conveyor_connectors.s3.options import S3Options

pytestmark = pytest.mark.server

MIB = 1 << 20
OVERWRITE = ConflictPolicy.OVERWRITE
SMALL, PARTS = {}, {"multipart_threshold": 0, "part_size": 5 * MIB}
BOTH = pytest.mark.parametrize("how", [SMALL, PARTS], ids=["one request", "parts"])
KEY = base64.b64encode(hashlib.sha256(b"customer").digest()).decode()


@contextmanager
def connector(server: S3Server, bucket: str, *, secure: bool = False, **more: Any) -> Iterator[S3Connector]:
    given = {
        "endpoint": server.secure_url if secure else server.url,
        "region": server.region,
        "bucket": bucket,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        **({"ca_bundle": server.certificates.ca} if secure and server.certificates else {}),
        **more,
    }
    made = S3Connector(S3Options.model_validate(given), make_env())
    try:
        yield made
    finally:
        made.close()


def deliver(made: S3Connector, key: str, content: bytes | int = 70_001, **more: Any) -> Receipt:
    return made.deliver(
        make_parcel(content), Target(key, more.pop("conflict", OVERWRITE)), HarnessContext(**more)
    )


@contextmanager
def bucket(server: S3Server, name: str, *, secure: bool = False) -> Iterator[Any]:
    """A client of the test's own, and a new bucket."""
    client = server.client(secure=secure)
    try:
        client.create_bucket(Bucket=name)
        yield client
    finally:
        client.close()


@pytest.fixture(params=["SeaweedFS", "moto"])
def server(request: pytest.FixtureRequest) -> S3Server:
    made: S3Server = request.getfixturevalue(
        {"SeaweedFS": "seaweed_server", "moto": "moto_server"}[request.param]
    )
    return made


@BOTH
def test_the_servers_own_encryption(server: S3Server, how: dict[str, Any]) -> None:
    name = f"sse-{len(how)}"
    with bucket(server, name) as client, connector(server, name, sse="AES256", **how) as made:
        deliver(made, "a.jpg")
        head = client.head_object(Bucket=name, Key="a.jpg")
    assert head["ServerSideEncryption"] == "AES256"
    assert head["ContentLength"] == 70_001


@BOTH
def test_encryption_by_kms(moto_server: S3Server, how: dict[str, Any]) -> None:
    name = f"kms-{len(how)}"
    more = {"sse": "aws:kms", "sse_kms_key_id": "key-1", "sse_kms_context": {"site": "nörth"}, **how}
    with bucket(moto_server, name) as client, connector(moto_server, name, **more) as made:
        receipt = deliver(made, "a.jpg")
        head = client.head_object(Bucket=name, Key="a.jpg")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "key-1")
    assert receipt.size == 70_001


@BOTH
def test_encryption_by_the_customers_key(seaweed_server: S3Server, how: dict[str, Any]) -> None:
    """The key goes with each request about the object: HEAD, parts, reading back."""
    name = f"ssec-{len(how)}"
    more = {"sse_customer_key": KEY, "secure": True, **how}
    with bucket(seaweed_server, name, secure=True) as client, connector(seaweed_server, name, **more) as made:
        parcel = make_parcel(70_001)
        made.deliver(parcel, Target("a.jpg", ConflictPolicy.RENAME), HarnessContext())
        with pytest.raises(client.exceptions.ClientError):
            client.get_object(Bucket=name, Key="a.jpg")
        own = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": base64.b64decode(KEY)}
        data = client.get_object(Bucket=name, Key="a.jpg", **own)["Body"].read()
        found = made.find(parcel, Target("a.jpg", OVERWRITE), HarnessContext(attempt=2))
        made.check(HarnessContext())
    assert hashlib.sha256(data).hexdigest() == parcel.digests["sha256"]
    assert found.kind.name == "MINE"


@BOTH
def test_what_is_stored_with_an_object(moto_server: S3Server, how: dict[str, Any]) -> None:
    name = f"stored-{len(how)}"
    more = {
        "storage_class": "STANDARD_IA",
        "acl": "bucket-owner-full-control",
        "metadata": {"site": "north"},
        "custom_headers": {"Cache-Control": "no-store", "x-amz-tagging": "order=7"},
        **how,
    }
    with bucket(moto_server, name) as client, connector(moto_server, name, **more) as made:
        deliver(made, "a.jpg")
        head = client.head_object(Bucket=name, Key="a.jpg")
        tags = client.get_object_tagging(Bucket=name, Key="a.jpg")["TagSet"]
    assert head["StorageClass"] == "STANDARD_IA"
    assert head["Metadata"]["site"] == "north"
    assert head["CacheControl"] == "no-store"
    assert head["ContentType"] == "image/jpeg"
    assert tags == [{"Key": "order", "Value": "7"}]


@pytest.mark.parametrize("checksum", ["sha256", "md5", "none"])
@BOTH
def test_each_way_to_verify(server: S3Server, checksum: str, how: dict[str, Any]) -> None:
    name = f"verify-{checksum}-{len(how)}"
    with bucket(server, name) as client, connector(server, name, checksum=checksum, **how) as made:
        receipt = deliver(made, "a.jpg")
        data = client.get_object(Bucket=name, Key="a.jpg")["Body"].read()
    assert hashlib.sha256(data).hexdigest() == make_parcel(70_001).digests["sha256"]
    assert receipt.verified in ({"sha256", "md5"} if checksum != "md5" else {"md5"})


def role(server: S3Server, name: str) -> str:
    """A role at moto that may do everything in S3, and that anybody may assume."""
    import boto3

    iam = boto3.session.Session().client(
        "iam",
        endpoint_url=server.url,
        region_name=REGION,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
    )
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}],
    }
    may = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="s3", PolicyDocument=json.dumps(may))
    iam.close()
    return arn


@BOTH
def test_a_role_is_assumed(moto_server: S3Server, how: dict[str, Any]) -> None:
    arn = role(moto_server, f"photos-{len(how)}")
    name = f"roles-{len(how)}"
    more = {"role_arn": arn, "external_id": "ext-1", "sts_endpoint": moto_server.url, **how}
    with bucket(moto_server, name) as client, connector(moto_server, name, **more) as made:
        deliver(made, "a.jpg")
        assert client.head_object(Bucket=name, Key="a.jpg")["ContentLength"] == 70_001
        assert made._shared is not None
        signed = made._shared.client._request_signer._credentials.get_frozen_credentials()  # type: ignore[attr-defined]
    assert signed.token
    assert signed.access_key != moto_server.access_key


def test_a_role_that_is_not_there(moto_server: S3Server) -> None:
    with bucket(moto_server, "no-role"):
        pass
    arn = "arn:aws:iam::123456789012:role/nobody"
    with connector(
        moto_server, "no-role", role_arn=arn, sts_endpoint=moto_server.url, secret_key="wrong"
    ) as made:
        with pytest.raises(DeliveryError) as told:
            deliver(made, "a.jpg")
    assert told.value.kind is ErrorKind.AUTH_REVOKED


@BOTH
def test_the_bucket_in_the_host_name(
    moto_server: S3Server, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Amazon's own name, which the test's resolver gives to moto; all that auto means for Amazon applies."""
    real, asked = socket.getaddrinfo, []

    def lookup(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        asked.append(str(host))
        return real("127.0.0.1" if str(host).endswith(".amazonaws.com") else host, port, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    endpoint, name = f"http://s3.us-east-1.amazonaws.com:{moto_server.port}", f"virtual-{len(how)}"
    with bucket(moto_server, name) as client, connector(moto_server, name, endpoint=endpoint, **how) as made:
        receipt = deliver(made, "a.jpg", conflict=ConflictPolicy.FAIL)
        with pytest.raises(DeliveryError) as told:
            deliver(made, "a.jpg", conflict=ConflictPolicy.FAIL)
        assert client.head_object(Bucket=name, Key="a.jpg")["ContentLength"] == 70_001
    assert told.value.kind is ErrorKind.CONFLICT
    assert receipt.verified in ("sha256", "md5"), "moto does not always repeat the digest that it was sent"
    assert f"{name}.s3.us-east-1.amazonaws.com" in asked


@pytest.mark.parametrize("fault", ["cut", "finished"])
def test_another_worker_continues_an_upload(server: S3Server, fault: str) -> None:
    """Another connector with nothing but the state; parts that are there are not sent again."""
    name = f"resume-{fault}"
    parcel = make_parcel(3 * 5 * MIB + 17)
    with bucket(server, name) as client:
        first = HarnessContext(cancel_at=8 * MIB) if fault == "cut" else HarnessContext(fenced_out=False)
        more = {**PARTS, "parallel_parts": 1}
        if fault == "cut":
            with connector(server, name, **more) as made, pytest.raises(AttemptCancelled):
                made.deliver(parcel, Target("a.bin", OVERWRITE), first)
            (upload,) = client.list_multipart_uploads(Bucket=name)["Uploads"]
            have = client.list_parts(Bucket=name, Key="a.bin", UploadId=upload["UploadId"])["Parts"]
            assert have
        else:
            with connector(server, name, **more) as made:
                made.deliver(parcel, Target("a.bin", OVERWRITE), first)
            have = []
        second = HarnessContext(first.saves[0], attempt=2)
        with connector(server, name, **more) as made:
            receipt = made.deliver(parcel, Target("a.bin", OVERWRITE), second)
        data = client.get_object(Bucket=name, Key="a.bin")["Body"].read()
        assert hashlib.sha256(data).hexdigest() == parcel.digests["sha256"]
        assert receipt.size == parcel.size
        wanted = parcel.size - sum(part["Size"] for part in have) if fault == "cut" else 0
        assert second.sent == wanted
        assert not client.list_multipart_uploads(Bucket=name).get("Uploads")
