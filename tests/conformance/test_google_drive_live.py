"""The suite on the Google Drive connector, at a real account; see :mod:`servers.live`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers.live import ACCOUNTS, google_drive

from conveyor.testing import Bench, ConnectorSuite

pytestmark = pytest.mark.live


class TestGoogleDriveLive(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls) -> Iterator[Bench]:
        with google_drive.bench(ACCOUNTS["google_drive"].given()) as bench:
            yield bench
