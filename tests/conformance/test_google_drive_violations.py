"""Each rule of Drive that the connector must keep: broken on purpose, a named test turns red."""

from __future__ import annotations

import pytest
from conformance import test_google_drive_behaviour, test_google_drive_recovery, test_google_drive_trash
from conformance.planted.google_drive_violations import VIOLATIONS
from conformance.planted.planted_violations import noticing

pytestmark = pytest.mark.server


_running, standin, bench = (
    test_google_drive_behaviour._running,
    test_google_drive_behaviour.standin,
    test_google_drive_behaviour.bench,
)

globals().update(
    noticing(VIOLATIONS, test_google_drive_behaviour, test_google_drive_recovery, test_google_drive_trash)
)
