"""Background threads that nothing ends but their owner: a failed round is logged, and the next one comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from conveyor.log import EngineLog

AFTER_DEFECT = 1.0
"""Seconds before the next round when one failed unexpectedly."""


class Loop:
    """Calls a step again and again in a daemon thread.

    Args:
        name: The thread's, and the log's.
        step: One round; returns the seconds until the next one. What it raises is a defect: it is logged.
        log: For defects.
    """

    def __init__(self, name: str, step: Callable[[], float], log: EngineLog) -> None:
        self._name = name
        self._step = step
        self._log = log
        self._end = threading.Event()
        self.turned_at = time.monotonic()
        """When the last round began."""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start; the first round begins at once."""
        self._thread.start()

    def stop(self, timeout: float | None = None) -> bool:
        """End after the round under way; False when ``timeout`` seconds were not enough for it."""
        self._end.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        wait = 0.0
        while not self._end.wait(wait):
            self.turned_at = time.monotonic()
            try:
                wait = self._step()
            except BaseException:
                # Without its heartbeat or its reaper a process would do harm: the thread must live on. Not
                # only Exception: a connector that is closed or cleaned up after may call sys.exit().
                self._log.exception("defect in a background thread", thread=self._name)
                wait = AFTER_DEFECT
