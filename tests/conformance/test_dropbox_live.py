"""The suite on the Dropbox connector, at a real account; see :mod:`servers.live`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers.live import ACCOUNTS, dropbox

from conveyor.testing import Bench, ConnectorSuite

pytestmark = pytest.mark.live


class TestDropboxLive(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls) -> Iterator[Bench]:
        with dropbox.bench(ACCOUNTS["dropbox"].given()) as bench:
            yield bench
