"""The suite on the WebDAV connector, at a real account; see :mod:`servers.live`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers.live import ACCOUNTS, webdav

from conveyor.testing import Bench, ConnectorSuite

pytestmark = pytest.mark.live


class TestWebdavLive(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls) -> Iterator[Bench]:
        with webdav.bench(ACCOUNTS["webdav"].given()) as bench:
            yield bench
