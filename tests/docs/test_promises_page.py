"""The page of promises says what the suite says, promise by promise."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from conveyor.testing import Bench, Observer
from conveyor.testing.suite.promises import PAGE, PROMISES, broken

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| .+ \|$", re.MULTILINE)


def test_the_page_has_every_promise_in_the_words_of_the_suite() -> None:
    promises, _, _ = (ROOT / PAGE).read_text().partition("## The bench")
    assert dict(ROW.findall(promises)) == PROMISES


def test_the_page_has_all_that_a_bench_takes_and_an_observer_does() -> None:
    _, _, bench = (ROOT / PAGE).read_text().partition("## The bench")
    arguments, _, methods = bench.partition("An observer is")
    named = re.findall(r"^\| `(\w+)", arguments, re.MULTILINE)
    assert sorted(named) == sorted(field.name for field in dataclasses.fields(Bench))
    public = [name for name in vars(Observer) if not name.startswith("_")]
    assert sorted(re.findall(r"^\| `(\w+)\(", methods, re.MULTILINE)) == sorted(public)


@pytest.mark.parametrize("promise", PROMISES)
def test_a_failure_names_the_promise_and_where_it_is_written(promise: str) -> None:
    with pytest.raises(pytest.fail.Exception) as told:
        broken(promise, "this was seen")
    text = str(told.value)
    assert text.startswith(f"broken promise '{promise}': {PROMISES[promise]}\n")
    assert "this was seen" in text
    assert text.endswith(f"\n    written in {PAGE}")
