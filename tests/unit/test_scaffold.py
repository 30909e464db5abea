"""``conveyor plugin new``: names, versions and folders that it takes, and those that it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from conveyor.errors import UsageError
from conveyor.scaffold import LAYOUT, conveyor_requirement, names_of, write
from conveyor.version import __version__, requirement


@pytest.mark.parametrize("name", ["acme", "conveyor-acme", "conveyor_acme"])
def test_one_name_becomes_all_that_are_needed(name: str) -> None:
    assert names_of(name) == {
        "type": "acme",
        "package": "conveyor_acme",
        "distribution": "conveyor-acme",
        "class": "Acme",
    }


def test_words_are_joined_as_each_name_wants(tmp_path: Path) -> None:
    folder = write("acme-big_files", tmp_path / "x")
    text = (folder / "src/conveyor_acme_big_files/connector.py").read_text()
    assert "class AcmeBigFiles:" in text
    assert 'name = "conveyor-acme-big-files"' in (folder / "pyproject.toml").read_text()
    assert not [p for p in folder.rglob("*") if p.is_file() and "@type@" in p.read_text()]
    assert len([p for p in folder.rglob("*") if p.is_file()]) == len(LAYOUT) + 1
    for file in folder.rglob("*.py"):
        compile(file.read_text(), str(file), "exec")


@pytest.mark.parametrize("name", ["", "Acme", "9lives", "a b", "../x", "class", "a--b", "-a"])
def test_a_name_that_cannot_be_one_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot name a plugin"):
        write(name, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(UsageError, match="is there already"):
        write("acme", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_conveyor_is_named_by_version_or_path(tmp_path: Path) -> None:
    assert conveyor_requirement(None) == f"{requirement('testing')}>={__version__}"
    assert conveyor_requirement("1.2.3") == f"{requirement('testing')}==1.2.3"
    assert conveyor_requirement(str(tmp_path)).endswith(f"@ {tmp_path.as_uri()}")
    with pytest.raises(UsageError, match="neither a version nor a file"):
        conveyor_requirement("nowhere.whl")
