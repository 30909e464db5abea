"""The shape of the repository: what each root holds, how large a file grows, what stands in one place."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import other_dav

from conveyor.version import requirement

ROOT = Path(__file__).parents[2]
SOURCES = {"engine": "conveyor", "connectors": "conveyor_connectors"}
PLUGINS = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "plugins").glob("*/src"))]
CODE_LINES, TEST_LINES, FUNCTION_LINES, MEDIAN_LINES = 500, 800, 60, 150
VERBS = {"help", "run", "test", "test-fast", "test-long", "bench", "lint", "format", "docs", "build", "clean"}


def python_files(*folders: str) -> list[Path]:
    return [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(file: Path) -> int:
    return len(file.read_text().splitlines())


@pytest.mark.parametrize("root", SOURCES)
def test_each_source_root_holds_exactly_one_child(root: str) -> None:
    children = {child.name for child in (ROOT / root).iterdir()} - {"__pycache__"}
    assert children == {SOURCES[root]}, (
        "whatever lies directly in a source root becomes importable by everybody"
    )


def test_no_file_is_larger_than_a_reader_holds_in_mind() -> None:
    code = python_files(*SOURCES, *PLUGINS)
    large = [str(f.relative_to(ROOT)) for f in code if length(f) > CODE_LINES]
    large += [str(f.relative_to(ROOT)) for f in python_files("tests") if length(f) > TEST_LINES]
    assert not large
    assert statistics.median(length(f) for f in code) < MEDIAN_LINES


def test_no_function_is_longer_than_a_screen() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno} {node.name}"
        for file in python_files(*SOURCES, *PLUGINS)
        if "migrations" not in file.parts  # a listing of columns, written once
        for node in functions(file)
        if (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES
    ]
    assert not found


def test_nothing_is_left_for_later() -> None:
    later = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b")
    found = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in python_files(*SOURCES, *PLUGINS)
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if later.search(line)
    ]
    assert not found


def test_test_files_have_names_of_their_own() -> None:
    names = [file.name for file in python_files("tests") if file.name.startswith("test_")]
    assert sorted(names) == sorted(set(names))


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["hatch"]["version"]["path"] == "engine/conveyor/version.py"


def spoken(file: Path) -> Iterator[str]:
    """What a module may say to a user: its strings, without docstrings and the like."""
    tree = ast.parse(file.read_text())
    silent = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
            yield node.value


def test_the_name_of_the_distribution_stands_in_one_place() -> None:
    name = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"]
    install = re.compile(rf"{name}\[|pip install \W*{name}\b")
    found = [
        f"{file.relative_to(ROOT)}: {text}"
        for file in python_files(*SOURCES, *PLUGINS)
        for text in spoken(file)
        if install.search(text)
    ]
    assert not found, "conveyor.version.requirement() knows it"
    assert requirement("s3") == f"{name}[s3]"


def test_the_licence_is_named_and_present() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License\n")


def test_make_help_lists_every_verb() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True)
    listed = dict(re.findall(r"^  make (\S+) +(\S.*)$", done.stdout, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert set(listed) == set(phony[1].split()) == VERBS


def test_ci_runs_what_a_person_runs() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert lines[-1] == "CI=true exec make test"


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").glob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_executable_and_parse(script: Path) -> None:
    assert script.stat().st_mode & 0o111
    subprocess.run(["sh", "-n", script], timeout=20, check=True)


def test_every_server_of_the_tests_is_installed_by_ci() -> None:
    modules = (ROOT / "tests" / "servers").glob("*.py")
    named = {
        n for module in modules for n in re.findall(r'^PACKAGE = "([\w-]+)', module.read_text(), re.MULTILINE)
    }
    named.update(" ".join(other_dav.PACKAGES.values()).split())
    listed = (ROOT / "scripts" / "debian-packages.txt").read_text().splitlines()
    debian = [line.removeprefix("long: ") for line in listed]
    npm = (ROOT / "scripts" / "npm-packages.txt").read_text().splitlines()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wheels = {re.split(r"[\[<>=]", line)[0] for extra in ("demo", "dev") for line in extras[extra]}
    assert named
    assert named <= set(debian) | wheels | {line.partition("@")[0] for line in npm}
