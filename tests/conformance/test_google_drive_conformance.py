"""The suite on the Google Drive connector, at the stand-in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers import google_drive_bench
from servers.standins.google_drive import GoogleDrive
from servers.standins.kit import running

from conveyor.testing import Bench, ConnectorSuite

pytestmark = pytest.mark.server


class TestGoogleDriveAtTheStandIn(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls) -> Iterator[Bench]:
        with running(GoogleDrive()) as standin, google_drive_bench.bench(standin) as bench:
            yield bench
