"""Each destination's page says what an operator has to know about it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[2] / "docs" / "destinations").glob("*.md"))
PARTS = {
    "what to create there, with the least privilege": r"^## What to create",
    "guarantees": r"^## .*[Gg]uarantees",
    "limits": r"^## .*[Ll]imits",
    "typical errors and their cures": r"^## Typical errors$",
    "all options": r"\]\(\.\./configuration\.md#type-",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
@pytest.mark.parametrize("part", PARTS)
def test_the_page_has(page: Path, part: str) -> None:
    assert re.search(PARTS[part], page.read_text(), re.MULTILINE), f"{page.name} lacks {part}"
