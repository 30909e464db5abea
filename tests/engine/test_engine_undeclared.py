"""A connector that does what the contract does not allow: the record says whose mistake it is, and where."""

from __future__ import annotations

import re
from typing import Any

import pytest

from conveyor.contract import ErrorKind
from conveyor.testing.scripted import Script, ScriptedConnector
from conveyor.testing.simulation import Simulation


def last_error(sim: Simulation) -> str:
    """Of one delivery's first attempt."""
    ident = sim.submit()["here"]
    sim.step()
    (attempt,) = sim.attempts(ident)
    assert attempt.kind == ErrorKind.TRANSIENT
    return str(attempt.message)


def test_an_undeclared_error_tells_the_line_of_the_connectors_own_code(sim: Simulation, here: Script) -> None:
    def surprise(*_: Any) -> Any:
        return {}["missing"]

    here.then(surprise)
    told = last_error(sim)
    assert re.fullmatch(r"the connector failed unexpectedly: KeyError: 'missing' \(scripted\.py:\d+\)", told)


def test_an_error_outside_the_connectors_code_tells_no_line(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(self: Any, *_: Any) -> Any:
        return {}["missing"]

    monkeypatch.setattr(ScriptedConnector, "deliver", missing)
    assert last_error(sim) == "the connector failed unexpectedly: KeyError: 'missing'"


@pytest.mark.parametrize("returned", [None, "a/path"])
def test_what_is_no_receipt_is_the_connectors_mistake(sim: Simulation, here: Script, returned: Any) -> None:
    here.then(lambda *_: returned)
    told = f"deliver() returned {type(returned).__name__}, not Receipt"
    assert last_error(sim) == f"the connector failed unexpectedly: TypeError: {told}"
