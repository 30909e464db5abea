"""A simulated engine and the script of its one destination."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conveyor.testing.scripted import Script, forget_scripts, script
from conveyor.testing.simulation import Simulation


@pytest.fixture(autouse=True)
def _fresh_scripts() -> None:
    forget_scripts()


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[Simulation]:
    simulation = Simulation(tmp_path)
    yield simulation
    simulation.close()


@pytest.fixture
def here(sim: Simulation) -> Script:
    return script("here")
