"""Watches running attempts: tells those to stop that are late or not ours any more, writes off the deaf."""

from __future__ import annotations

import threading
from collections.abc import Callable

from conveyor.clock import Clock
from conveyor.delivery.attempt import Attempt
from conveyor.delivery.context import Lease, Stop
from conveyor.delivery.loops import Loop
from conveyor.ledger.records import AttemptReport
from conveyor.log import EngineLog

LOOK = 0.25
"""Seconds between looks."""

STALLED = 1.0
"""After so many seconds without progress an attempt is stalled: others do not wait for its thread."""


class Watchdog:
    """The attempts that run in this process.

    Args:
        grace: Seconds an attempt has to stop after it was told to.
        lease: Without it no attempt goes on.
        clock: Time.
        log: For what is written off.
        write_off: Called with the attempt and its report when its thread is given up; the report is None
            when the delivery is somebody else's.
        stalled: Called at each look with the number of attempts that make no progress, and the destinations
            of which none does.
    """

    def __init__(
        self,
        *,
        grace: float,
        lease: Lease,
        clock: Clock,
        log: EngineLog,
        write_off: Callable[[Attempt, AttemptReport | None], None],
        stalled: Callable[[int, frozenset[str]], None] = lambda count, destinations: None,
    ) -> None:
        self._grace = grace
        self._lease = lease
        self._clock = clock
        self._log = log
        self._write_off = write_off
        self._stalled = stalled
        self._lock = threading.Lock()
        self._running: dict[tuple[str, int], Attempt] = {}
        """By delivery and fence: a delivery may be claimed anew beside an old attempt at it."""
        self._loop = Loop("watchdog", self._round, log)

    def start(self) -> None:
        """Start watching."""
        self._loop.start()

    def stop(self, timeout: float) -> None:
        """Stop watching, within ``timeout`` seconds."""
        self._loop.stop(timeout)

    def enter(self, attempt: Attempt) -> None:
        """An attempt begins."""
        with self._lock:
            self._running[attempt.claim.delivery_id, attempt.claim.fence] = attempt

    def leave(self, attempt: Attempt) -> bool:
        """An attempt has ended; False when it had been written off meanwhile."""
        with self._lock:
            return self._running.pop((attempt.claim.delivery_id, attempt.claim.fence), None) is not None

    def running(self) -> list[Attempt]:
        """The attempts under way."""
        with self._lock:
            return list(self._running.values())

    def stop_all(self, reason: Stop) -> None:
        """Tell all attempts to stop."""
        for attempt in self.running():
            attempt.context.stop(reason)

    def keep_only(self, held: frozenset[tuple[str, int]], owns: Callable[[str, int], bool]) -> None:
        """Stop the attempts whose claim is no longer ours.

        Args:
            held: What the beat found; claims committed since are not in it.
            owns: Asks the ledger again, for those.
        """
        for attempt in self.running():
            claim = attempt.claim
            if (claim.delivery_id, claim.fence) not in held and not owns(claim.delivery_id, claim.fence):
                attempt.context.stop(Stop.FENCED)

    def look(self) -> None:
        """Judge each attempt once."""
        if not self._lease.confirmed():
            self.stop_all(Stop.LEASE)
        now = self._clock.monotonic()
        running = self.running()
        stalled = [a for a in running if a.context.unmoved(now) >= STALLED]
        moving = {a.claim.destination for a in running if a.context.unmoved(now) < STALLED}
        self._stalled(len(stalled), frozenset(a.claim.destination for a in stalled) - moving)
        for attempt in running:
            context = attempt.context
            if context.stopped is None:
                late = context.overdue(now)
                if late is not None:
                    context.stop(late)
            elif context.ignoring(now) >= self._grace:
                self._give_up(attempt)

    def _give_up(self, attempt: Attempt) -> None:
        if not self.leave(attempt):
            return
        self._log.warning(
            "attempt does not stop: thread written off",
            delivery=attempt.claim.delivery_id,
            destination=attempt.claim.destination,
            reason=attempt.context.stopped,
        )
        self._write_off(attempt, attempt.written_off())

    def _round(self) -> float:
        self.look()
        return LOOK
