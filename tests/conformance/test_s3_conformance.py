"""The suite on the S3 connector, at each S3 server that comes as a wheel, plain and over TLS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from servers import moto, s3_bench, seaweed
from servers.s3 import S3Server
from servers.s3_errors import sdk_exceptions

from conveyor.testing import Bench, ConnectorSuite
from conveyor_connectors.s3.errors import classify
from conveyor_connectors.s3.spec import SPEC

pytestmark = pytest.mark.server

READ_ONLY = {"access_key": seaweed.READER[0], "secret_key": seaweed.READER[1]}
UNCONDITIONAL = replace(SPEC, capabilities=replace(SPEC.capabilities, create_only=False))
"""rclone ignores If-None-Match, so nothing but looking first is left there."""


class TestS3AtSeaweed(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, seaweed_server: S3Server) -> Iterator[Bench]:
        with s3_bench.bench(
            seaweed_server,
            forbidden=READ_ONLY,
            sdk_exceptions=sdk_exceptions,
            classify=lambda error: classify(error, "test"),
        ) as bench:
            yield bench


class TestS3AtSeaweedOverTls(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, seaweed_server: S3Server) -> Iterator[Bench]:
        with s3_bench.bench(seaweed_server, secure=True, bucket="secure", forbidden=READ_ONLY) as bench:
            yield bench


class TestS3AtMoto(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, moto_server: S3Server) -> Iterator[Bench]:
        access_key, secret_key = moto.limited_user(moto_server, deny="s3:PutObject")
        refused = {"access_key": access_key, "secret_key": secret_key}
        with s3_bench.bench(moto_server, forbidden=refused) as bench:
            yield bench


@pytest.mark.long
class TestS3AtRclone(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, rclone_s3_server: S3Server) -> Iterator[Bench]:
        with s3_bench.bench(
            rclone_s3_server, spec=UNCONDITIONAL, unavailable={"forbidden": "rclone has no read-only user"}
        ) as bench:
            yield bench
