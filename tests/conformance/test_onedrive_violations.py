"""Each rule of Graph that the connector must keep: broken on purpose, a named test turns red."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conformance import test_onedrive_behaviour
from conformance.planted.onedrive_violations import VIOLATIONS
from conformance.planted.planted_violations import noticing
from servers import onedrive_bench
from servers.standins.kit import running
from servers.standins.onedrive import OneDrive

from conveyor.testing import Bench

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def _running() -> Iterator[OneDrive]:
    with running(OneDrive(kind="business")) as made:  # where an open session holds its name
        yield made


standin = test_onedrive_behaviour.standin


@pytest.fixture
def bench(standin: OneDrive) -> Iterator[Bench]:
    with onedrive_bench.bench(standin) as bench:
        yield bench


globals().update(noticing(VIOLATIONS, test_onedrive_behaviour))
