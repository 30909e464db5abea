"""The suite on the SFTP connector, at a real account; see :mod:`servers.live`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers.live import ACCOUNTS, sftp

from conveyor.testing import Bench, ConnectorSuite

pytestmark = pytest.mark.live


class TestSftpLive(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls) -> Iterator[Bench]:
        with sftp.bench(ACCOUNTS["sftp"].given()) as bench:
            yield bench
