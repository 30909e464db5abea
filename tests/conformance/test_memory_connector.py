"""The whole suite on the memory connector, which declares every capability."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conveyor.testing import Bench, ConnectorSuite, MemoryServer
from conveyor.testing.memory_bench import memory_bench


class TestMemoryConnector(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls) -> Iterator[Bench]:
        with MemoryServer() as server:
            yield memory_bench(server)
