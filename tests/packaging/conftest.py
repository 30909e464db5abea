"""What is shipped, built once, and an environment that holds it with nothing but its declared dependencies.

Nothing here needs a network: the build backend is part of the set-up, and the dependencies of the bare
environment are links to the ones that the set-up installed. The tests of this folder are
one group (``distribution.py``), so that one process builds for all.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
NAME: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"]


@dataclass(frozen=True)
class Built:
    wheel: Path
    sdist: Path


@dataclass(frozen=True)
class Environment:
    """A virtual environment of its own."""

    folder: Path

    def run(self, *command: str, timeout: float = 60, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a program of this environment in an empty folder; its output is text.

        Args:
            command: Its name and arguments.
            timeout: Seconds.
            more: Further variables of its environment.
        """
        empty = self.folder / "empty"
        empty.mkdir(exist_ok=True)
        program = self.folder / "bin" / command[0]
        environ = {"PATH": "/usr/bin:/bin", "HOME": str(empty), "LANG": "C.UTF-8", "COLUMNS": "120"} | more
        if authorities := os.environ.get("SSL_CERT_FILE"):
            environ["SSL_CERT_FILE"] = authorities  # tests/conftest.py says why
        return subprocess.run(
            [program, *command[1:]],
            cwd=empty, env=environ, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    def python(self, code: str) -> str:
        done = self.run("python", "-c", code)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def run(*command: str | Path) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def closure(requirements: list[str], extra: str = "") -> Iterator[Distribution]:
    """The installed distributions that these requirements ask for, and those that they ask for."""
    seen: set[str] = set()
    queue = [(text, extra) for text in requirements]
    while queue:
        text, asked = queue.pop()
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": asked}):
            continue
        found = distribution(requirement.name)
        for inner in ["", *requirement.extras]:
            key = f"{requirement.name.lower()}[{inner}]"
            if key not in seen:
                seen.add(key)
                queue.extend((next_text, inner) for next_text in found.requires or [])
                yield found


def link_into(site: Path, found: Distribution) -> None:
    """Make a distribution importable from another environment without copying it."""
    for file in found.files or []:
        top = file.parts[0]
        if top in ("..", "__pycache__") or (site / top).exists():
            continue
        (site / top).symlink_to(Path(str(found.locate_file(top))).resolve())


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The source distribution, and the wheel made from it, so that each proves the other complete."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT)
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return Built(wheel, sdist)


def make_environment(folder: Path, *wheels: Path) -> Environment:
    """A new environment with these wheels and with links to the dependencies that they declare."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet"]
    run(*pip, "--no-index", "--no-deps", *wheels)
    environment = Environment(folder)
    site = Path(environment.python("import sysconfig; print(sysconfig.get_path('purelib'))"))
    names = [wheel.name.partition("-")[0].replace("_", "-") for wheel in wheels]
    for number, name in enumerate(names):  # the first is Conveyor; plugins bring what their tests need
        code = f"import importlib.metadata as m; print(*m.requires({name!r}) or [], sep='\\n')"
        declared = environment.python(code).splitlines()
        for found in closure(declared, "testing" if number else ""):
            if found.name.lower() not in names:
                link_into(site, found)
    return environment


@pytest.fixture(scope="session")
def bare(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel and its dependencies, without a single extra and without the tree."""
    return make_environment(tmp_path_factory.mktemp("bare"), built.wheel)
