"""The ground that walks share, in memory where the machine has such a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conveyor import log
from conveyor.testing.clock import FakeClock
from simulation.database import template
from simulation.world import Ground


class Quiet:
    """A logger that says nothing, except that a defect is one."""

    def bind(self, **_: object) -> Quiet:
        return self

    def debug(self, event: str, **fields: object) -> None:
        """Nothing."""

    info = warning = error = debug

    def exception(self, event: str, **fields: object) -> None:
        raise AssertionError(f"defect: {event} {fields}")


@pytest.fixture
def ground(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    monkeypatch.setattr(log, "get", lambda **_: Quiet())
    monkeypatch.setattr("conveyor.delivery.broker.LEDGER_PAUSE", 0.0)
    # Steps take no time here: a claim would stay fresh through whatever happens meanwhile.
    monkeypatch.setattr("conveyor.delivery.context.FRESH", 0.0)
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Ground(Path(folder), template(Path(folder), FakeClock()))
