"""A bucket at Amazon, or at any compatible store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from conveyor.testing import Bench
from conveyor.testing.harness import HarnessContext, SimpleMemory, make_env
from conveyor_connectors.s3.errors import classify
from conveyor_connectors.s3.spec import SPEC
from servers.live import MIB, LiveObserver, expect_own, live, own
from servers.s3_bench import LARGE
from servers.s3_errors import sdk_exceptions


class BucketObserver(LiveObserver):
    """A bucket that is the suite's own, by boto3."""

    def __init__(self, given: Mapping[str, str]) -> None:
        import boto3
        from botocore.config import Config

        expect_own("bucket", given["bucket"])
        self._bucket = given["bucket"]
        self._client = boto3.session.Session().client(
            "s3",
            endpoint_url=given.get("endpoint"),
            region_name=given.get("region"),
            aws_access_key_id=given["access_key"],
            aws_secret_access_key=given["secret_key"],
            aws_session_token=given.get("session_token"),
            verify=given.get("ca_bundle"),
            config=Config(
                s3={"addressing_style": given.get("addressing", "auto")},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        self.wipe()

    def read(self, path: str) -> bytes | None:
        """The object's bytes."""
        try:
            data: bytes = self._client.get_object(Bucket=self._bucket, Key=path)["Body"].read()
        except self._client.exceptions.NoSuchKey:
            return None
        return data

    def put(self, path: str, data: bytes) -> None:
        """An object."""
        self._client.put_object(Bucket=self._bucket, Key=path, Body=data)

    def names(self) -> set[str]:
        """All keys."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket)
        return {item["Key"] for page in pages for item in page.get("Contents", [])}

    def leftovers(self) -> set[str]:
        """Uploads that were not finished."""
        return {f"{key} (upload {upload})" for key, upload in self._uploads()}

    def wipe(self) -> None:
        """Delete all objects, end all uploads."""
        for key, upload in self._uploads():
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload)
        for name in self.names():
            self._client.delete_object(Bucket=self._bucket, Key=name)

    def remove(self) -> None:
        """Empty the bucket, which stays."""
        self.wipe()
        self._client.close()

    def _uploads(self) -> list[tuple[str, str]]:
        pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket)
        return [(item["Key"], item["UploadId"]) for page in pages for item in page.get("Uploads", [])]


@contextmanager
def bench(given: Mapping[str, str]) -> Iterator[Bench]:
    """The bench of the bucket; ``given`` is what the environment names."""
    memory = SimpleMemory()
    options: dict[str, Any] = {**given, "multipart_threshold": 6 * MIB, "part_size": 5 * MIB}
    with live(
        SPEC,
        options,
        BucketObserver(given),
        wrong_credentials={"secret_key": "wrong-" + given["secret_key"]},
        missing_place={"bucket": own()},
        sdk_exceptions=sdk_exceptions,
        classify=lambda error: classify(error, "test"),
        large=LARGE,
        # What the bucket's endpoint can do is learnt once and remembered by the ledger.
        env=lambda: make_env(memory=memory),
    ) as bench:
        with bench.connector() as connector:
            connector.check(HarnessContext())
        yield bench
