"""The suite on the Azure Blob connector, at Azurite, plain and over TLS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers import azure_bench
from servers.azure_errors import sdk_exceptions
from servers.azurite import Azurite

from conveyor.testing import Bench, ConnectorSuite
from conveyor_connectors.azure_blob.errors import classify

pytestmark = pytest.mark.server


class TestAzureBlobAtAzurite(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, azurite_server: Azurite) -> Iterator[Bench]:
        with azure_bench.bench(
            azurite_server,
            sdk_exceptions=sdk_exceptions,
            classify=lambda error: classify(error, "test"),
        ) as bench:
            yield bench


class TestAzureBlobAtAzuriteOverTls(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, azurite_tls_server: Azurite) -> Iterator[Bench]:
        with azure_bench.bench(azurite_tls_server) as bench:
            yield bench
