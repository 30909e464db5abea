"""The network fails: cut, silent, deaf, lying. Afterwards there is exactly one right copy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import ClassVar

import pytest

from conveyor.contract import ConflictPolicy, ErrorKind, Parcel, Target
from conveyor.testing.attempts import Attempt, attempt, retry
from conveyor.testing.bench import Bench, Overrides
from conveyor.testing.harness import HarnessContext
from conveyor.testing.parcels import make_parcel
from conveyor.testing.proxy import FaultProxy
from conveyor.testing.suite.base import (
    SuitePart,
    delivered,
    expect_copy,
    expect_no_leftovers,
    expect_only,
    place_stranger,
    refused,
)
from conveyor.testing.suite.promises import keeps

PATH = "inbox/photo.jpg"
PASSING = {ErrorKind.TRANSIENT, ErrorKind.UNKNOWN_OUTCOME, ErrorKind.SESSION_LOST, ErrorKind.INTEGRITY}
STALL_GRACE = 15.0


class FaultsSuite(SuitePart):
    """Everything here goes through the fault proxy."""

    NEEDS: ClassVar[tuple[str, ...]] = ("observable", "through")

    @pytest.fixture
    def proxy(self, bench: Bench) -> Iterator[FaultProxy]:
        """Between connector and server."""
        assert bench.address is not None, "a bench with `through` also needs `address`"
        with FaultProxy(*bench.address, quiet=bench.quiet) as proxy:
            yield proxy

    @pytest.fixture
    def via(self, bench: Bench, proxy: FaultProxy) -> Overrides:
        """Options that lead through the proxy."""
        assert bench.through is not None
        return bench.through(proxy.host, proxy.port)

    @pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
    def test_cut_midway_then_retried(
        self, bench: Bench, proxy: FaultProxy, via: Overrides, reset: bool
    ) -> None:
        parcel, target = make_parcel(bench.large), bench.target(PATH)
        proxy.cut(after=bench.large // 2, reset=reset)
        first = attempt(bench, parcel, target, overrides=via)
        self._expect_struck(proxy, first)
        self._expect_passing(first)
        if bench.spec.capabilities.atomic and first.receipt is None:
            keeps("atomic", bench.eyes.read(PATH) is None, "a part is visible after the cut")
        self._finish(bench, parcel, target, first, via)

    def test_refused_connection_is_transient(self, bench: Bench, proxy: FaultProxy, via: Overrides) -> None:
        parcel, target = make_parcel(5_000), bench.target(PATH)
        proxy.refuse(count=1_000)
        first = attempt(bench, parcel, target, overrides=via)
        self._expect_struck(proxy, first)
        # The kernel may have taken a small request whole before the reset arrives: then nobody can know.
        wanted = {ErrorKind.TRANSIENT, ErrorKind.UNKNOWN_OUTCOME}
        keeps("retry", first.kind in wanted, f"it should be {sorted(wanted)}: {first.describe()}")
        proxy.disarm()
        self._finish(bench, parcel, target, first, via)

    @pytest.mark.parametrize("policy", list(ConflictPolicy))
    def test_answer_to_the_commit_is_lost(
        self, bench: Bench, proxy: FaultProxy, via: Overrides, policy: ConflictPolicy
    ) -> None:
        if policy not in (bench.spec.capabilities.conflicts or {bench.default_conflict}):
            pytest.skip(f"conflict policy {policy} is not declared")
        parcel, target = make_parcel(70_001), Target(PATH, policy)
        first = self._deaf(bench, proxy, via, parcel, target)
        self._finish(bench, parcel, target, first, via)

    @pytest.mark.needs("conflict:rename")
    def test_answer_is_lost_beside_a_stranger(self, bench: Bench, proxy: FaultProxy, via: Overrides) -> None:
        place_stranger(bench, PATH, b"somebody else's photo")
        parcel, target = make_parcel(70_001), Target(PATH, ConflictPolicy.RENAME)
        first = self._deaf(bench, proxy, via, parcel, target)
        path = delivered(self._again(bench, parcel, target, first, via), "retry")
        expect_only(bench, "retry", PATH, path)
        expect_copy(bench, path, parcel, "retry")

    @pytest.mark.needs("digest")
    def test_corruption_is_noticed(self, bench: Bench, proxy: FaultProxy, via: Overrides) -> None:
        parcel, target = make_parcel(bench.large), bench.target(PATH)
        for start in (2, 3, 5):
            proxy.corrupt(at=bench.large // start)
            first = attempt(bench, parcel, target, overrides=via)
            self._expect_struck(proxy, first)
            if first.receipt is not None or first.kind in PASSING:
                break
            # Several requests under way may put a header there: a word of it that is refused tells nothing.
        if bench.eyes.read(PATH) is not None:
            expect_copy(bench, PATH, parcel, "corruption")
        self._expect_passing(first, "corruption")
        self._finish(bench, parcel, target, first, via)

    def test_silent_server_ends_by_the_deadline(
        self, bench: Bench, proxy: FaultProxy, via: Overrides
    ) -> None:
        parcel, target = make_parcel(bench.large), bench.target(PATH)
        proxy.stall(after=bench.large // 2)
        started = time.monotonic()
        first = attempt(
            bench, parcel, target, context=HarnessContext(deadline=bench.stall_deadline), overrides=via
        )
        took = time.monotonic() - started
        self._expect_struck(proxy, first)
        refused(first, "stall")
        keeps(
            "stall",
            took < bench.stall_deadline + STALL_GRACE,
            f"with {bench.stall_deadline:g} s it took {took:.1f} s",
        )
        if not first.cancelled:
            self._expect_passing(first, "stall")
        proxy.release()
        self._finish(bench, parcel, target, first, via)

    @pytest.mark.needs("resumable")
    def test_half_sent_file_is_continued(self, bench: Bench, proxy: FaultProxy, via: Overrides) -> None:
        parcel, target = make_parcel(bench.large), bench.target(PATH)
        proxy.cut(after=bench.large * 4 // 5)
        first = attempt(bench, parcel, target, overrides=via)
        self._expect_struck(proxy, first)
        refused(first, "resume")
        second = retry(bench, parcel, target, first, overrides=via)
        path = delivered(second, "resume")
        keeps(
            "resume",
            second.context.sent < bench.large,
            f"the second attempt sent {second.context.sent} bytes of {bench.large}",
        )
        expect_copy(bench, path, parcel, "resume")
        expect_no_leftovers(bench, "resume")

    def _deaf(
        self, bench: Bench, proxy: FaultProxy, via: Overrides, parcel: Parcel, target: Target
    ) -> Attempt:
        """An attempt whose publishing request passes and whose answer does not."""
        context = HarnessContext(on_commit=proxy.drop_answer)
        first = attempt(bench, parcel, target, context=context, overrides=via)
        self._expect_struck(proxy, first)
        if first.receipt is None:
            kind = ErrorKind.UNKNOWN_OUTCOME
            keeps("unknown", first.kind is kind, f"it should be {kind}: {first.describe()}")
        return first

    def _again(self, bench: Bench, parcel: Parcel, target: Target, first: Attempt, via: Overrides) -> Attempt:
        return first if first.receipt is not None else retry(bench, parcel, target, first, overrides=via)

    def _finish(self, bench: Bench, parcel: Parcel, target: Target, first: Attempt, via: Overrides) -> None:
        """Retry until it is there; exactly one right copy, nothing beside it, seen or unseen."""
        path = delivered(self._again(bench, parcel, target, first, via), "retry")
        keeps("retry", path == target.path, f"the retry went to {path!r}")
        expect_only(bench, "retry", path)
        expect_copy(bench, path, parcel, "retry")
        expect_no_leftovers(bench, "retry")

    def _expect_struck(self, proxy: FaultProxy, first: Attempt) -> None:
        why = "the fault never struck: does `through` really lead through the proxy?"
        assert proxy.struck, f"{why} The attempt: {first.describe()}"

    def _expect_passing(self, result: Attempt, promise: str = "retry") -> None:
        if result.receipt is None:
            keeps(promise, result.kind in PASSING, f"a retry would not follow: {result.describe()}")
