"""The same delivery again, a source that fails, an attempt that must stop: never two copies, never a half."""

from __future__ import annotations

from typing import ClassVar

import pytest

from conveyor.contract import ConflictPolicy, DeliveryError, ErrorKind, FoundKind, Target
from conveyor.testing.attempts import attempt, retry
from conveyor.testing.bench import Bench
from conveyor.testing.harness import HarnessContext
from conveyor.testing.parcels import make_parcel
from conveyor.testing.suite.base import (
    SuitePart,
    delivered,
    expect_copy,
    expect_only,
    place_stranger,
    refused,
)
from conveyor.testing.suite.promises import keeps

PATH = "inbox/photo.jpg"


class RepeatsSuite(SuitePart):
    """At-least-once in, exactly one out."""

    NEEDS: ClassVar[tuple[str, ...]] = ("observable",)

    @pytest.mark.parametrize("policy", list(ConflictPolicy))
    def test_same_delivery_twice_leaves_one_copy(self, bench: Bench, policy: ConflictPolicy) -> None:
        """The worker died after the delivery and before its record: the next one knows only the state."""
        if policy not in (bench.spec.capabilities.conflicts or {bench.default_conflict}):
            pytest.skip(f"conflict policy {policy} is not declared")
        parcel, target = make_parcel(70_001), Target(PATH, policy)
        first = attempt(bench, parcel, target)
        second = retry(bench, parcel, target, first)
        paths = delivered(first, "one_copy"), delivered(second, "one_copy")
        keeps("one_copy", paths[0] == paths[1], f"the second time it went to {paths[1]!r}")
        expect_only(bench, "one_copy", paths[0])
        expect_copy(bench, paths[0], parcel, "one_copy")

    @pytest.mark.needs("conflict:rename")
    def test_same_delivery_beside_a_stranger_leaves_one_copy(self, bench: Bench) -> None:
        place_stranger(bench, PATH, b"somebody else's photo")
        parcel, target = make_parcel(70_001), Target(PATH, ConflictPolicy.RENAME)
        first = attempt(bench, parcel, target)
        second = retry(bench, parcel, target, first)
        third = retry(bench, parcel, target, second)
        paths = {delivered(result, "one_copy") for result in (first, second, third)}
        keeps("one_copy", len(paths) == 1, f"three attempts of one delivery took {sorted(paths)}")
        expect_only(bench, "one_copy", PATH, *paths)

    @pytest.mark.parametrize("at", [0, 1, 70_000, "large"])
    def test_source_ends_early(self, bench: Bench, at: int | str) -> None:
        size = 70_001 if isinstance(at, int) else bench.large
        parcel = make_parcel(size, ends_at=at if isinstance(at, int) else bench.large - 5)
        result = attempt(bench, parcel, bench.target(PATH))
        refused(result, "short_source")
        keeps("short_source", not result.cancelled, "it ended as cancelled")
        expect_only(bench, "short_source")

    @pytest.mark.parametrize("size", [70_001, "large"])
    def test_source_raises_midway(self, bench: Bench, size: int | str) -> None:
        total = size if isinstance(size, int) else bench.large
        gone = DeliveryError(ErrorKind.SOURCE, "the payload changed")
        parcel = make_parcel(total, raises_at=total - 40_000, error=lambda: gone)
        result = attempt(bench, parcel, bench.target(PATH))
        keeps("short_source", result.kind is ErrorKind.SOURCE, f"it should be SOURCE: {result.describe()}")
        expect_only(bench, "short_source")

    def test_source_raises_an_ordinary_error(self, bench: Bench) -> None:
        parcel = make_parcel(70_001, raises_at=40_000, error=lambda: OSError(5, "Input/output error"))
        result = attempt(bench, parcel, bench.target(PATH))
        refused(result, "short_source")
        expect_only(bench, "short_source")

    @pytest.mark.needs("conflict:overwrite", "atomic")
    def test_failing_source_leaves_the_old_file(self, bench: Bench) -> None:
        place_stranger(bench, PATH, b"the old photo")
        target = bench.target(PATH, ConflictPolicy.OVERWRITE)
        refused(attempt(bench, make_parcel(70_001, ends_at=30_000), target), "short_source")
        keeps("short_source", bench.eyes.read(PATH) == b"the old photo", "the old file was touched")

    def test_fenced_out_at_commit_publishes_nothing(self, bench: Bench) -> None:
        context = HarnessContext()
        context = HarnessContext(on_commit=lambda: setattr(context, "fenced_out", True))
        result = attempt(bench, make_parcel(70_001), bench.target(PATH), context=context)
        keeps("commit", result.cancelled, result.describe())
        keeps("commit", bench.eyes.read(PATH) is None, "the file is visible all the same")

    @pytest.mark.parametrize("at", [1, "half"])
    def test_cancelled_midway(self, bench: Bench, at: int | str) -> None:
        context = HarnessContext(cancel_at=at if isinstance(at, int) else bench.large // 2)
        result = attempt(bench, make_parcel(bench.large), bench.target(PATH), context=context)
        keeps("cancel", result.cancelled, result.describe())
        keeps("cancel", bench.eyes.read(PATH) is None, "the file is visible all the same")
        parcel = make_parcel(1_000)
        delivered(attempt(bench, parcel, bench.target("inbox/next.jpg")), "cancel")

    @pytest.mark.needs("find")
    def test_find_knows_its_own(self, bench: Bench) -> None:
        parcel, target = make_parcel(70_001), bench.target(PATH)
        first = attempt(bench, parcel, target)
        delivered(first, "find")
        with bench.connector() as connector:
            found = connector.find(parcel, target, HarnessContext(first.state, attempt=2, fence=2))
        keeps("find", found.kind is FoundKind.MINE, f"of its own file it says {found.kind}")
        keeps("find", found.receipt and found.receipt.path == PATH, f"its receipt is {found.receipt}")

    @pytest.mark.needs("find")
    def test_find_before_anything_was_sent(self, bench: Bench) -> None:
        with bench.connector() as connector:
            found = connector.find(make_parcel(10), bench.target(PATH), HarnessContext())
        keeps("find", found.kind in (FoundKind.ABSENT, FoundKind.UNSURE), f"of nothing it says {found.kind}")

    @pytest.mark.needs("find")
    @pytest.mark.parametrize("same", [False, True], ids=["other bytes", "same bytes"])
    def test_find_does_not_claim_a_strangers_file(self, bench: Bench, same: bool) -> None:
        data = b"somebody's photo"
        place_stranger(bench, PATH, data)
        parcel = make_parcel(data if same else b"x" * len(data))
        with bench.connector() as connector:
            found = connector.find(parcel, bench.target(PATH), HarnessContext())
        keeps("find", found.kind is not FoundKind.MINE, "it claims a stranger's file")
        if not same:
            keeps("find", found.kind is not FoundKind.SAME_BYTES, "it takes other bytes for the same")
