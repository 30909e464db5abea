"""Fixtures of the command line's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.operator_line import OperatorLine, operator_line


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OperatorLine]:
    """The command line over a simulated installation."""
    with operator_line(tmp_path, monkeypatch) as line:
        yield line
