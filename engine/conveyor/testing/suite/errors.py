"""Trouble at the destination: the right kind, the stated delay, no secret; and check() says the same."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from conveyor.config import load
from conveyor.contract import AttemptCancelled, CheckReport, DeliveryError, ErrorKind
from conveyor.errors import ConfigError
from conveyor.registry import default_registry
from conveyor.testing.attempts import attempt
from conveyor.testing.bench import Bench, Overrides
from conveyor.testing.harness import HarnessContext
from conveyor.testing.parcels import make_parcel
from conveyor.testing.suite.base import SuitePart, delivered, expect_no_leftovers, expect_only, missing
from conveyor.testing.suite.promises import broken, keeps

DELAY = 7.0
KINDS = {
    "wrong_credentials": {ErrorKind.AUTH_REVOKED},
    "missing_place": {ErrorKind.CONFIG},
    "forbidden": {ErrorKind.CONFIG},
    "full": {ErrorKind.QUOTA},
}
NEEDED = {"digest": ("through",), "resumable": ("through",), "atomic": ("through",)}


class ErrorsSuite(SuitePart):
    """The engine decides from the kind alone, so it must be right."""

    @pytest.mark.parametrize("trouble", list(KINDS))
    def test_trouble_has_its_kind(self, bench: Bench, trouble: str) -> None:
        self._need(bench, trouble)
        with bench.trouble(trouble) as overrides:
            result = attempt(bench, make_parcel(bench.large), bench.target(), overrides=overrides)
        wanted = self._wanted(bench, trouble)
        keeps(
            "kinds", result.kind in wanted, f"{trouble}: it should be {sorted(wanted)}, {result.describe()}"
        )
        keeps("kinds", result.error and result.error.message, "its message is empty")
        if bench.observer is not None and bench.spec.capabilities.observable:
            expect_only(bench, "kinds")

    @pytest.mark.parametrize("trouble", ["wrong_credentials", "missing_place", "forbidden"])
    def test_check_tells_the_same_truth(self, bench: Bench, trouble: str) -> None:
        self._need(bench, trouble)
        with bench.trouble(trouble) as overrides:
            told = self._check(bench, overrides)
        wanted = self._wanted(bench, trouble)
        if not bench.spec.capabilities.deletes and isinstance(told, CheckReport):
            keeps("check", any(not step.done for step in told.steps), f"{trouble}: check() found no fault")
            return
        keeps(
            "check",
            isinstance(told, DeliveryError) and told.kind in wanted,
            f"{trouble}: deliver() raises {sorted(wanted)}, check() says {told!r}",
        )

    def test_check_is_content_and_leaves_nothing(self, bench: Bench) -> None:
        told = self._check(bench, {})
        keeps("check", isinstance(told, CheckReport), f"deliver() would succeed, check() says {told!r}")
        assert isinstance(told, CheckReport)
        keeps("check", told.steps, "it reports no step")
        if bench.spec.capabilities.deletes:
            undone = [step for step in told.steps if not step.done]
            keeps("check", not undone, f"not done: {undone}")
        if bench.observer is not None and bench.spec.capabilities.observable:
            expect_only(bench, "check")
            expect_no_leftovers(bench, "check")

    @pytest.mark.needs("throttle")
    def test_throttling_tells_the_delay(self, bench: Bench) -> None:
        assert bench.throttle is not None
        with bench.throttle(DELAY) as overrides:
            result = attempt(bench, make_parcel(70_001), bench.target(), overrides=overrides)
        keeps("throttle", result.kind is ErrorKind.THROTTLED, f"it should be THROTTLED: {result.describe()}")
        assert result.error is not None
        told = result.error.retry_after
        keeps("throttle", told is not None and abs(told - DELAY) <= 1, f"of {DELAY} s it tells {told}")
        delivered(attempt(bench, make_parcel(1_000), bench.target()), "throttle")

    @pytest.mark.needs("sdk_exceptions", "classify")
    def test_every_sdk_exception_has_a_kind(self, bench: Bench) -> None:
        assert bench.sdk_exceptions is not None
        assert bench.classify is not None
        count = 0
        for error in bench.sdk_exceptions():
            count += 1
            name = f"{type(error).__module__}.{type(error).__qualname__}"
            try:
                told = bench.classify(error)
            except Exception as failure:
                broken("sdk", f"classifying {name} failed: {failure!r}", failure)
            keeps("sdk", isinstance(told, DeliveryError), f"{name} becomes {told!r}")
            keeps("sdk", told.__cause__ is not error, f"{name} is passed on as a cause")
        keeps("sdk", count, "`sdk_exceptions` gave none")

    def test_example_can_be_configured(self, bench: Bench, tmp_path: Path) -> None:
        """``conveyor init --type`` writes it into a config, and ``conveyor connectors show`` prints it."""
        example = bench.spec.example
        if not example:
            pytest.skip("the spec has no example")
        for name in re.findall(r"!file\s+\"?([^\s\"]+)", example):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("an example")
        config = tmp_path / "conveyor.yaml"
        config.write_text("destinations:\n" + textwrap.indent(example, "  "))
        registry = default_registry()
        if bench.spec.type not in registry:
            registry.add(bench.spec)
        values = dict.fromkeys(re.findall(r"\$\{(\w+)", example), "an-example")
        try:
            loaded = load(config, env=values, registry=registry, strict=True)
        except ConfigError as error:
            # What a file or a variable would hold is not known here, so it cannot be judged.
            unknown = re.findall(r"(\w+):\s*(?:!file|\"?\$\{)", example)
            told = [each for each in error.problems if (each.field or "").rpartition(".")[2] not in unknown]
            if not told:
                return
            broken("example", f"{ConfigError(told)}\n    it is\n{textwrap.indent(example, '        ')}")
        types = {each.type for each in loaded.source.list()}
        keeps("example", bench.spec.type in types, f"it configures no {bench.spec.type}, but {sorted(types)}")

    def test_declared_capabilities_are_tested(self, bench: Bench) -> None:
        """An ability that a declared capability needs may be absent only with a reason."""
        for capability, abilities in NEEDED.items():
            if missing(bench, capability) is not None:
                continue
            for ability in abilities:
                told = getattr(bench, ability) is not None or ability in bench.unavailable
                keeps(
                    "declared", told, f"{capability} is declared, the bench has no `{ability}` and no reason"
                )
        if bench.spec.capabilities.observable:
            keeps("declared", bench.observer is not None, "observable is declared, there is no observer")

    def _need(self, bench: Bench, trouble: str) -> None:
        reason = missing(bench, trouble)
        if reason is not None:
            pytest.skip(reason)

    def _wanted(self, bench: Bench, trouble: str) -> set[ErrorKind]:
        told = bench.expected.get(trouble)
        return KINDS[trouble] if told is None else {ErrorKind(kind) for kind in told}

    def _check(self, bench: Bench, overrides: Overrides) -> CheckReport | DeliveryError:
        context = HarnessContext()
        try:
            with bench.connector(overrides) as connector:
                told: CheckReport | DeliveryError = connector.check(context)
        except DeliveryError as error:
            told = error
        except AttemptCancelled:
            broken("check", "it was cancelled, though nobody cancelled it")
        except Exception as error:
            broken("errors", f"{type(error).__qualname__} left check(): {error!r}", error)
        for secret in bench.secrets(overrides):
            shown = f"{told!r} {getattr(told, 'hint', '')} {getattr(told, 'response', '')}"
            keeps("secrets", secret not in shown, "what check() says holds one of the options' secrets")
        return told
