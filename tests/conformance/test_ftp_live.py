"""The suite on the FTP connector, at a real account; see :mod:`servers.live`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers.live import ACCOUNTS, ftp

from conveyor.testing import Bench, ConnectorSuite

pytestmark = pytest.mark.live


class TestFtpLive(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls) -> Iterator[Bench]:
        with ftp.bench(ACCOUNTS["ftp"].given()) as bench:
            yield bench


class TestFtpsLive(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls) -> Iterator[Bench]:
        with ftp.bench(ACCOUNTS["ftps"].given(), secure=True) as bench:
            yield bench
