"""The report of a conformance run: what the connector promises, which tests ran, which did not and why."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from conveyor.contract import CONTRACT_VERSION
from conveyor.version import __version__


def write(place: str, results: Iterable[Mapping[str, Any]]) -> None:
    """Write the report.

    Args:
        place: The file; JSON when its name ends in ``.json``, else Markdown.
        results: One mapping for each test: ``suite``, ``test``, ``outcome`` (passed, failed, skipped),
            ``detail`` (the reason of a skip, the text of a failure), ``about`` (the connector, as JSON).
    """
    document = collect(results)
    path = Path(place)
    text = json.dumps(document, indent=2) if path.suffix == ".json" else "\n".join(markdown(document))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


def collect(results: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The results by suite, in a fixed order: two runs that did the same give the same report."""
    suites: dict[str, dict[str, Any]] = {}
    for result in sorted(results, key=lambda each: (each["suite"], each["test"])):
        name = result["suite"].rpartition("::")[2]
        suite = suites.setdefault(name, {"suite": name, "connector": None, "tests": {}})
        if result["about"] is not None:
            suite["connector"] = json.loads(result["about"])
        known = suite["tests"].get(result["test"])
        if known is None or known["outcome"] == "passed":  # a failing clean-up follows a passing test
            suite["tests"][result["test"]] = {"outcome": result["outcome"], "detail": result["detail"]}
    for suite in suites.values():
        count = Counter(test["outcome"] for test in suite["tests"].values())
        suite["count"] = {outcome: count[outcome] for outcome in ("passed", "failed", "skipped")}
    return {
        "conveyor": __version__,
        "contract": CONTRACT_VERSION,
        "python": platform.python_version(),
        "suites": list(suites.values()),
    }


def markdown(document: Mapping[str, Any]) -> Iterator[str]:
    """The report as Markdown, line by line."""
    yield "# Conformance"
    yield ""
    yield (
        f"By the suite of Conveyor {document['conveyor']} (contract {document['contract']}), "
        f"Python {document['python']}."
    )
    for suite in document["suites"]:
        yield ""
        yield from _suite(suite)


def _suite(suite: Mapping[str, Any]) -> Iterator[str]:
    connector, count = suite["connector"], suite["count"]
    title = f"`{connector['type']}`: {connector['summary']}" if connector else suite["suite"]
    yield f"## {title}"
    yield ""
    counts = f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped"
    yield f"{suite['suite']}: **{counts}.**"
    if connector:
        yield ""
        yield "It promises:"
        yield ""
        yield from (f"* {promise}" for promise in connector["capabilities"])
    yield from _failed(suite)
    yield from _skipped(suite)
    yield from _listed("Passed", [f"* {text}" for text in _names(_of(suite, "passed"))])


def _of(suite: Mapping[str, Any], outcome: str) -> dict[str, str]:
    """The tests that ended so, with their details."""
    return {name: test["detail"] for name, test in suite["tests"].items() if test["outcome"] == outcome}


def _failed(suite: Mapping[str, Any]) -> Iterator[str]:
    found = _of(suite, "failed").items()
    yield from _listed("Failed", [f"* `{name}`: {(text.splitlines() or [''])[0]}" for name, text in found])


def _skipped(suite: Mapping[str, Any]) -> Iterator[str]:
    by_reason: dict[str, list[str]] = {}
    for name, reason in _of(suite, "skipped").items():
        by_reason.setdefault(reason, []).append(name)
    found = sorted(by_reason.items())
    yield from _listed("Skipped", [f"* {reason}: {', '.join(_names(names))}" for reason, names in found])


def _listed(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield from ("", f"### {title}", "", *lines)


def _names(tests: Iterable[str]) -> list[str]:
    """One name for all variants of a test."""
    variants = Counter(name.partition("[")[0] for name in tests)
    return [f"`{name}`" + (f" ({count} variants)" if count > 1 else "") for name, count in variants.items()]
