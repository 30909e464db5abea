"""Watches running attempts: tells late ones to stop, and writes off those that do not."""

from __future__ import annotations

import threading
from collections.abc import Callable

from conveyor.clock import Clock
from conveyor.contract import Log
from conveyor.delivery.attempt import Attempt
from conveyor.delivery.context import Stop
from conveyor.ledger.records import AttemptReport

LOOK = 0.25
"""Seconds between looks."""


class Watchdog:
    """The attempts that run in this process.

    Args:
        grace: Seconds an attempt has to stop after it was told to.
        clock: Time.
        log: For what is written off.
        write_off: Called with the attempt and its report when its thread is given up.
    """

    def __init__(
        self,
        *,
        grace: float,
        clock: Clock,
        log: Log,
        write_off: Callable[[Attempt, AttemptReport], None],
    ) -> None:
        self._grace = grace
        self._clock = clock
        self._log = log
        self._write_off = write_off
        self._lock = threading.Lock()
        self._running: dict[str, Attempt] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._end.set()
        if self._thread.ident is not None:
            self._thread.join()

    def enter(self, attempt: Attempt) -> None:
        """An attempt begins."""
        with self._lock:
            self._running[attempt.claim.delivery_id] = attempt

    def leave(self, attempt: Attempt) -> bool:
        """An attempt has ended; False when it had been written off meanwhile."""
        with self._lock:
            if self._running.get(attempt.claim.delivery_id) is not attempt:
                return False
            del self._running[attempt.claim.delivery_id]
            return True

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
        now = self._clock.monotonic()
        for attempt in self.running():
            context = attempt.context
            if context.stopped is None:
                late = context.overdue(now)
                if late is not None:
                    context.stop(late)
            elif context.stopped in (Stop.DEADLINE, Stop.IDLE) and context.ignoring(now) >= self._grace:
                self._give_up(attempt)

    def _give_up(self, attempt: Attempt) -> None:
        if not self.leave(attempt):
            return
        self._log.warning(
            "attempt ignores its limits: thread written off",
            delivery=attempt.claim.delivery_id,
            destination=attempt.claim.destination,
        )
        self._write_off(attempt, attempt.written_off())

    def _run(self) -> None:
        while not self._end.wait(LOOK):
            self.look()
