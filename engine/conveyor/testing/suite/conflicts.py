"""The name is taken: overwrite, skip, fail, rename, each once and again."""

from __future__ import annotations

import threading
import time
from typing import ClassVar

import pytest

from conveyor.contract import ConflictPolicy, ErrorKind, Parcel, Target
from conveyor.testing.attempts import Attempt, attempt, retry
from conveyor.testing.bench import Bench
from conveyor.testing.harness import HarnessContext
from conveyor.testing.parcels import make_parcel
from conveyor.testing.suite.base import (
    SuitePart,
    delivered,
    expect_copy,
    expect_no_leftovers,
    expect_only,
    place_stranger,
)
from conveyor.testing.suite.promises import keeps

PATH = "inbox/photo.jpg"
OLD = b"somebody else's photo"

MEETING = 20.0
"""Seconds that one of two racing workers waits for the other one."""

TURN = 0.5
"""Seconds after its last byte in which the other one comes, or else waits for this one: a connector may have
them publish in turn."""


class ConflictsSuite(SuitePart):
    """Nobody's photo is ever overwritten unless the policy says so."""

    NEEDS: ClassVar[tuple[str, ...]] = ("observable",)

    @pytest.mark.parametrize("again", [False, True], ids=["once", "again"])
    @pytest.mark.needs("conflict:overwrite")
    def test_overwrite(self, bench: Bench, again: bool) -> None:
        parcel, result = self._meet_stranger(bench, ConflictPolicy.OVERWRITE, again)
        keeps("overwrite", delivered(result, "overwrite") == PATH, f"it went to {result.receipt}")
        expect_only(bench, "overwrite", PATH)
        expect_copy(bench, PATH, parcel, "overwrite")

    @pytest.mark.parametrize("again", [False, True], ids=["once", "again"])
    @pytest.mark.needs("conflict:skip")
    def test_skip(self, bench: Bench, again: bool) -> None:
        _, result = self._meet_stranger(bench, ConflictPolicy.SKIP, again)
        delivered(result, "skip")
        keeps(
            "skip",
            result.receipt and result.receipt.skipped,
            f"the receipt does not say so: {result.receipt}",
        )
        self._expect_stranger(bench, "skip")
        expect_only(bench, "skip", PATH)
        expect_no_leftovers(bench, "skip")

    @pytest.mark.parametrize("again", [False, True], ids=["once", "again"])
    @pytest.mark.needs("conflict:fail")
    def test_fail(self, bench: Bench, again: bool) -> None:
        _, result = self._meet_stranger(bench, ConflictPolicy.FAIL, again)
        keeps("fail", result.kind is ErrorKind.CONFLICT, result.describe())
        self._expect_stranger(bench, "fail")
        expect_only(bench, "fail", PATH)

    @pytest.mark.parametrize("again", [False, True], ids=["once", "again"])
    @pytest.mark.needs("conflict:rename")
    def test_rename(self, bench: Bench, again: bool) -> None:
        parcel, result = self._meet_stranger(bench, ConflictPolicy.RENAME, again)
        path = delivered(result, "rename")
        keeps("rename", path != PATH, "it took the stranger's name")
        keeps("rename", result.receipt and result.receipt.renamed, "the receipt does not say that it renamed")
        self._expect_stranger(bench, "rename")
        expect_only(bench, "rename", PATH, path)
        expect_copy(bench, path, parcel, "rename")

    @pytest.mark.needs("conflict:rename")
    def test_rename_counts_up(self, bench: Bench) -> None:
        parcels = [make_parcel(1_000 + number) for number in range(3)]
        target = Target(PATH, ConflictPolicy.RENAME)
        paths = [delivered(attempt(bench, parcel, target), "rename") for parcel in parcels]
        keeps("rename", len(set(paths)) == 3, f"three files took the names {paths}")
        for parcel, path in zip(parcels, paths, strict=True):
            expect_copy(bench, path, parcel, "rename")

    @pytest.mark.parametrize("policy", list(ConflictPolicy))
    def test_policy_with_a_free_name(self, bench: Bench, policy: ConflictPolicy) -> None:
        if policy not in bench.spec.capabilities.conflicts:
            pytest.skip(f"conflict policy {policy} is not declared")
        parcel = make_parcel(5_000)
        result = attempt(bench, parcel, Target(PATH, policy))
        keeps(policy.value, delivered(result, policy.value) == PATH, f"it went to {result.receipt}")
        keeps(policy.value, result.receipt and not result.receipt.skipped, "nothing was there to skip for")
        expect_copy(bench, PATH, parcel, policy.value)

    @pytest.mark.needs("create_only", "conflict:fail")
    def test_fail_lets_one_of_two_win(self, bench: Bench) -> None:
        for turn in range(3):
            path = f"race{turn}/photo.jpg"
            parcels, results = self._race(bench, Target(path, ConflictPolicy.FAIL))
            winners = [number for number, result in results.items() if result.receipt is not None]
            keeps("create_only", len(winners) == 1, f"{len(winners)} of 2 workers believe they won")
            loser = results[1 - winners[0]]
            keeps("create_only", loser.kind is ErrorKind.CONFLICT, f"of the loser: {loser.describe()}")
            expect_copy(bench, path, parcels[winners[0]], "create_only")

    @pytest.mark.needs("create_only", "conflict:rename")
    def test_rename_keeps_both_of_two(self, bench: Bench) -> None:
        for turn in range(3):
            parcels, results = self._race(bench, Target(f"race{turn}/photo.jpg", ConflictPolicy.RENAME))
            paths = [delivered(results[number], "create_only") for number in (0, 1)]
            keeps("create_only", paths[0] != paths[1], f"both workers took {paths[0]!r}")
            for parcel, path in zip(parcels, paths, strict=True):
                expect_copy(bench, path, parcel, "create_only")

    def _meet_stranger(self, bench: Bench, policy: ConflictPolicy, again: bool) -> tuple[Parcel, Attempt]:
        place_stranger(bench, PATH, OLD)
        parcel = make_parcel(70_001)
        target = Target(PATH, policy)
        result = attempt(bench, parcel, target)
        return parcel, retry(bench, parcel, target, result) if again else result

    def _expect_stranger(self, bench: Bench, promise: str) -> None:
        keeps(promise, bench.eyes.read(PATH) == OLD, "the stranger's file was touched")

    def _race(self, bench: Bench, target: Target) -> tuple[list[Parcel], dict[int, Attempt]]:
        """Two deliveries of one name that meet before they commit, so that their commits come together."""
        parcels = [make_parcel(3_000 + number) for number in range(2)]
        results: dict[int, Attempt] = {}
        arrived: set[int] = set()
        sent_at: dict[int, float] = {}

        def work(number: int) -> None:
            other = 1 - number

            def note(sent: int) -> None:
                if sent >= parcels[number].size:
                    sent_at.setdefault(number, time.monotonic())

            def wait() -> None:
                arrived.add(number)
                end = time.monotonic() + MEETING
                while other not in arrived and other not in results and time.monotonic() < end:
                    if time.monotonic() > sent_at.get(other, end) + TURN:
                        break
                    time.sleep(0.002)

            with bench.connector() as connector:
                context = HarnessContext(on_commit=wait, on_progress=note)
                results[number] = attempt(
                    bench, parcels[number], target, context=context, connector=connector
                )

        threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        keeps("create_only", len(results) == 2, "a worker did not come back from the race")
        return parcels, results
