"""Mistakes that an author makes at first: ``conveyor test`` tells the one that matters, and its line."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from cli.operator_line import OperatorLine

PLUGIN = """
from conveyor.contract import ConnectorSpec, Options
from conveyor.hookspecs import hookimpl

class Mine:
    def __init__(self, options, env):
        pass
{methods}
SPEC = ConnectorSpec(type="mine", summary="Mine", factory="mistaken:Mine", options="mistaken:Options")

@hookimpl
def conveyor_connectors():
    return [SPEC]
"""


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    sys.modules.pop("mistaken", None)


@pytest.mark.parametrize(
    ("methods", "told"),
    [
        ("", "AttributeError: 'Mine' object has no attribute 'check'"),
        ("    def check(self, context):\n        return {}['x']\n", "KeyError: 'x' (mistaken.py:9)"),
        (
            "    def check(self, context): ...\n    def close(self): ...\n",
            "check() returned NoneType",
        ),
    ],
    ids=["no check", "an error", "no report"],
)
def test_the_first_trouble_is_told(operator: OperatorLine, methods: str, told: str) -> None:
    (operator.folder / "mistaken.py").write_text(PLUGIN.format(methods=methods))
    config = operator.folder / "conveyor.yaml"
    config.write_text(config.read_text() + "plugins: [./mistaken.py]\n")
    config.write_text(config.read_text().replace("destinations:\n", "destinations:\n  m: {type: mine}\n", 1))
    ended = operator("test", "m")
    assert ended.code == 1
    assert told in ended.out + ended.err
