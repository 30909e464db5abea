"""Chooses what to do next: fairly over destinations, within their caps, never a paused or blocked one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from conveyor.clock import SECOND, Clock, micros
from conveyor.contract import Log
from conveyor.delivery.flows import Flows
from conveyor.holds import Reason, hold_of, served_at
from conveyor.ledger.facade import Ledger
from conveyor.ledger.flow import members_of
from conveyor.ledger.records import (
    AttemptReport,
    Block,
    Claimed,
    DueDestination,
    JobRecord,
    Placement,
    Status,
    Wanted,
)

if TYPE_CHECKING:
    from conveyor.config import Destination, DestinationSource

POLL = 0.01
"""Seconds between looks for what other processes have written (a 2.5 µs read on SQLite)."""

SCAN_SHARE = 5.0
"""After a scan of the due destinations, the next one waits this many times as long as the scan took."""

SCAN_REST = 2.0
"""Seconds that it waits at most: a process that was frozen, or whose ledger did not answer, was not busy."""

RESCAN = 1.0
"""Seconds after which the due destinations are scanned again in any case."""

Place = Callable[["Destination", JobRecord, str, int], Placement | None]


@dataclass(frozen=True, slots=True)
class Ready:
    """A destination that may be served now."""

    destination: Destination
    due: DueDestination
    probe: Block | None


class Dispatcher:
    """Claims due work for one process.

    Args:
        ledger: The truth.
        worker_id: Who claims.
        source: The destinations, always the newest.
        place: Renders path and policy of a first attempt; None when it cannot.
        clock: Time.
        log: For releases after an edit.
        only: Serve these destinations alone; None for all.
    """

    def __init__(
        self,
        ledger: Ledger,
        worker_id: str,
        source: DestinationSource,
        *,
        place: Place,
        clock: Clock,
        log: Log,
        only: Callable[[Destination], bool] | None = None,
    ) -> None:
        self._ledger = ledger
        self._worker_id = worker_id
        self._source = source
        self._place = place
        self._clock = clock
        self._log = log
        self._only = only
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._dirty = True
        self._due: list[DueDestination] = []
        self._exhausted: set[str] = set()
        """Of these nothing more can be taken before something has changed."""
        self._sharers: dict[str, tuple[str, ...]] = {}
        """Destinations that share a cap with one, where some do."""
        self._served: dict[str, int] = {}
        self._probed: dict[str, Block] = {}
        self._released: dict[str, str] = {}
        self._stalled: frozenset[str] = frozenset()
        self._flows = Flows(source)
        self._paced: dict[str, int] = {}
        """Until when the rate of a destination lets nothing through, as far as is known here."""
        self._suspects: set[str] = set()
        """Destinations that have stalled here and have not delivered since."""
        self._news = threading.Lock()
        self._freed: set[str] = set()
        """Destinations with outcomes written since the last choice: there may be room under their caps."""
        self._moving: set[str] = set()
        """Those of them that have delivered."""
        self._asleep = False
        """Nothing may be served before the next scan."""
        self._scanned_at = float("-inf")
        self._scan_not_before = float("-inf")
        self.next_wake: int | None = None
        """When the next work known falls due, microseconds; None when none is known."""

    # --- the doorbell ----------------------------------------------------------------------------

    def ring(self) -> None:
        """Something in the ledger has changed: look again."""
        self._dirty = True
        self._bell.set()

    def settled(self, reports: Sequence[AttemptReport]) -> None:
        """These outcomes were written: look again if they change what is due or free a place under a cap.

        Does not wait for a claim under way.
        """
        with self._news:
            for name in {report.destination for report in reports}:
                self._freed.update((name,), self._sharers.get(name, ()))
            self._moving.update(r.destination for r in reports if r.status is Status.DELIVERED)
        if any(report.status is Status.PENDING or report.block is not None for report in reports):
            self.ring()
        elif not self._exhausted.isdisjoint(self._freed):
            self._bell.set()

    def stalled(self, destinations: frozenset[str]) -> None:
        """No attempt to these makes progress: they get nothing more until one does, and others come first."""
        if destinations != self._stalled:
            with self._lock:
                self._hear()  # what was delivered before this is no sign of life
                moved = self._stalled - destinations
                self._stalled = destinations
                self._suspects |= destinations
            if moved:
                self.ring()

    def wake(self) -> None:
        """A thread is free: claim if something is known to be due."""
        self._bell.set()

    def wait(self, timeout: float) -> None:
        """Sleep until the bell rings, the next due time, or ``timeout`` seconds; never long."""
        until_due = (self.next_wake - self._clock.now()) / SECOND if self.next_wake is not None else 0.0
        if until_due > 0:
            timeout = min(timeout, until_due)
        self._bell.wait(min(timeout, POLL))
        self._bell.clear()

    # --- claiming --------------------------------------------------------------------------------

    def claim(self, room: int) -> list[Claimed]:
        """Take at most ``room`` deliveries."""
        with self._lock:
            now = self._clock.now()
            wanted = self._choose(room, now)
            if not wanted:
                return []
            claims = self._ledger.claims.claim(self._worker_id, wanted, now, paced=self._pace)
            self._learn(wanted, claims, now)
            return claims

    def claim_woken(self, ids: Sequence[str]) -> dict[str, Claimed]:
        """Take those of these deliveries that are due and may be served; by id."""
        with self._lock:
            now = self._clock.now()
            wanted: list[Wanted] = []
            blocks: dict[str, Block | None] = {}
            for name, (due, of_it) in self._ledger.wakeups.woken(ids, now).items():
                destination = self._source.get(name)
                if destination is None or name in self._stalled:
                    continue
                if self._only is not None and not self._only(destination):
                    continue
                at, block = self._standing(due, destination)
                if at is not None and at <= now:
                    ready = Ready(destination, due, block)
                    wanted.append(replace(self._want(ready, len(of_it)), only=tuple(of_it)))
                    blocks[name] = block
            claims = self._ledger.claims.claim(self._worker_id, wanted, now, paced=self._pace)
            for claim in claims:
                self._note_probe(claim, blocks.get(claim.destination))
            return {claim.delivery_id: claim for claim in claims}

    def choose(self, room: int) -> list[Wanted]:
        """How many of which destinations to serve next, without taking any: for whoever wakes others."""
        with self._lock:
            return self._choose(room, self._clock.now())

    def servable(self, destinations: Collection[str]) -> set[str]:
        """Those of these destinations of which something may be served now: for whoever wakes others."""
        with self._lock:
            now = self._clock.now()
            if self._look(now):
                self._asleep = False
            of_them = (due for due in self._due if due.destination in destinations)
            return {item.destination.id for item, at in self._standings(of_them) if at <= now}

    def paced(self, destination: str, until: int) -> None:
        """The rate of a destination lets nothing through before ``until``: for whoever wakes others."""
        with self._lock:
            self._pace(destination, until)

    def served(self, wanted: Sequence[Wanted], exhausted: Collection[str]) -> None:
        """What was chosen is under way; of ``exhausted`` destinations nothing more is due."""
        with self._lock:
            now = self._clock.now()
            self._served.update({item.destination: now for item in wanted})
            self._exhausted.update(exhausted)
            if exhausted:
                self._dirty = True  # what was taken no longer shows when the next one falls due

    def probe_of(self, claim: Claimed) -> Block | None:
        """The block that this claim probes."""
        return self._probed.pop(claim.delivery_id, None) if claim.probe else None

    def due_within(self, seconds: float) -> bool:
        """Whether anything that may be served is due now or within ``seconds``; reads the ledger afresh."""
        with self._lock:
            self._dirty, self._scan_not_before = True, float("-inf")
            now = self._clock.now()
            self._look(now)
            self._asleep = False
            # What waits for its rate, or behind attempts that stalled, is due all the same.
            return any(at <= now + micros(seconds) for _, at in self._standings(self._due))

    # --- inside ----------------------------------------------------------------------------------

    def _choose(self, room: int, now: int) -> list[Wanted]:
        self._hear()
        if not self._look(now) and self._asleep:
            return []
        ready, self.next_wake = self._survey(now)
        self._asleep = not ready
        return self._share(ready, room) if ready else []

    def _hear(self) -> None:
        """Take in what was settled: a place under a cap needs no scan of what is due."""
        with self._news:
            freed, self._freed = self._freed, set()
            moving, self._moving = self._moving, set()
        self._suspects -= moving
        if reopened := self._exhausted.intersection(freed):
            self._exhausted -= reopened
            self._asleep = False

    def _look(self, now: int) -> bool:
        """Scan the due destinations if anything may have changed; tells whether it did."""
        instant = self._clock.monotonic()
        if instant < self._scan_not_before:
            return False
        stale = instant - self._scanned_at >= RESCAN
        woken = self.next_wake is not None and self.next_wake <= now
        if not (self._ledger.database.changed() or self._dirty or stale or woken):
            return False
        self._dirty = False
        self._due = self._ledger.claims.due(now)
        self._exhausted.clear()
        done = self._clock.monotonic()
        self._scanned_at = done
        self._scan_not_before = done + min(SCAN_SHARE * (done - instant), SCAN_REST)
        return True

    def _survey(self, now: int) -> tuple[list[Ready], int | None]:
        """The destinations to serve at ``now``, least recently served first, and when the next one is due."""
        ready: list[Ready] = []
        wake: int | None = None
        gone, stalled = self._exhausted, self._stalled
        open_ = (d for d in self._due if d.destination not in gone and d.destination not in stalled)
        for item, at in self._standings(open_):
            at = max(at, self._paced.get(item.destination.id, 0))
            if at <= now:
                ready.append(item)
            elif wake is None or at < wake:
                wake = at
        ready.sort(key=lambda item: (item.destination.id in self._suspects, self._last_served(item, now)))
        return ready, wake

    def _standings(self, dues: Iterable[DueDestination]) -> Iterator[tuple[Ready, int]]:
        """Those that may be served by this process at some time, each with that time."""
        for due in dues:
            destination = self._source.get(due.destination)
            if destination is None or (self._only is not None and not self._only(destination)):
                continue
            at, block = self._standing(due, destination)
            if at is not None:
                yield Ready(destination, due, block), at

    def _pace(self, destination: str, until: int) -> None:
        # Looked at again before that in any case: an edit may have raised the rate.
        at = self._paced[destination] = min(until, self._clock.now() + micros(RESCAN))
        self.next_wake = at if self.next_wake is None else min(self.next_wake, at)

    def _last_served(self, item: Ready, now: int) -> int:
        here = self._served.get(item.destination.id, 0)
        # A time that lies ahead is of before the clock was set back: nobody waits for it to pass.
        return max(item.due.health.last_served, here if here <= now else 0)

    def _standing(self, due: DueDestination, destination: Destination) -> tuple[int | None, Block | None]:
        """When a destination may be served, and the block that this would probe. Ends what an edit ended."""
        reason = hold_of(destination, due.health)
        block = due.health.block
        if reason is not None or block is None:
            return served_at(due, reason), block
        if self._released.get(destination.id) == destination.revision:
            # It was tried with this revision. Whoever blocked it since has another one: a machine whose
            # config differs. Releasing that too would make both try for ever, without a pause.
            return served_at(due, Reason(block.reason.value)), block
        self._ledger.health.release(destination.id, self._clock.now(), under=due.health.block_revision)
        self._released[destination.id] = destination.revision
        self._log.info("destination edited: released", destination=destination.id, was=block.reason)
        self._dirty = True
        return due.next_attempt_at, None

    def _share(self, ready: Sequence[Ready], room: int) -> list[Wanted]:
        """Divide ``room`` evenly; what one destination leaves is taken up in the next round."""
        chosen = ready[:room]
        each = -(-room // len(chosen))
        wanted = []
        for item in chosen:
            limit = 1 if item.probe or item.destination.id in self._suspects else min(each, room)
            wanted.append(self._want(item, limit))
            room -= limit
            if room <= 0:
                break
        return wanted

    def _want(self, item: Ready, limit: int) -> Wanted:
        destination = item.destination
        return Wanted(
            destination.id,
            limit,
            destination.limits.concurrency,
            destination.revision,
            partial(self._place, destination),
            probe=item.probe is not None,
            ranked=item.due.ranked,
            flows=self._flows.of(destination),
            asked_at=self._clock.monotonic(),
        )

    def _learn(self, wanted: Sequence[Wanted], claims: Sequence[Claimed], now: int) -> None:
        taken: dict[str, int] = {}
        blocks = {due.destination: due.health.block for due in self._due}
        for claim in claims:
            taken[claim.destination] = taken.get(claim.destination, 0) + 1
            self._note_probe(claim, blocks.get(claim.destination))
        for item in wanted:
            self._served[item.destination] = now
            if members := members_of(item.flows):
                self._sharers.update(dict.fromkeys(members, tuple(members)))
            suspect = item.destination in self._suspects
            if self._paced.get(item.destination, 0) > now and not item.probe:
                continue  # its rate, not the lack of work: asked again when that allows more
            if taken.get(item.destination, 0) < item.limit or item.probe or suspect:
                # Nothing more due, or at its cap: not asked again before something has changed.
                self._exhausted.add(item.destination)
                # What was taken no longer shows when the next one falls due.
                if taken:
                    self._dirty = True
        if not self._exhausted.isdisjoint(self._freed):
            self._bell.set()  # settled while this claim was under way, which may not have seen it

    def _note_probe(self, claim: Claimed, block: Block | None) -> None:
        if claim.probe and block is not None:
            self._probed[claim.delivery_id] = block
