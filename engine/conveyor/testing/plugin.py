"""The pytest plugin of the conformance suite, found by entry point.

It imports nothing but pytest at module level: every pytest run on a machine with Conveyor loads it, and it is
loaded before coverage starts to measure.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from typing import Any

import pytest

pytest.register_assert_rewrite("conveyor.testing.suite")

MISSING = "not installed: "
"""How the reason of a skip begins when a server's package is missing. Under ``CI=true`` it is a failure."""
UNSET = "not set: "
"""The same where the environment names no account: nobody has to have one."""


PROPERTY = "conveyor"
"""Under this name each test of a suite tells the connector it is about."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option for the report."""
    parser.getgroup("conveyor").addoption(
        "--conveyor-report",
        metavar="FILE",
        help="Write what each conformance suite ran and skipped, and what the connector promises: "
        "Markdown for a README, or JSON when FILE ends in .json.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the suite's markers and the summary."""
    config.addinivalue_line("markers", "connector_suite: part of a connector's conformance suite")
    config.addinivalue_line(
        "markers", "needs(*what): runs only where connector and bench declare all of these"
    )
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Summary(config), "conveyor-summary")


def requires(available: object, package: str) -> None:
    """Skip the test for want of ``package``; fail it under ``CI=true``, where everything must be there."""
    if available:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"{MISSING}{package}; under CI=true every server must be there", pytrace=False)
    pytest.skip(f"{MISSING}{package}")


class _Summary:
    """Counts what each suite ran and skipped, says so at the end, and fails a suite that ran nothing."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._ran: Counter[str] = Counter()
        self._skips: dict[str, Counter[str]] = defaultdict(Counter)
        self._missing: Counter[str] = Counter()
        self._results: list[dict[str, Any]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and _reason(report).startswith(MISSING):
            self._missing[_reason(report).removeprefix(MISSING)] += 1
        if "connector_suite" not in report.keywords:
            return
        suite = report.nodeid.rpartition("::")[0]
        if report.when == "call" or report.failed or report.skipped:
            self._results.append(_result(report, suite))
        if report.skipped:
            self._skips[suite][_reason(report)] += 1
        elif report.when == "call" or report.failed:
            self._ran[suite] += 1

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._missing:
            terminalreporter.section("skipped for want of a package")
            for package, count in sorted(self._missing.items()):
                terminalreporter.line(f"{package}: {count} skipped")
        suites = sorted({*self._ran, *self._skips})
        if not suites:
            return
        terminalreporter.section("connector conformance")
        for suite in suites:
            skipped = self._skips[suite]
            terminalreporter.line(f"{suite}: {self._ran[suite]} run, {skipped.total()} skipped")
            for reason, count in sorted(skipped.items()):
                terminalreporter.line(f"    {count} x {reason}")
        for suite in self._empty():
            terminalreporter.line(f"{suite}: FAILED, nothing of this suite ran", red=True)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if place := self._config.getoption("--conveyor-report"):
            from conveyor.testing.report import write

            write(place, self._results)
        if self._empty() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _empty(self) -> list[str]:
        """Suites of which nothing ran, though the whole suite was asked for and what it needs is there."""
        option = self._config.option
        chosen = option.keyword or any("::" in arg for arg in self._config.args)
        if chosen or getattr(option, "lf", False):
            return []
        return [
            suite
            for suite in sorted(self._skips)
            if not self._ran[suite]
            and not all(reason.startswith((MISSING, UNSET)) for reason in self._skips[suite])
        ]


def _result(report: pytest.TestReport, suite: str) -> dict[str, Any]:
    """One test's end, as the report takes it."""
    return {
        "suite": suite,
        "test": report.nodeid.rpartition("::")[2],
        "outcome": report.outcome,
        "detail": _reason(report) if report.skipped else _failure(report) if report.failed else "",
        "about": next((value for name, value in report.user_properties if name == PROPERTY), None),
    }


def _failure(report: pytest.TestReport) -> str:
    """The text of a failure, without the line that xdist puts before it."""
    lines = report.longreprtext.strip().splitlines()
    return "\n".join(lines[1:] if lines and lines[0].startswith("[gw") else lines)


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
