"""The engine's own code on a simulated clock, ledger, broker and destination: nothing lost, nothing twice."""

from __future__ import annotations

import os

import pytest

from simulation.exploring import explore
from simulation.world import Ground

LONG_WALKS = int(os.environ.get("CONVEYOR_WALKS", "1500"))


def test_short_walks(ground: Ground) -> None:
    explore(ground, walks=15, rules=25)
    assert ground.steps > 2_000


@pytest.mark.long
def test_long_walks(ground: Ground) -> None:
    """Other walks in each run; what breaks one is printed, and kept by Hypothesis for the next run."""
    explore(ground, walks=LONG_WALKS, rules=60, derandomize=False)
    assert ground.steps > LONG_WALKS * 200
