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
from servers.s3_bench import LARGE, S3Observer
from servers.s3_errors import sdk_exceptions


class BucketObserver(S3Observer, LiveObserver):
    """A bucket that is the suite's own, by boto3."""

    def __init__(self, given: Mapping[str, str]) -> None:
        import boto3
        from botocore.config import Config

        expect_own("bucket", given["bucket"])
        client = boto3.session.Session().client(
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
        super().__init__(client, given["bucket"])
        self.wipe()

    def remove(self) -> None:
        """Empty the bucket, which stays."""
        self.wipe()
        self.close()


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
