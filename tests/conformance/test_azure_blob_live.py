"""The suite on the Azure Blob connector, at a real account; see :mod:`servers.live`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers.live import ACCOUNTS, azure_blob

from conveyor.testing import Bench, ConnectorSuite

pytestmark = pytest.mark.live


class TestAzureBlobLive(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls) -> Iterator[Bench]:
        with azure_blob.bench(ACCOUNTS["azure_blob"].given()) as bench:
            yield bench
