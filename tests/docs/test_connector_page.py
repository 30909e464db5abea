"""The connectors of the pages for their authors pass the conformance suite, with the glue printed there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from servers.process import python_path

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "writing-a-connector.md"
SHORT = DOCS / "connector-in-ten-minutes.md"
BLOCK = re.compile(r"^```python[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def passes(tmp_path: Path, glue: str) -> int:
    """Run the glue; returns how many of its tests passed."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", glue],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": python_path(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None, done.stdout
    return int(passed[1])


def test_the_connector_on_the_page_passes_the_suite(tmp_path: Path) -> None:
    connector, glue, *_ = BLOCK.findall(PAGE.read_text())
    (tmp_path / "folder_connector.py").write_text(connector)
    (tmp_path / "test_folder_connector.py").write_text(glue)
    assert passes(tmp_path, "test_folder_connector.py") > 70


def test_the_connector_of_ten_minutes_is_short_and_passes_the_suite(tmp_path: Path) -> None:
    files = dict(
        re.findall(r"^```python file=(\S+)\n(.*?)^```$", SHORT.read_text(), re.MULTILINE | re.DOTALL)
    )
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert len(files["my_connector.py"].splitlines()) < 100
    told = re.search(r"TestTiny: (\d+) run", SHORT.read_text())
    assert told is not None
    assert passes(tmp_path, "test_my_connector.py") == int(told[1])


def packaged(folder: Path) -> str:
    """Install the connector beside the config, as a distribution with an entry point."""
    dist = folder / "folder_connector-1.dist-info"
    dist.mkdir()
    (dist / "METADATA").write_text("Metadata-Version: 2.1\nName: folder-connector\nVersion: 1\n")
    (dist / "entry_points.txt").write_text("[conveyor]\nfolder = folder_connector\n")
    return ""


def one_file(folder: Path) -> str:
    """Name the connector's file in the config; it lies where Python would not look for it."""
    (folder / "folder_connector.py").rename(folder / "plugins" / "folder_connector.py")
    return "plugins: [plugins/folder_connector.py]\n"


@pytest.mark.parametrize("install", [packaged, one_file])
def test_the_connector_on_the_page_can_be_configured(tmp_path: Path, install: Callable[[Path], str]) -> None:
    connector, *_ = BLOCK.findall(PAGE.read_text())
    (tmp_path / "plugins").mkdir()
    (tmp_path / "folder_connector.py").write_text(connector)
    settings = install(tmp_path)
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (tmp_path / "photo.jpg").write_bytes(b"a photo")
    (tmp_path / "conveyor.yaml").write_text(
        f"{settings}default_destinations: [inbox]\ndestinations:\n  inbox: {{type: folder, root: {inbox}}}\n"
    )
    commands = (
        ["send", "photo.jpg", "--session", "s"],
        ["run", "--until-idle", "--processes", "2"],
        ["test", "inbox"],
        ["plugins"],
    )
    for words in commands:
        done = subprocess.run(
            [sys.executable, "-m", "conveyor", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": python_path(tmp_path)},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "folder" in done.stdout
    assert [path.read_bytes() for path in inbox.rglob("*") if path.is_file()] == [b"a photo"]
