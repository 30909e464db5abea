"""Each type has a suite for real accounts; docs/live-accounts.md names what it reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from servers.live import ACCOUNTS, TOKEN, expect_own, own

from conveyor.registry import default_registry
from conveyor.testing.bench import load
from conveyor.testing.plugin import UNSET

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "live-accounts.md").read_text()
SUITES = {kind: "ftp" if kind == "ftps" else kind for kind in ACCOUNTS}
"""FTP is one suite, over TLS or not."""
WITHOUT = {"webhook"}
"""What a receiver outside this machine has stored cannot be looked at."""


def rows(heading: str) -> dict[str, list[str]]:
    """A table's cells by the types in its first one."""
    table = PAGE.partition(heading)[2].partition("\n\n")[2].partition("\n\n")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {kind: rest for first, *rest in cells for kind in re.findall(r"`(\w+)`", first)}


def built_in() -> set[str]:
    return {s.type for s in default_registry().specs() if s.factory.startswith("conveyor_connectors.")}


def test_each_type_has_a_suite_and_the_page_says_how_to_run_it() -> None:
    assert set(ACCOUNTS) == built_in() - WITHOUT
    told = rows("## Least rights")
    assert set(told) == set(ACCOUNTS)
    for kind, suite in SUITES.items():
        assert told[kind][-1] == f"`tests/conformance/test_{suite}_live.py`"
        text = (ROOT / told[kind][-1].strip("`")).read_text()
        assert "pytestmark = pytest.mark.live" in text
        assert f'ACCOUNTS["{kind}"].given()' in text


@pytest.mark.parametrize("kind", ACCOUNTS)
def test_the_page_names_the_variables_that_are_read(kind: str) -> None:
    account = ACCOUNTS[kind]
    needed, optional = rows("which are missing.")[kind]
    said = {name: account.variable(name) for name in account.variables().values()}
    wanted = [" or ".join(f"`{said[one]}`" for one in each.split("|")) for each in account.needed]
    assert needed == ", ".join(wanted)
    assert optional == ", ".join(f"`{said[each]}`" for each in account.optional)


@pytest.mark.parametrize("kind", ACCOUNTS)
def test_a_variable_is_an_option(kind: str) -> None:
    spec = default_registry().spec(kind)
    options = set(load(spec.options).model_fields) | ({TOKEN} if spec.oauth else set())
    assert set(ACCOUNTS[kind].variables().values()) <= options


@pytest.mark.parametrize("kind", ACCOUNTS)
def test_nothing_set_skips_and_a_half_fails_both_with_names(kind: str) -> None:
    account = ACCOUNTS[kind]
    needed = [each.partition("|")[0] for each in account.needed]
    with pytest.raises(pytest.skip.Exception) as skipped:
        account.given({"CONVEYOR_LIVE_OTHER_TOKEN": "x"})
    assert str(skipped.value).startswith(UNSET)
    assert all(account.variable(each) in str(skipped.value) for each in needed)
    for left in needed:
        half = {account.variable(each): "x" for each in (*needed, *account.optional) if each != left}
        with pytest.raises(pytest.fail.Exception, match=account.variable(left)):
            account.given(half)
    whole = {account.variable(each): each for each in (*needed, *account.optional)}
    assert account.given(whole) == {each: each for each in (*needed, *account.optional)}


def test_only_what_is_named_for_it_is_emptied() -> None:
    expect_own("bucket", own())
    with pytest.raises(LookupError, match="photos"):
        expect_own("bucket", "photos")
