"""Writes what attempts achieved, in groups; while the ledger is away it keeps it and writes it later."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from conveyor.clock import Clock
from conveyor.errors import LedgerError
from conveyor.ledger.facade import Ledger
from conveyor.ledger.records import AttemptReport
from conveyor.log import EngineLog

GROUP = 256
"""Reports written in one transaction at most."""

GATHER = 0.01
"""Seconds that reports wait for others while this process has more work than threads: half of what a
transaction costs it costs for any number of reports."""

FIRST_WAIT, LAST_WAIT = 0.05, 5.0
"""Seconds between tries while the ledger is away: doubling."""


class Completions:
    """A thread that records attempt reports.

    Args:
        ledger: Where to.
        clock: Stamps the record.
        log: Says when reports wait or were fenced out.
        written: Called after each group with its reports.
        crowded: Whether work waits for a free thread, so that more reports are about to come.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        clock: Clock,
        log: EngineLog,
        written: Callable[[Sequence[AttemptReport]], None],
        crowded: Callable[[], bool],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._log = log
        self._written = written
        self._crowded = crowded
        self._queue: deque[AttemptReport] = deque()
        self._wake = threading.Condition()
        self._writing: Sequence[AttemptReport] = ()
        self._ending = False
        self._giving_up = False
        self.ledger_away = threading.Event()
        """Set while reports wait because the ledger cannot be written: claim nothing new."""
        self._thread = threading.Thread(target=self._run, name="completions", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, report: AttemptReport) -> None:
        """Hand a report over; returns at once."""
        with self._wake:
            self._queue.append(report)
            if len(self._queue) in (1, GROUP):  # nothing between them is waited for
                self._wake.notify_all()

    def flush(self) -> None:
        """Write what waits in the calling thread, once; for engines that run without threads."""
        while self._queue:
            group = [self._queue.popleft() for _ in range(min(GROUP, len(self._queue)))]
            self._record(group)

    def idle(self) -> bool:
        """Nothing waits and nothing is being written."""
        with self._wake:
            return not self._queue and not self._writing

    def waiting(self) -> list[AttemptReport]:
        """The reports that are not written yet."""
        with self._wake:
            return [*self._queue, *self._writing]

    def stop(self, timeout: float) -> bool:
        """Write what waits and end; False when ``timeout`` seconds were not enough."""
        with self._wake:
            self._ending = True
            self._wake.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        with self._wake:
            self._giving_up = True
            self._wake.notify_all()
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._queue or self._ending)
                if not self._queue:
                    return
                if self._crowded():
                    self._wake.wait_for(lambda: len(self._queue) >= GROUP or self._ending, GATHER)
                group = [self._queue.popleft() for _ in range(min(GROUP, len(self._queue)))]
                self._writing = group
            try:
                written = self._write(group)
            finally:
                with self._wake:
                    self._writing = ()
            if not written:
                return

    def _write(self, group: list[AttemptReport]) -> bool:
        wait = FIRST_WAIT
        while True:
            try:
                self._record(group)
            except LedgerError as error:
                self._log.warning("ledger away", waiting=len(group) + len(self._queue), error=error.message)
                self.ledger_away.set()
                with self._wake:
                    if self._wake.wait_for(lambda: self._giving_up, wait):
                        return False
                wait = min(wait * 2, LAST_WAIT)
                continue
            except Exception:
                self._log.exception("reports cannot be written", deliveries=[r.delivery_id for r in group])
                return all(self._write([report]) for report in _smaller(group))
            self.ledger_away.clear()
            return True

    def _record(self, group: Sequence[AttemptReport]) -> None:
        written = self._ledger.outcomes.write(group, self._clock.now())
        for delivery_id in {report.delivery_id for report in group} - {each.delivery_id for each in written}:
            self._log.warning("result discarded: the delivery is no longer ours", delivery=delivery_id)
        self._written(written)


def _smaller(group: Sequence[AttemptReport]) -> Sequence[AttemptReport]:
    """What to write one by one instead of a group that cannot be written: one bad report stops no other.

    One alone is written without its details; if even that fails, its delivery stays leased until this process
    ends, and then counts as lost.
    """
    if len(group) > 1:
        return group
    bare = replace(group[0], receipt=None, response=None, hint=None, code=None, timings={})
    return [] if bare == group[0] else [bare]
