"""docs/contract.md says what conveyor.contract says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conveyor import contract

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> str:
    page = tmp_path_factory.mktemp("page") / "contract.md"
    script = ROOT / "scripts" / "contract_page.py"
    subprocess.run([sys.executable, script, page], check=True, timeout=60)
    return page.read_text(encoding="utf-8")


def test_the_page_is_current(made: str) -> None:
    assert (ROOT / "docs" / "contract.md").read_text(encoding="utf-8") == made, "run: make docs"


def test_each_name_and_each_capability_has_its_words(made: str) -> None:
    for name in set(contract.__all__) - {"CONTRACT_VERSION"}:
        assert f"### `{name}`\n\n" in made
    promises = made.partition("### `Capabilities`")[2].partition("###")[0].splitlines()
    for name in contract.Capabilities.__dataclass_fields__:
        (row,) = (line for line in promises if line.startswith(f"| `{name}: "))
        assert len(row.split(" | ")[1]) > 20, row
    for kind in contract.ErrorKind:
        assert f"| `{kind.name}` | " in made
