"""Violations of a vendor's rules, planted into a connector: each turns a named test red.

A table per connector, ``TYPE_violations.py``, says what is broken and which test notices::

    VIOLATIONS = Violations()


    @VIOLATIONS.add("no token goes to the upload address", "the_upload_address_gets_no_token", "401")
    def _(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(graph.Graph, "upload", upload_with_a_token)

and one test file makes a test of each line, which has the fixtures of the test that it runs::

    globals().update(noticing(VIOLATIONS, test_TYPE_behaviour))

Tests of the suite take the fixture ``bench``, which the file provides; no proxy and no second process.
"""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.testing import Bench, ConnectorSuite
from conveyor.testing.parcels import declaring

Plant = Callable[[pytest.MonkeyPatch], None]
Test = Callable[..., Any]


@dataclass(frozen=True)
class Violation:
    """A rule that is broken.

    Attributes:
        rule: In words; it names the test.
        test: Which notices, without ``test_``: a behaviour test, or one of the suite.
        shows: A pattern that its failure shows: in the message, or in the line of the test that failed.
        plant: Breaks it.
        given: What the test would be given by its parameters.
    """

    rule: str
    test: str
    shows: str
    plant: Plant
    given: dict[str, Any]


class Violations(list[Violation]):
    """A table; :meth:`add` is a decorator."""

    def add(self, rule: str, test: str, shows: str, **given: Any) -> Callable[[Plant], Plant]:
        """See :class:`Violation`."""

        def keep(plant: Plant) -> Plant:
            self.append(Violation(rule, f"test_{test}", shows, plant, given))
            return plant

        return keep


def once_more(
    patch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    kind: ErrorKind,
    between: Callable[[Any], object] = lambda _: None,
) -> None:
    """Have a method of ``owner`` tried a second time, at once, after an error of ``kind``.

    Args:
        patch: Takes it back.
        owner, name: Whose method.
        kind: Of the error.
        between: Done before the second time, with the object.
    """
    real = getattr(owner, name)

    def call(self: Any, *words: Any, **more: Any) -> Any:
        try:
            return real(self, *words, **more)
        except DeliveryError as error:
            if error.kind is not kind:
                raise
            between(self)
            return real(self, *words, **more)

    patch.setattr(owner, name, call)


def noticing(violations: Violations, *behaviours: ModuleType) -> dict[str, Test]:
    """A test of each violation, by name; the tests that notice are in these modules, or the suite's."""
    tests = {
        "test_a_violation_is_noticed_" + re.sub(r"\W+", "_", violation.rule): _noticing(violation, behaviours)
        for violation in violations
    }
    assert len(tests) == len(violations), "each rule has a name of its own"
    return tests


def _noticing(violation: Violation, behaviours: Sequence[ModuleType]) -> Test:
    own = (getattr(each, violation.test) for each in behaviours if hasattr(each, violation.test))
    run = next(own, None) or _of_the_suite(violation.test)
    signature = inspect.signature(run)
    assert set(violation.given) <= set(signature.parameters), violation.rule

    def test(**fixtures: Any) -> None:
        failed = None
        with pytest.MonkeyPatch.context() as patch:
            violation.plant(patch)
            try:
                run(**violation.given, **fixtures)
            except (Exception, pytest.fail.Exception) as error:
                failed = error
        assert failed is not None, f"{violation.test} did not notice"
        story = _story(failed, inspect.getsourcefile(run))
        assert re.search(violation.shows, story), f"{violation.test} failed otherwise:\n{story}"

    kept = [each for each in signature.parameters.values() if each.name not in violation.given]
    test.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    return test


def _of_the_suite(name: str) -> Test:
    """A test of the suite as a function, from an empty destination."""
    method = getattr(ConnectorSuite, name)

    def run(bench: Bench, **fixtures: Any) -> None:
        bench.eyes.wipe()
        with declaring(bench.spec.capabilities.digests):
            method(ConnectorSuite(), bench=bench, **fixtures)

    signature = inspect.signature(method)
    run.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]
    return run


def _story(error: BaseException, file: str | None) -> str:
    """What a failure says, and the lines of the test that it passed through."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [str(frame.line) for frame in frames if frame.filename == file or "/suite/" in frame.filename]
    return "\n".join([f"{type(error).__name__}: {error}", *lines])
