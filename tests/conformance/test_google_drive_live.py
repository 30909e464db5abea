"""The suite on the Google Drive connector, at a real account; see :mod:`servers.google_drive_live`."""

from __future__ import annotations

import pytest
from servers import google_drive_live

from conveyor.testing import Bench, ConnectorSuite
from conveyor.testing.plugin import requires

pytestmark = pytest.mark.live


class TestGoogleDriveLive(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls) -> Bench:
        given = google_drive_live.named("TOKEN") and google_drive_live.named("FOLDER")
        requires(bool(given), f"{google_drive_live.PREFIX}TOKEN and {google_drive_live.PREFIX}FOLDER")
        return google_drive_live.bench()
