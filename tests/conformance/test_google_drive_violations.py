"""Each rule of Drive that the connector must keep: broken on purpose, a named test turns red."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conformance import test_google_drive_behaviour, test_google_drive_recovery, test_google_drive_trash
from conformance.planted.google_drive_violations import VIOLATIONS
from conformance.planted.planted_violations import noticing
from servers import google_drive_bench
from servers.standins.google_drive import GoogleDrive
from servers.standins.kit import running

from conveyor.testing import Bench
from conveyor_connectors.google_drive import placing

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def _running() -> Iterator[GoogleDrive]:
    with running(GoogleDrive()) as made:
        yield made


@pytest.fixture
def standin(_running: GoogleDrive, monkeypatch: pytest.MonkeyPatch) -> GoogleDrive:
    monkeypatch.setattr(placing, "_MADE", {})
    _running.reset()
    return _running


@pytest.fixture
def bench(standin: GoogleDrive) -> Iterator[Bench]:
    with google_drive_bench.bench(standin) as bench:
        yield bench


globals().update(
    noticing(VIOLATIONS, test_google_drive_behaviour, test_google_drive_recovery, test_google_drive_trash)
)
