"""The plugins in ``plugins/``: each built, installed beside Conveyor, and proved there by its own tests."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import conveyor

from .conftest import make_environment, run

if TYPE_CHECKING:
    from .conftest import Built, Environment

pytestmark = pytest.mark.xdist_group("packaging")

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))
PUBLIC = {"conveyor.contract", "conveyor.hooks", "conveyor.hookspecs", "conveyor.kit"}
"""What the compatibility promise covers; ``conveyor.testing`` comes to it in tests."""
PUBLIC |= {f"conveyor.{name}" for name in conveyor.__all__}
"""What applications import: a payload source submits ``conveyor.Item``."""
SECONDS = 240
named = pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)


@pytest.fixture(scope="session")
def plugged(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """One environment with Conveyor's wheel and every plugin's."""
    out = tmp_path_factory.mktemp("plugins")
    for plugin in PLUGINS:
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, plugin)
    return make_environment(tmp_path_factory.mktemp("plugged"), built.wheel, *sorted(out.glob("*.whl")))


def imported(folder: Path) -> Iterator[tuple[str, str]]:
    """The modules and names of Conveyor that code in this folder imports, each with the file."""
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                if name.partition(".")[0] in ("conveyor", "conveyor_connectors"):
                    yield name, str(file.relative_to(ROOT))


def promised(report: str) -> list[str]:
    """What a report, or the README that took it over, says that connectors promise."""
    found = re.findall(r"^It promises:\n\n((?:\* .*\n)+)", report, re.MULTILINE)
    return [line for block in found for line in block.splitlines()]


def test_there_are_plugins() -> None:
    assert PLUGINS


@named
def test_a_plugin_imports_only_what_is_promised(plugin: Path) -> None:
    for folder, allowed in (("src", PUBLIC), ("tests", PUBLIC | {"conveyor.testing"})):
        stray = [
            (name, file)
            for name, file in imported(plugin / folder)
            if not any(name == known or name.startswith(f"{known}.") for known in allowed)
        ]
        assert not stray


@named
def test_a_plugin_is_listed_with_what_it_brings(plugin: Path, plugged: Environment) -> None:
    done = plugged.run("conveyor", "plugins")
    assert done.returncode == 0, done.stderr
    project = tomllib.loads((plugin / "pyproject.toml").read_text())["project"]
    (name,) = project["entry-points"]["conveyor"]
    assert re.search(rf"{name}\b.*{project['name']} {project['version']}", done.stdout), done.stdout


@named
def test_a_plugin_passes_its_own_tests(plugin: Path, plugged: Environment, tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    done = plugged.run(
        *("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:xdist"),
        *(f"--conveyor-report={report}", str(plugin)),
        timeout=SECONDS,
        PYTHONDONTWRITEBYTECODE="1",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert promised(report.read_text()) == promised((plugin / "README.md").read_text()), report.read_text()
