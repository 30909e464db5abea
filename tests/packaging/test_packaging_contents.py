"""What the wheel and the source distribution hold, and nothing else."""

from __future__ import annotations

import email
import tarfile
import tomllib
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .conftest import Built

ROOT = Path(__file__).parents[2]
PACKAGES = {"conveyor": ROOT / "engine", "conveyor_connectors": ROOT / "connectors"}
CODE = {".py", ".typed", ".sql", ".mako", ".ini", ".json", ".yaml", ".template"}
SDIST = {"engine", "connectors", "docs", "README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml"}
SDIST |= {"PKG-INFO", ".gitignore"}
"""What a source distribution has at its top; the last two are the build backend's own."""
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def wheel_names(built: Built) -> list[PurePosixPath]:
    with zipfile.ZipFile(built.wheel) as archive:
        return [PurePosixPath(name) for name in archive.namelist()]


def metadata_file(built: Built, name: str) -> str:
    with zipfile.ZipFile(built.wheel) as archive:
        (path,) = (n for n in archive.namelist() if n.endswith(f".dist-info/{name}"))
        return archive.read(path).decode()


def test_the_wheel_has_two_packages_and_nothing_else_at_its_top(built: Built) -> None:
    tops = {name.parts[0] for name in wheel_names(built)}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_the_wheel_holds_every_file_of_the_tree_and_no_stray_one(built: Built) -> None:
    shipped = {str(name) for name in wheel_names(built) if name.parts[0] in PACKAGES}
    tree = {
        str(file.relative_to(root))
        for package, root in PACKAGES.items()
        for file in (root / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert shipped == tree
    assert {PurePosixPath(name).suffix for name in shipped} <= CODE


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_says_that_it_is_typed(built: Built, package: str) -> None:
    assert PurePosixPath(package, "py.typed") in wheel_names(built)


def test_the_licence_is_shipped_whole(built: Built) -> None:
    licence = (ROOT / "LICENSE").read_text()
    assert licence.startswith("MIT License")
    assert "The Conveyor developers" in licence
    assert metadata_file(built, "licenses/LICENSE") == licence
    assert email.message_from_string(metadata_file(built, "METADATA"))["License-Expression"] == "MIT"


def test_the_metadata_carry_the_readme_and_every_extra(built: Built) -> None:
    metadata = email.message_from_string(metadata_file(built, "METADATA"))
    assert metadata["Name"] == PROJECT["name"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"])
    assert (ROOT / "README.md").read_text().strip() in str(metadata.get_payload())


def test_no_extra_is_needed_to_install(built: Built) -> None:
    metadata = email.message_from_string(metadata_file(built, "METADATA"))
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert len(required) == len(PROJECT["dependencies"])
    assert not [
        line for line in required if line.startswith(("boto3", "paramiko", "pytest", "hypothesis", "moto"))
    ]


def test_the_source_distribution_holds_what_is_listed_and_no_more(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        members = [PurePosixPath(m.name) for m in archive.getmembers() if m.isfile()]
    inside = {PurePosixPath(*member.parts[1:]) for member in members}
    tops = {path.parts[0] for path in inside}
    wanted = {
        "engine",
        "connectors",
        "docs",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "pyproject.toml",
        "PKG-INFO",
    }
    assert tops - {".gitignore", "config.example.yaml"} == wanted
    stray = {p for p in inside if p.parts[0] in ("engine", "connectors") and p.suffix not in CODE}
    assert not stray
