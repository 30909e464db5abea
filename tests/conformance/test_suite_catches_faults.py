"""The suite itself is tested: each planted fault is caught by the test that exists for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from servers.process import python_path

HERE = Path(__file__).parent / "planted"
sys.path.append(str(HERE))
try:
    from planted_table import FAULTS, Fault
finally:
    sys.path.remove(str(HERE))

COLLATERAL = 10
"""Most other tests that a narrow fault may break."""

Outcomes = dict[str, dict[str, list[str]]]
IDS = [fault.name for fault in FAULTS]


def _run(folder: Path, *, whole: bool) -> Outcomes:
    """Run the suites of the faulty connectors; returns failures by fault and test."""
    results = folder / "results.json"
    env = {**os.environ, "PYTHONPATH": python_path(HERE), "CONVEYOR_PLANTED_RESULTS": str(results)}
    if whole:
        env["CONVEYOR_PLANTED_WHOLE"] = "1"
    config = folder / "pytest.ini"
    config.write_text("[pytest]\naddopts = --import-mode=importlib -p no:cacheprovider -p planted_reporter\n")
    command = [sys.executable, "-m", "pytest", "-c", str(config), "--rootdir", str(folder)]
    command += ["--confcutdir", str(HERE), "-p", "no:randomly"]
    done = subprocess.run(
        [*command, str(HERE / "planted_suites.py")],
        env=env,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert results.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    outcomes: Outcomes = json.loads(results.read_text())
    return outcomes


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """Each fault, met by the one test that exists for it."""
    return _run(tmp_path_factory.mktemp("homes"), whole=False)


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """Each fault, met by the whole suite."""
    return _run(tmp_path_factory.mktemp("matrix"), whole=True)


@pytest.mark.parametrize("number", range(len(FAULTS)), ids=IDS)
def test_fault_is_caught_and_named(homes: Outcomes, number: int) -> None:
    fault = FAULTS[number]
    if fault.slow:
        pytest.skip("takes too long for every run; the campaign (make test-long) has it")
    _expect_home(homes, number, fault)


@pytest.mark.long
@pytest.mark.parametrize("number", range(len(FAULTS)), ids=IDS)
def test_fault_breaks_little_else(matrix: Outcomes, number: int) -> None:
    fault = FAULTS[number]
    _expect_home(matrix, number, fault)
    failing = set(matrix.get(str(number), {})) - {fault.home}
    assert fault.gross or len(failing) <= COLLATERAL, f"it also broke {sorted(failing)}"


def test_every_promise_has_a_planted_fault() -> None:
    from conveyor.testing.promises import PROMISES

    assert set(PROMISES) == {fault.promise for fault in FAULTS}


def _expect_home(outcomes: Outcomes, number: int, fault: Fault) -> None:
    told = outcomes.get(str(number), {}).get(fault.home, [])
    assert told, f"{fault.home} did not notice"
    assert any(f"broken promise '{fault.promise}'" in text for text in told), told[0][-1500:]
