"""The suite on the Dropbox connector, at the stand-in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers import dropbox_bench
from servers.standins.dropbox import DropboxStandIn
from servers.standins.kit import running

from conveyor.testing import Bench, ConnectorSuite

pytestmark = pytest.mark.server


class TestDropboxAtTheStandIn(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls) -> Iterator[Bench]:
        with running(DropboxStandIn()) as standin, dropbox_bench.bench(standin) as bench:
            yield bench
            assert standin.defects == []
