"""Each rule of Box that the connector must keep: broken on purpose, a named test turns red."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conformance import test_box_behaviour
from conformance.planted.box_violations import VIOLATIONS
from conformance.planted.planted_violations import noticing
from servers import box_bench
from servers.standins.box import BoxStandIn

from conveyor.testing import Bench

pytestmark = pytest.mark.server

standin = test_box_behaviour.standin


@pytest.fixture
def bench(standin: BoxStandIn) -> Iterator[Bench]:
    with box_bench.bench(standin) as bench:
        yield bench


globals().update(noticing(VIOLATIONS, test_box_behaviour))
