"""The bench of the S3 connector at any S3 server."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from conveyor.contract import ConnectorSpec
from conveyor.testing import Bench, Observer
from conveyor.testing.harness import HarnessContext, SimpleMemory, make_env
from conveyor_connectors.s3.spec import SPEC
from servers.s3 import S3Server
from servers.s3_stub import Answer, answering

MIB = 1 << 20
LARGE = 2 * 5 * MIB + 4_711
"""Two parts of 5 MiB and a little one."""


class S3Observer(Observer):
    """Looks into a bucket by a boto3 client of its own."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def read(self, path: str) -> bytes | None:
        try:
            data: bytes = self._client.get_object(Bucket=self._bucket, Key=path)["Body"].read()
        except self._client.exceptions.NoSuchKey:
            return None
        return data

    def put(self, path: str, data: bytes) -> None:
        self._client.put_object(Bucket=self._bucket, Key=path, Body=data)

    def names(self) -> set[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket)
        return {item["Key"] for page in pages for item in page.get("Contents", [])}

    def leftovers(self) -> set[str]:
        return {f"{key} (upload {upload})" for key, upload in self._uploads()}

    def wipe(self) -> None:
        for key, upload in self._uploads():
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload)
        for name in self.names():
            self._client.delete_object(Bucket=self._bucket, Key=name)

    def close(self) -> None:
        self._client.close()

    def _uploads(self) -> list[tuple[str, str]]:
        pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket)
        try:
            return [(item["Key"], item["UploadId"]) for page in pages for item in page.get("Uploads", [])]
        except self._client.exceptions.NoSuchUpload:  # rclone's way to say that there is none
            return []


@contextmanager
def bench(
    server: S3Server,
    *,
    secure: bool = False,
    spec: ConnectorSpec = SPEC,
    bucket: str = "conformance",
    **changes: Any,
) -> Iterator[Bench]:
    """A bench on a bucket of that server; ``changes`` replace fields of the bench."""
    scheme = "https" if secure else "http"
    client = server.client()
    client.create_bucket(Bucket=bucket)
    observer = S3Observer(client, bucket)
    memory = SimpleMemory()
    options: dict[str, Any] = {
        "endpoint": server.secure_url if secure else server.url,
        "region": server.region,
        "bucket": bucket,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        "multipart_threshold": 6 * MIB,
        "part_size": 5 * MIB,
    }
    if secure and server.certificates is not None:
        options["ca_bundle"] = str(server.certificates.ca)
    made = Bench(
        spec=spec,
        options=options,
        observer=observer,
        address=(server.host, (server.secure_port if secure else server.port) or 0),
        through=lambda host, port: {"endpoint": f"{scheme}://{host}:{port}"},
        wrong_credentials={"secret_key": "wrong-" + server.secret_key},
        missing_place={"bucket": "no-such-bucket"},
        full=lambda: saying(Answer(507, "QuotaExceeded")),
        throttle=lambda seconds: saying(Answer(503, "SlowDown", {"Retry-After": f"{seconds:g}"})),
        large=LARGE,
        # What the bucket's endpoint can do is learnt once and remembered by the ledger.
        env=lambda: make_env(memory=memory),
    )
    with made.connector() as connector:
        connector.check(HarnessContext())
    try:
        yield dataclasses.replace(made, **changes)
    finally:
        observer.wipe()
        observer.close()


def saying(answer: Answer) -> AbstractContextManager[Mapping[str, Any]]:
    """Options that lead to an endpoint which gives that answer."""

    @contextmanager
    def enter() -> Iterator[Mapping[str, Any]]:
        with answering(answer) as stub:
            yield {"endpoint": stub.url}

    return enter()
