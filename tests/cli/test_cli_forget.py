"""``conveyor forget``."""

from __future__ import annotations

import pytest
from cli.operator_line import OperatorLine

from conveyor.errors import PayloadError
from conveyor.payloads import LocalStore


def stored(operator: OperatorLine) -> int:
    return len(list((operator.folder / "payloads").rglob("pay_*")))


def test_a_session_is_forgotten_with_its_bytes(operator: OperatorLine) -> None:
    ids = operator.simulation.submit(to=["backend"], session_id="ask", filename="face.jpg")
    operator.simulation.submit(to=["backend"], session_id="stay")
    assert operator.json("forget", "--session", "ask", "--dry-run")["forgotten"] is False
    assert stored(operator) == 2
    refused = operator("forget", "--session", "ask")
    assert (refused.code, "--yes" in refused.err) == (2, True)
    assert stored(operator) == 2
    said = operator("forget", "--session", "ask", "--yes")
    assert (said.code, said.out) == (0, "1 jobs forgotten\n")
    assert stored(operator) == 1
    shown = operator("show", ids["backend"]).out
    assert "face.jpg" not in shown
    assert "forgotten   " in shown
    assert operator("forget").code == 2
    again = operator("forget", "--session", "ask")
    assert (again.code, again.out) == (0, "no such job: unknown, or forgotten already\n")
    assert operator.json("forget", "--session", "ask") == {"jobs": [], "forgotten": False, "payloads_left": 0}


def test_bytes_that_cannot_be_removed_now_are_told_and_taken_by_an_engine(
    operator: OperatorLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator.simulation.submit(to=["backend"], session_id="ask")

    def away(self: LocalStore, record: object) -> None:
        raise PayloadError("the share is away")

    with monkeypatch.context() as patched:
        patched.setattr(LocalStore, "remove", away)
        said = operator("forget", "--session", "ask", "--yes")
    assert (said.code, "still to be removed" in said.out) == (1, True)
    assert stored(operator) == 1
    operator.simulation.parts.keeper.remove_payloads()
    assert stored(operator) == 0
