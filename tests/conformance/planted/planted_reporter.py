"""A pytest plugin that runs what the self-test wants and writes how it ended as JSON."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path

import pytest
from planted_table import FAULTS

RESULTS = "CONVEYOR_PLANTED_RESULTS"
WHOLE = "CONVEYOR_PLANTED_WHOLE"
"""Set: run the whole suite on each fault. Not set: only the test that must notice it."""

_outcomes: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))


def _number(nodeid: str) -> int:
    digits = nodeid.split("::Test", 1)[1]
    return int("".join(char for char in digits[:3] if char.isdigit()))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if WHOLE in os.environ:
        return
    wanted, rest = [], []
    for item in items:
        fault = FAULTS[_number(item.nodeid)]
        keep = not fault.slow and getattr(item, "originalname", None) == fault.home
        (wanted if keep else rest).append(item)
    config.hook.pytest_deselected(items=rest)
    items[:] = wanted


def pytest_runtest_setup(item: pytest.Item) -> None:
    """One failure of a test with many parameters is enough."""
    if getattr(item, "originalname", None) in _outcomes[_number(item.nodeid)]:
        pytest.skip("noticed already")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        test = report.nodeid.rpartition("::")[2].partition("[")[0]
        _outcomes[_number(report.nodeid)][test].append(str(report.longrepr))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        Path(os.environ[RESULTS]).write_text(json.dumps(_outcomes))
