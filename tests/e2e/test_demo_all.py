"""``conveyor demo --all``: every destination type at once, and nothing left afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from servers import azurite, places

from conveyor.testing.plugin import requires
from e2e.test_demo import environment, processes

pytestmark = pytest.mark.server


def run(temp: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "conveyor", "demo", "--all"]
    return subprocess.run(
        command, env=environment(temp), capture_output=True, text=True, timeout=180, check=False
    )


def test_every_type_holds_every_photo_once(tmp_path: Path) -> None:
    requires(azurite.available(), azurite.PACKAGE)
    told = run(tmp_path)
    assert told.returncode == 0, told.stdout + told.stderr
    for name in places.NINE:
        assert f"✓ {name}" in told.stdout
    assert "sha1" in told.stdout
    assert "quickxor" in told.stdout
    assert not processes(tmp_path)
    assert not list(tmp_path.glob("conveyor-*"))
