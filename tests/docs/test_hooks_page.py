"""docs/hooks.md describes every hook with its exact signature, and every hook is implemented in a test."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from conveyor import hooks, hookspecs

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "hooks.md").read_text()
HOOKS = {name: spec for name, spec in vars(hookspecs).items() if name.startswith("conveyor_")}
TESTS = [file for file in (ROOT / "tests").rglob("*.py") if file != Path(__file__)]


def section(name: str) -> str:
    found = re.search(rf"^### `{name}\(.*?(?=^##)", PAGE + "\n## end", re.MULTILINE | re.DOTALL)
    assert found is not None, f"docs/hooks.md has no heading for {name}"
    return found.group()


@pytest.mark.parametrize("name", HOOKS)
def test_the_page_has_the_exact_signature(name: str) -> None:
    heading = section(name).splitlines()[0]
    written = str(inspect.signature(HOOKS[name])).replace("'", "")
    assert heading == f"### `{name}{written}`"


@pytest.mark.parametrize("name", HOOKS)
def test_the_page_says_when_in_which_order_and_what_an_error_does(name: str) -> None:
    text = section(name)
    first = str(HOOKS[name].__doc__).split(":")[0].split(".")[0]
    assert " ".join(first.split()) in " ".join(text.replace("`", "").split())
    for word in ("Called:", "Order:", "Raises:"):
        assert f"* {word}" in text, f"{name} does not say {word}"


def test_the_page_describes_no_hook_that_is_not_there() -> None:
    assert set(re.findall(r"^### `(\w+)\(", PAGE, re.MULTILINE)) == set(HOOKS)


@pytest.mark.parametrize("name", HOOKS)
def test_a_test_implements_the_hook(name: str) -> None:
    implemented = re.compile(rf"def {name}\(")
    assert any(implemented.search(file.read_text()) for file in TESTS), f"no test implements {name}"


@pytest.mark.parametrize("name", hooks.__all__)
def test_what_hooks_are_handed_says_what_it_is(name: str) -> None:
    described = getattr(hooks, name)
    if inspect.isclass(described):
        assert (described.__doc__ or "").strip()
        assert not described.__doc__.startswith(f"{name}("), "dataclass made this one"
