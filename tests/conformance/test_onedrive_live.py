"""The suite on the OneDrive connector, at a real account; see :mod:`servers.live`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers.live import ACCOUNTS, onedrive

from conveyor.testing import Bench, ConnectorSuite

pytestmark = pytest.mark.live


class TestOneDriveLive(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls) -> Iterator[Bench]:
        with onedrive.bench(ACCOUNTS["onedrive"].given()) as bench:
            yield bench
