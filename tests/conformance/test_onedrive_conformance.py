"""The suite on the OneDrive connector, at the stand-in: a personal drive, and one for business."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers import onedrive_bench
from servers.standins.kit import running
from servers.standins.onedrive import OneDrive

from conveyor.testing import Bench, ConnectorSuite

pytestmark = pytest.mark.server


class TestOneDriveAtTheStandIn(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls) -> Iterator[Bench]:
        with running(OneDrive()) as standin, onedrive_bench.bench(standin) as bench:
            yield bench


@pytest.mark.long
class TestOneDriveForBusinessAtTheStandIn(ConnectorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls) -> Iterator[Bench]:
        held = "an open session holds its name: the second writer is told to try again, and then loses"
        exempt = {"test_fail_lets_one_of_two_win": held}
        with running(OneDrive(kind="business")) as standin:
            with onedrive_bench.bench(standin, exempt=exempt) as bench:
                yield bench
