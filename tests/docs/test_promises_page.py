"""The page of promises says what the suite says, promise by promise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conveyor.testing.suite.promises import PAGE, PROMISES, broken

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| .+ \|$", re.MULTILINE)


def test_the_page_has_every_promise_in_the_words_of_the_suite() -> None:
    assert dict(ROW.findall((ROOT / PAGE).read_text())) == PROMISES


@pytest.mark.parametrize("promise", PROMISES)
def test_a_failure_names_the_promise_and_where_it_is_written(promise: str) -> None:
    with pytest.raises(pytest.fail.Exception) as told:
        broken(promise, "this was seen")
    text = str(told.value)
    assert text.startswith(f"broken promise '{promise}': {PROMISES[promise]}\n")
    assert "this was seen" in text
    assert text.endswith(f"\n    written in {PAGE}")
