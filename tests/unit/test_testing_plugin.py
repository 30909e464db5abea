"""The plugin's promises: skips are counted with their reasons, an empty suite fails, CI accepts no lack."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import pytest
from conveyor.testing.plugin import requires

@pytest.mark.connector_suite
class TestThing:
{body}
"""


def run(folder: Path, body: str, *arguments: str, ci: bool = False) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers -p no:cacheprovider\n")
    (folder / "test_thing.py").write_text(SUITE.format(body=body))
    env = {**os.environ, "CI": "true" if ci else ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_skips_are_counted_by_reason(tmp_path: Path) -> None:
    body = (
        "    def test_a(self): pass\n"
        "    def test_b(self): pytest.skip('no quota there')\n"
        "    def test_c(self): pytest.skip('no quota there')\n"
    )
    told = run(tmp_path, body)
    assert told.returncode == 0, told.stdout
    assert "TestThing: 1 run, 2 skipped" in told.stdout
    assert "2 x no quota there" in told.stdout


def test_suite_that_ran_nothing_fails(tmp_path: Path) -> None:
    told = run(tmp_path, "    def test_a(self): pytest.skip('whatever')\n")
    assert told.returncode == pytest.ExitCode.TESTS_FAILED
    assert "nothing of this suite ran" in told.stdout


def test_one_chosen_test_may_be_skipped(tmp_path: Path) -> None:
    told = run(tmp_path, "    def test_a(self): pytest.skip('whatever')\n", "-k", "test_a")
    assert told.returncode == 0, told.stdout


def test_missing_server_is_a_skip_for_a_person_and_a_failure_on_ci(tmp_path: Path) -> None:
    body = "    def test_a(self): requires(False, 'openssh-server')\n"
    person = run(tmp_path, body)
    assert person.returncode == 0, person.stdout
    assert "not installed: openssh-server" in person.stdout
    ci = run(tmp_path, body, ci=True)
    assert ci.returncode == pytest.ExitCode.TESTS_FAILED
    assert "not installed: openssh-server" in ci.stdout
