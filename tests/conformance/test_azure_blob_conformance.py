"""The suite on the Azure Blob connector, at Azurite, plain and over TLS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers import azure_bench
from servers.azurite import Azurite

from conveyor.testing import Bench, ConnectorSuite

pytestmark = pytest.mark.server


class TestAzureBlobAtAzurite(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, azurite_server: Azurite) -> Iterator[Bench]:
        with azure_bench.bench(azurite_server) as bench:
            yield bench


@pytest.mark.long
class TestAzureBlobAtAzuriteOverTls(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, azurite_tls_server: Azurite) -> Iterator[Bench]:
        with azure_bench.bench(azurite_tls_server) as bench:
            yield bench
