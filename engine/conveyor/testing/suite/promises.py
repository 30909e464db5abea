"""A failure of the suite: it names the promise that was broken, what usually breaks it, and what was seen."""

from __future__ import annotations

from typing import NoReturn

import pytest

from conveyor.testing.promises import PROMISES


def broken(promise: str, detail: str, cause: BaseException | None = None) -> NoReturn:
    """Fail the test with the promise that was broken and how."""
    says, broken_by = PROMISES[promise]
    text = (
        f"broken promise '{promise}': {says}\n    {detail}\n    usually broken by: {broken_by}\n"
        "    all promises: python -m conveyor.testing.promises"
    )
    try:
        pytest.fail(text, pytrace=False)
    except pytest.fail.Exception as failure:
        raise failure from cause


def keeps(promise: str, kept: object, detail: str) -> None:
    """Fail with the promise unless ``kept``."""
    if not kept:
        broken(promise, detail)
