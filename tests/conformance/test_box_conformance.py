"""The suite on the Box connector, at the stand-in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers import box_bench
from servers.standins.box import BoxStandIn
from servers.standins.kit import running

from conveyor.testing import Bench, ConnectorSuite

pytestmark = pytest.mark.server


class TestBoxAtTheStandIn(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls) -> Iterator[Bench]:
        with running(BoxStandIn()) as standin, box_bench.bench(standin) as bench:
            yield bench
            assert standin.defects == []
