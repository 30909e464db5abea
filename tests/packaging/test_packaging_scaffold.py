"""``conveyor plugin new``: what it writes passes in a clean environment with the built wheel."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import NAME, Built, Environment, closure, link_into, run

QUICK = "conflict or status or bytes or find or name"
"""Of the suite what takes no second each; ``make test-long`` runs it whole."""


@pytest.fixture(scope="module")
def workbench(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """What ``pip install -r requirements-test.txt`` makes: the wheel with its extra, and a build backend."""
    folder = tmp_path_factory.mktemp("workbench")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    environment = Environment(folder)
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet"]
    run(*pip, "--no-index", "--no-deps", built.wheel)
    site = Path(environment.python("import sysconfig; print(sysconfig.get_path('purelib'))"))
    declared = environment.python(f"import importlib.metadata as m; print(*m.requires({NAME!r}), sep='\\n')")
    for found in closure([*declared.splitlines(), "hatchling"], "testing"):
        link_into(site, found)
    return environment


@pytest.fixture(scope="module")
def plugin(workbench: Environment, built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plugin as it is written, installed beside the wheel by the command that its README gives."""
    folder = tmp_path_factory.mktemp("plugin") / "conveyor-acme-files"
    done = workbench.run(
        "conveyor", "plugin", "new", "acme-files", "--folder", str(folder), "--conveyor", str(built.wheel)
    )
    assert done.returncode == 0, done.stderr
    (command,) = re.findall(r"^pip (install -r .*)$", (folder / "README.md").read_text(), re.MULTILINE)
    # A wheel rather than links into the source, which would need one more build tool.
    wanted = (folder / "requirements-test.txt").read_text()
    (folder.parent / "requirements-test.txt").write_text(wanted.replace("-e .", "."))
    words = command.replace("-r ", "-r ../").split()
    pip = [sys.executable, "-m", "pip", "--python", workbench.folder / "bin" / "python", *words, "--quiet"]
    subprocess.run([*pip, "--no-index", "--no-build-isolation"], cwd=folder, check=True, timeout=120)
    return folder


def test_its_example_is_a_configuration(workbench: Environment, plugin: Path, tmp_path: Path) -> None:
    config = tmp_path / "conveyor.yaml"
    done = workbench.run("conveyor", "--config", str(config), "init", "--type", "acme_files")
    assert done.returncode == 0, done.stdout + done.stderr
    done = workbench.run("conveyor", "--config", str(config), "validate", TOKEN="a-token")
    assert done.returncode == 0, done.stdout + done.stderr


def passes(workbench: Environment, plugin: Path, *arguments: str) -> int:
    """Run the plugin's tests in its environment; returns how many passed."""
    program = workbench.folder / "bin" / "python"
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(workbench.folder), "LANG": "C.UTF-8", "CI": "true"}
    done = subprocess.run(
        [program, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=plugin, env=environ, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None, done.stdout
    return int(passed[1])


def test_what_is_written_passes_before_a_line_is_edited(workbench: Environment, plugin: Path) -> None:
    assert passes(workbench, plugin, "-k", QUICK) > 40


@pytest.mark.long
def test_all_that_is_written_passes_and_is_reported(workbench: Environment, plugin: Path) -> None:
    report = plugin.parent / "report.md"
    assert passes(workbench, plugin, "--conveyor-report", str(report)) > 110
    assert "acme_files" in report.read_text()


def test_the_type_is_listed_beside_the_built_in_ones(workbench: Environment, plugin: Path) -> None:
    done = workbench.run("conveyor", "connectors")
    assert "acme_files" in done.stdout
    assert "webhook" in done.stdout
    done = workbench.run("conveyor", "plugins")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "conveyor-acme-files 0.1.0" in done.stdout


def test_the_tests_install_the_conveyor_that_was_named(plugin: Path, built: Built) -> None:
    lines = (plugin / "requirements-test.txt").read_text().splitlines()
    assert lines[1:] == [f"{NAME}[testing] @ {built.wheel.as_uri()}", "-e ."]
