"""Workers die and freeze, really: SIGKILL and SIGSTOP on a process of their own."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from conveyor.contract import AttemptCancelled, Connector, ErrorKind, Json, Parcel, State
from conveyor.testing.attempts import Attempt, attempt, retry
from conveyor.testing.bench import Bench
from conveyor.testing.children import Child, Records
from conveyor.testing.harness import HarnessContext
from conveyor.testing.parcels import make_parcel
from conveyor.testing.suite.base import (
    SuitePart,
    delivered,
    expect_copy,
    expect_no_leftovers,
    expect_only,
    refused,
)
from conveyor.testing.suite.promises import broken, keeps

PATH = "inbox/photo.jpg"
MOMENTS = ["unsaved 1", "save 1", "read", "commit", "done"]


class _Unsaved(HarnessContext):
    """The save of this number does not reach the ledger."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._left = number
        self.refused: str | None = None
        """What was to be saved."""

    def save(self, **state: Json) -> None:
        """Keep it, or raise."""
        self._left -= 1
        if not self._left:
            self.refused = ", ".join(state)
            raise AttemptCancelled("the ledger cannot be reached")
        super().save(**state)


class CrashesSuite(SuitePart):
    """What one worker leaves at any moment, the next one settles."""

    NEEDS: ClassVar[tuple[str, ...]] = ("observable",)

    @pytest.fixture
    def kept(self, tmp_path: Path) -> Records:
        """The delivery's records, which outlive its workers."""
        return Records(tmp_path)

    @pytest.mark.parametrize("moment", MOMENTS)
    def test_killed_then_a_fresh_worker_finishes(self, bench: Bench, kept: Records, moment: str) -> None:
        parcel = make_parcel(bench.large)
        self._kill(bench, kept, parcel, moment)
        path = delivered(self._next_worker(bench, kept, parcel), "killed")
        keeps("killed", path == PATH, f"the next worker went to {path!r}")
        expect_only(bench, "killed", PATH)
        expect_copy(bench, PATH, parcel, "killed")
        expect_no_leftovers(bench, "killed")

    @pytest.mark.needs("atomic")
    def test_killed_midway_shows_nothing(self, bench: Bench, kept: Records) -> None:
        self._kill(bench, kept, make_parcel(bench.large), "read")
        keeps("atomic", bench.eyes.read(PATH) is None, "a dead worker's half file is visible under its name")

    @pytest.mark.parametrize("moment", ["read", "commit"])
    def test_frozen_publishes_nothing(self, bench: Bench, kept: Records, moment: str) -> None:
        """Another worker delivered, and the file was replaced since: a late publication would show."""
        parcel = make_parcel(bench.large)
        with self._child(bench, kept, parcel, moment, "STOP") as frozen:
            self._expect_frozen(frozen, moment)
            delivered(self._next_worker(bench, kept, parcel), "frozen")
            newer = self._replace(bench)
            frozen.wake()
            result = frozen.result()
        keeps("frozen", result["ended"] != "delivered", "it believes that it delivered")
        keeps("frozen", bench.eyes.read(PATH) == newer, f"it published, and ended as {result}")
        published = bench.eyes.names() - {PATH}
        visible = {name for name in published if bench.eyes.sha256(name) == parcel.digests["sha256"]}
        keeps("frozen", not visible, f"it published as {sorted(visible)}")

    def test_frozen_does_no_harm_to_the_next_worker(self, bench: Bench, kept: Records) -> None:
        parcel = make_parcel(bench.large)
        with self._child(bench, kept, parcel, "read", "STOP") as frozen:
            self._expect_frozen(frozen, "read")
            path = delivered(self._next_worker(bench, kept, parcel), "frozen")
            frozen.wake()
            result = frozen.result()
        keeps("frozen", result["ended"] != "delivered", "it believes that it delivered")
        expect_copy(bench, path, parcel, "frozen")
        keeps("frozen", path in bench.eyes.names(), "it removed the other worker's file")

    @pytest.mark.needs("deletes")
    @pytest.mark.parametrize("moment", MOMENTS[:4])
    def test_abandon_leaves_nothing(self, bench: Bench, kept: Records, moment: str) -> None:
        self._kill(bench, kept, make_parcel(bench.large), moment)
        with bench.connector() as connector:
            self._abandon(connector, kept.state, kept.take())
            expect_only(bench, "abandon")
            expect_no_leftovers(bench, "abandon")
            self._abandon(connector, kept.state, kept.take())

    @pytest.mark.needs("deletes")
    def test_abandon_after_a_failure_leaves_nothing(self, bench: Bench) -> None:
        failed = attempt(bench, make_parcel(bench.large, raises_at=bench.large - 9), bench.target(PATH))
        refused(failed, "abandon")
        with bench.connector() as connector:
            self._abandon(connector, failed.state, 2)
        expect_only(bench, "abandon")
        expect_no_leftovers(bench, "abandon")

    @pytest.mark.needs("deletes")
    def test_abandon_after_what_could_not_be_saved_leaves_nothing(self, bench: Bench) -> None:
        """The ledger is out of reach when the destination has begun something: each save in turn."""
        for number in range(1, 9):
            context = _Unsaved(number)
            attempt(bench, make_parcel(bench.large), bench.target(PATH), context=context)
            if context.refused is None:
                return
            with bench.connector() as connector:
                self._abandon(connector, context.state, 2)
            why = (
                f"save number {number} ({context.refused}) did not reach the ledger: what was begun before "
                "it is undone at once (kit.saved.save_or_undo); nothing is saved once the file is published"
            )
            expect_only(bench, "abandon", why=why)
            expect_no_leftovers(bench, "abandon", why=why)

    @pytest.mark.needs("deletes")
    def test_abandon_spares_a_delivered_file(self, bench: Bench) -> None:
        """The record of the delivery was lost and its budget ran out: what arrived is not ours to remove."""
        parcel = make_parcel(70_001)
        result = attempt(bench, parcel, bench.target(PATH))
        path = delivered(result, "abandon")
        with bench.connector() as connector:
            self._abandon(connector, result.state, 2)
        expect_copy(bench, path, parcel, "abandon")

    @pytest.mark.needs("resumable", "deletes")
    def test_lost_session_costs_one_restart(self, bench: Bench, kept: Records) -> None:
        parcel = make_parcel(bench.large)
        self._kill(bench, kept, parcel, "read")
        with bench.connector() as connector:
            self._abandon(connector, kept.state, 2)
        stale = HarnessContext(kept.state, attempt=2, fence=3)
        result = attempt(bench, parcel, bench.target(PATH), context=stale)
        if result.kind is ErrorKind.SESSION_LOST:
            result = retry(bench, parcel, bench.target(PATH), result)
        path = delivered(result, "session")
        expect_copy(bench, path, parcel, "session")
        expect_no_leftovers(bench, "session")

    def _child(self, bench: Bench, kept: Records, parcel: Parcel, moment: str, sign: str) -> Child:
        return Child(
            bench,
            bench.target(PATH),
            kept,
            size=parcel.size,
            delivery_id=parcel.delivery_id,
            moment=moment,
            sign=sign,
        )

    def _kill(self, bench: Bench, kept: Records, parcel: Parcel, moment: str) -> None:
        with self._child(bench, kept, parcel, moment, "KILL") as child:
            if child.wait_killed():
                return
            result = child.result()
        if "save" in moment:
            pytest.skip("nothing to save: the connector keeps no state")
        broken("killed", f"the worker never got to '{moment}': {result}")

    def _expect_frozen(self, frozen: Child, moment: str) -> None:
        if not frozen.wait_frozen():
            broken("frozen", f"the worker never got to '{moment}': {frozen.result()}")

    def _replace(self, bench: Bench) -> bytes | None:
        """Put something else in the file's place, or nothing where the observer cannot."""
        try:
            bench.eyes.put(PATH, b"a newer photo")
        except LookupError:
            bench.eyes.wipe()
            return None
        return b"a newer photo"

    def _next_worker(self, bench: Bench, kept: Records, parcel: Parcel) -> Attempt:
        context = HarnessContext(kept.state, attempt=2, fence=kept.take())
        return attempt(bench, parcel, bench.target(PATH), context=context, look_first=True)

    def _abandon(self, connector: Connector, state: State, fence: int) -> None:
        try:
            connector.abandon(state, HarnessContext(fence=fence))
        except Exception as error:
            broken("abandon", f"with the state {dict(state)} it failed: {error!r}", error)
