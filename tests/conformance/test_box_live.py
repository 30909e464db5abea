"""The suite on the Box connector, at a real account; see :mod:`servers.live`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers.live import ACCOUNTS, box

from conveyor.testing import Bench, ConnectorSuite

pytestmark = pytest.mark.live


class TestBoxLive(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls) -> Iterator[Bench]:
        with box.bench(ACCOUNTS["box"].given()) as bench:
            yield bench
