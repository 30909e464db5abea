"""Each rule of Dropbox that the connector must keep: broken on purpose, a named test turns red."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conformance import test_dropbox_behaviour
from conformance.planted.dropbox_violations import VIOLATIONS
from conformance.planted.planted_violations import noticing
from servers import dropbox_bench
from servers.standins.dropbox import DropboxStandIn

from conveyor.testing import Bench

pytestmark = pytest.mark.server

standin = test_dropbox_behaviour.standin


@pytest.fixture
def bench(standin: DropboxStandIn) -> Iterator[Bench]:
    with dropbox_bench.bench(standin) as bench:
        yield bench


globals().update(noticing(VIOLATIONS, test_dropbox_behaviour))
