"""Every byte arrives, and a reader sees nothing else on the way."""

from __future__ import annotations

from typing import ClassVar

import pytest

from conveyor.contract import ConflictPolicy
from conveyor.testing.attempts import attempt
from conveyor.testing.bench import Bench
from conveyor.testing.content import Pattern, read_all
from conveyor.testing.harness import HarnessContext
from conveyor.testing.parcels import make_parcel
from conveyor.testing.suite.base import SuitePart, delivered, expect_copy, expect_only, place_stranger
from conveyor.testing.suite.promises import keeps


class BytesSuite(SuitePart):
    """Whole files, as sent, and only whole ones."""

    NEEDS: ClassVar[tuple[str, ...]] = ("observable",)

    @pytest.mark.parametrize("size", [0, 1, 70_001, "large"])
    def test_every_byte_arrives(self, bench: Bench, size: int | str) -> None:
        parcel = make_parcel(bench.large if isinstance(size, str) else size)
        path = delivered(attempt(bench, parcel, bench.target()))
        expect_copy(bench, path, parcel)
        expect_only(bench, "bytes", path)

    def test_receipt_tells_what_is_there(self, bench: Bench) -> None:
        parcel = make_parcel(70_001)
        target = bench.target()
        receipt = attempt(bench, parcel, target).receipt
        keeps("receipt", receipt is not None, "there is none")
        assert receipt is not None
        keeps("receipt", receipt.reference, "its reference is empty")
        keeps("receipt", receipt.path == target.path, f"its path is {receipt.path!r}, not {target.path!r}")
        keeps("receipt", receipt.size in (None, 70_001), f"its size is {receipt.size}")
        keeps("receipt", not receipt.renamed and not receipt.skipped, f"{receipt} is wrong")
        name, _, value = (receipt.digest or "").partition(":")
        known = parcel.digests.get(name)
        keeps("receipt", known in (None, value), f"its digest {receipt.digest} is not the payload's")

    @pytest.mark.needs("atomic")
    def test_reader_never_sees_a_part(self, bench: Bench) -> None:
        whole = read_all(Pattern(bench.large))
        seen: list[int] = []

        def look(_: int) -> None:
            data = bench.eyes.read("inbox/photo.jpg")
            if data is not None and data != whole:
                seen.append(len(data))

        parcel = make_parcel(bench.large, on_read=look)
        context = HarnessContext(on_progress=look, on_commit=lambda: look(0))
        path = delivered(attempt(bench, parcel, bench.target(), context=context))
        keeps("atomic", not seen, f"a reader saw {seen[:5]} of {bench.large} bytes")
        expect_copy(bench, path, parcel)

    @pytest.mark.needs("atomic", "conflict:overwrite")
    def test_reader_never_sees_a_gap(self, bench: Bench) -> None:
        old = b"the old photo"
        place_stranger(bench, "inbox/photo.jpg", old)
        whole = read_all(Pattern(bench.large))
        seen: list[int | None] = []

        def look(_: int) -> None:
            data = bench.eyes.read("inbox/photo.jpg")
            if data not in (old, whole):
                seen.append(None if data is None else len(data))

        parcel = make_parcel(bench.large, on_read=look)
        context = HarnessContext(on_progress=look, on_commit=lambda: look(0))
        target = bench.target(conflict=ConflictPolicy.OVERWRITE)
        path = delivered(attempt(bench, parcel, target, context=context))
        keeps("gap", not seen, f"a reader saw neither old nor new file: {seen[:5]} bytes")
        expect_copy(bench, path, parcel)

    def test_commit_is_asked_before_anything_is_visible(self, bench: Bench) -> None:
        early: list[bytes] = []

        def look() -> None:
            data = bench.eyes.read("inbox/photo.jpg")
            if data is not None:
                early.append(data)

        context = HarnessContext(on_commit=look)
        delivered(attempt(bench, make_parcel(70_001), bench.target(), context=context))
        keeps("commit", context.commits, "before_commit() was never called")
        keeps("commit", not early, "the file was visible before before_commit() was asked")

    def test_progress_counts_every_byte(self, bench: Bench) -> None:
        context = HarnessContext()
        delivered(attempt(bench, make_parcel(bench.large), bench.target(), context=context))
        keeps(
            "progress",
            context.sent >= bench.large,
            f"it was told of {context.sent} bytes of {bench.large}",
        )
