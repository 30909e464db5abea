"""The plugin's promises: skips are counted with their reasons, an empty suite fails, CI accepts no lack."""

from __future__ import annotations

import json
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


MIXED = (
    "    def test_a(self): pass\n"
    "    @pytest.mark.parametrize('size', [1, 2])\n"
    "    def test_b(self, size): pass\n"
    "    def test_c(self): pytest.skip('no quota there')\n"
    "    def test_d(self): pytest.fail('broken promise: atomic\\n    half a file', pytrace=False)\n"
)


def test_the_report_tells_what_ran_what_did_not_and_what_failed(tmp_path: Path) -> None:
    assert run(tmp_path, MIXED, "--conveyor-report", "out/report.md").returncode == 1
    report = (tmp_path / "out" / "report.md").read_text()
    assert "TestThing: **3 passed, 1 failed, 1 skipped.**" in report
    assert "* `test_b` (2 variants)" in report
    assert "* no quota there: `test_c`" in report
    assert "* `test_d`: broken promise: atomic\n" in report


def test_the_report_is_the_same_from_parallel_processes(tmp_path: Path) -> None:
    for name, words in (("one.json", ()), ("two.json", ("-n", "2"))):
        assert run(tmp_path, MIXED, "--conveyor-report", name, *words).returncode == 1
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("one.json", "two.json"))
    assert one == two
    assert one["suites"][0]["count"] == {"passed": 3, "failed": 1, "skipped": 1}


def test_the_report_of_a_real_suite_has_the_connectors_promises(tmp_path: Path) -> None:
    (tmp_path / "test_memory.py").write_text(
        "from conveyor.testing import ConnectorSuite, MemoryServer\n"
        "from conveyor.testing.memory_bench import memory_bench\n"
        "import pytest\n\n"
        "class TestMemory(ConnectorSuite):\n"
        "    @pytest.fixture(scope='class')\n"
        "    @classmethod\n"
        "    def bench(cls):\n"
        "        with MemoryServer() as server:\n"
        "            yield memory_bench(server)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "close_twice"]
    done = subprocess.run(
        [*command, "--conveyor-report=report.md"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    report = (tmp_path / "report.md").read_text()
    assert "## `memory`: " in report
    assert "a reader never sees a part of a file" in report
