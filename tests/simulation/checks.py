"""What must hold at every step, and when all is final; read past the engine, from the tables themselves."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from conveyor.contract import ErrorKind
from conveyor.ledger.records import Status
from conveyor.ledger.transitions import Move
from conveyor.retry import CHARGED as CHARGED_KINDS

if TYPE_CHECKING:
    from simulation.world import World

CHARGED = {kind.value for kind in CHARGED_KINDS}
OPEN = {"pending", "delivering"}
UNCLEAR = {"lost", "cancelled", "given_back", "delivered"}
"""Outcomes after which a delivery that is not delivered may still stand at the destination: nobody knows what
became of the attempt, or it was delivered and then replayed."""

_MOVES = {
    (was.value, move.value.to.value, move.value.raises_fence) for move in Move for was in move.value.leaves
}
_DELIVERY = "SELECT id, destination, status, cycle, attempt, failures, fence, worker, receipt FROM deliveries"
_ATTEMPTS = (
    "SELECT delivery_id, attempt, cycle, fence, worker, started_at, outcome, charged, kind, next_attempt_at "
    "FROM attempts ORDER BY delivery_id, attempt"
)
_NOTED = (
    "SELECT number, at, writer, id, was, became, old_fence, new_fence, old_worker, new_worker, due, "
    "stated, paused, broken FROM sim_moves WHERE number > {} ORDER BY number"
)


class Broken(AssertionError):
    """An invariant does not hold; the first word says which."""


class Checks:
    """The invariants of one walk."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._seen = 0
        self._excused: set[tuple[str, int]] = set()
        """Attempts, by delivery and fence, that ended while their destination's breaker was open."""
        self.known_dead: set[str] = set()

    def now(self) -> None:
        """What must hold between any two steps."""
        if self._world.defects:
            self._fail("defect", self._world.defects[0])
        self._moves()
        rows = self._rows(_DELIVERY)
        attempts: dict[str, list[Any]] = {row[0]: [] for row in rows}
        for row in self._rows(_ATTEMPTS):
            attempts[row[0]].append(row)
        if {row[0] for row in rows} != set(self._world.submitted):
            self._fail("lost", "the ledger has other deliveries than were submitted")
        for row in rows:
            self._attempts(row, attempts[row[0]])
        running = Counter(row[1] for row in rows if row[2] == "delivering")
        if any(count > self._cap for count in running.values()):
            self._fail("cap", f"{running} run at once")
        twice = self._rows("SELECT * FROM sim_twice")
        if twice:
            self._fail("twice", f"attempt ended again: {twice[0]}")
        self._copies()

    def at_the_end(self) -> None:
        """What must hold when everything is final."""
        self.now()
        unclear = self._unclear()
        there = self._by_delivery()
        for ident, destination, status, *_, receipt in self._rows(_DELIVERY):
            if status in OPEN:
                self._fail("unfinished", f"{ident} is {status}")
            if destination == "hook":
                posted = self._world.hooks.posts[ident]
                if (status == "delivered") > posted:
                    self._fail("lost", f"{ident} is delivered and was never posted")
                if posted and status != "delivered" and ident not in unclear:
                    self._fail("state", f"{ident} was posted and is {status}")
            else:
                self._place(ident, status, receipt, there.get(ident, []), clear=ident not in unclear)
        left = self._world.store.uploads()
        if left:
            self._fail("left", f"uploads that nobody will finish: {sorted(left)}")

    def describe_open(self) -> str:
        """The deliveries that are not final."""
        return "; ".join(str(row[:8]) for row in self._rows(_DELIVERY) if row[2] in OPEN)

    # --- one by one -------------------------------------------------------------------------------

    def _attempts(self, row: Any, attempts: list[Any]) -> None:
        ident, _, status, cycle, attempt, failures, fence, worker, _ = row
        if [a[1] for a in attempts] != list(range(1, attempt + 1)):
            self._fail("gap", f"{ident} has attempts {[a[1] for a in attempts]} of {attempt}")
        running = [a for a in attempts if a[6] == "running"]
        if len(running) != (status == "delivering") or any(a[1] != attempt for a in running):
            self._fail("running", f"{ident} is {status} with {len(running)} attempts that run")
        if running and (running[0][3], running[0][4]) != (fence, worker):
            self._fail("fence", f"{ident} is held under {fence} by {worker}, its attempt is not")
        charged = [a for a in attempts if a[7]]
        if any(a[6] != "failed" or a[8] not in CHARGED for a in charged):
            self._fail("charged", f"{ident}: {[(a[6], a[8]) for a in charged]}")
        if len([a for a in charged if a[2] == cycle]) != failures:
            self._fail("charged", f"{ident} {cycle} counts {failures} failures, its attempts: {attempts}")
        failed = [a for a in attempts if a[6] == "failed" and a[8] in CHARGED]
        if any(not a[7] and (ident, a[3]) not in self._excused for a in failed):
            self._fail("charged", f"{ident} has a failure that was not charged")
        if failures > self._budget:
            self._fail("budget", f"{ident} was charged {failures} times")
        for before, after in itertools.pairwise(attempts):
            if before[2] == after[2] and before[9] is not None and after[5] < before[9]:
                self._fail("early", f"{ident}: attempt {after[1]} came before it was due")
            if after[3] <= before[3]:
                self._fail("fence", f"{ident}: attempt {after[1]} under no higher fence")

    def _moves(self) -> None:
        """Each change since the last look: legal, and by somebody who was entitled to it."""
        for row in self._rows(_NOTED.format(self._seen)):
            self._seen, at, writer, ident, was, became, old, new, worker, taker, *more = row
            due, stated, paused, broken = more
            if broken and was == "delivering" and became != was:
                self._excused.add((ident, old))
            if was == became and was != "pending" and old != new:
                self._fail("move", f"{ident}: fence {old} to {new} while {was}")
            if was != became and (was, became, new > old) not in _MOVES:
                self._fail("move", f"{ident}: {was} to {became}, fence {old} to {new}")
            if was == "delivering" and new == old and writer != worker:
                self._fail("fence", f"{ident}: {writer} wrote what {worker} holds")
            if stated and was == became == "delivering" and writer != worker:
                self._fail("fence", f"{ident}: {writer} saved into what {worker} holds")
            if became == "delivering" and was == "pending":
                if taker != writer:
                    self._fail("fence", f"{ident}: claimed by {writer} for {taker}")
                if due > at:
                    self._fail("early", f"{ident}: claimed {(due - at) / 1e6:g} s before it was due")
                if paused:
                    self._fail("paused", f"{ident}: claimed while its destination is paused")

    def _copies(self) -> None:
        for ident, paths in self._by_delivery().items():
            if len(paths) > 1:
                self._fail("duplicate", f"{ident} is at {paths}")

    def _place(self, ident: str, status: str, receipt: str | None, paths: list[str], *, clear: bool) -> None:
        if status != Status.DELIVERED:
            if paths and clear:
                self._fail("state", f"{ident} is at {paths} and counts as {status}")
            return
        path = json.loads(receipt or "{}").get("path")
        if path not in paths:
            self._fail("lost", f"{ident} should be at {path}, and is at {paths}")
        held = hashlib.sha256(self._world.store.stored(path).data).hexdigest()
        if held != self._world.submitted[ident][1].digests["sha256"]:
            self._fail("corrupt", f"{ident}: other bytes at {path}")

    def _unclear(self) -> set[str]:
        """Deliveries with an attempt whose effect nobody knows."""
        return {
            a[0] for a in self._rows(_ATTEMPTS) if a[6] in UNCLEAR or a[8] == ErrorKind.UNKNOWN_OUTCOME.value
        }

    def _by_delivery(self) -> dict[str, list[str]]:
        store = self._world.store
        found: dict[str, list[str]] = {}
        for path in sorted(store.paths()):
            ident = store.stored(path).delivery_id
            if ident:
                found.setdefault(ident, []).append(path)
        return found

    def _rows(self, question: str) -> list[Any]:
        return list(self._world.shared.ask(question))

    @property
    def _cap(self) -> int:
        from simulation.world import CAP

        return CAP

    @property
    def _budget(self) -> int:
        from simulation.world import SCHEDULE

        return len(SCHEDULE) + 1

    def _fail(self, which: str, what: str) -> None:
        raise Broken(f"{which}: {what}")
