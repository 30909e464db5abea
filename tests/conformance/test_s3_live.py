"""The suite on the S3 connector, at a real account; see :mod:`servers.live`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers.live import ACCOUNTS, s3

from conveyor.testing import Bench, ConnectorSuite

pytestmark = pytest.mark.live


class TestS3Live(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls) -> Iterator[Bench]:
        with s3.bench(ACCOUNTS["s3"].given()) as bench:
            yield bench
