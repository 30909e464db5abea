"""The page of promises says what the suite says, promise by promise."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from conveyor.testing import Bench, Observer
from conveyor.testing.promises import PROMISES, text_of
from conveyor.testing.suite.promises import broken

PAGE = Path(__file__).parents[2] / "docs" / "testing-a-connector.md"
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", re.MULTILINE)


def test_the_page_has_every_promise_in_the_words_of_the_suite() -> None:
    promises, _, _ = PAGE.read_text().partition("## The bench")
    assert [(name, tuple(rest)) for name, *rest in ROW.findall(promises)] == list(PROMISES.items())


def test_the_page_has_all_that_a_bench_takes_and_an_observer_does() -> None:
    _, _, bench = PAGE.read_text().partition("## The bench")
    arguments, _, methods = bench.partition("An observer is")
    named = re.findall(r"^\| `(\w+)", arguments, re.MULTILINE)
    assert sorted(named) == sorted(field.name for field in dataclasses.fields(Bench))
    public = [name for name in vars(Observer) if not name.startswith("_")]
    assert sorted(re.findall(r"^\| `(\w+)\(", methods, re.MULTILINE)) == sorted(public)


@pytest.mark.parametrize("promise", PROMISES)
def test_a_failure_says_all_that_is_written_of_the_promise(promise: str) -> None:
    with pytest.raises(pytest.fail.Exception) as told:
        broken(promise, "this was seen")
    text = str(told.value)
    assert text.startswith(f"broken promise '{promise}': {PROMISES[promise].says}\n    this was seen\n")
    assert f"    usually broken by: {PROMISES[promise].broken_by}\n" in text
    assert text.endswith("\n    all promises: python -m conveyor.testing.promises")


def test_an_unknown_promise_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SystemExit, match=r"named atomci; there are bytes, .*atomic"):
        text_of("atomci")
