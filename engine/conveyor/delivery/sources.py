"""Runs the payload sources of plugins, each in one process of all at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from conveyor.clock import Clock, micros
from conveyor.delivery.loops import Loop
from conveyor.errors import LedgerError
from conveyor.intake import Item
from conveyor.log import EngineLog

if TYPE_CHECKING:
    from conveyor.hooks import PayloadSource
    from conveyor.ledger.facade import Ledger
    from conveyor.ledger.records import Submitted
    from conveyor.plugins import Plugins
    from conveyor.submission import Submitter

HOOK = "conveyor_payload_sources"
LEASE, LOOK = 30.0, 5.0
"""Seconds that a source's lease lasts, and between its renewals."""

FIRST_PAUSE, LAST_PAUSE = 1.0, 300.0
"""Seconds before a source that ended is begun again: doubling; the first again after a sound hour."""

SOUND = 3600.0


class Context:
    """Implements :class:`conveyor.hooks.SourceContext`."""

    def __init__(self, submitter: Callable[[], Submitter], ring: Callable[[], None], log: EngineLog) -> None:
        self._submitter = submitter
        self._ring = ring
        self.log = log
        self.end = threading.Event()

    def submit(self, item: Item) -> Submitted:
        """Submit one file, and wake the workers."""
        rest: dict[str, Any] = {f.name: getattr(item, f.name) for f in fields(item) if f.name != "source"}
        submitted = self._submitter().submit(item.source, **rest)
        self._ring()
        return submitted

    def wait(self, seconds: float) -> bool:
        """Sleep; True when the source must end."""
        return self.end.wait(seconds)


class SourceRunner:
    """Runs one source while this process has its lease.

    Args:
        plugin: Whose it is.
        source: The source.
        ledger: Has the lease.
        plugins: Count its failures.
        me: The worker's id.
        submitter: The one of the newest config.
        ring: Wakes the workers of this process.
        clock: Time.
        log: For failures.
    """

    def __init__(
        self,
        plugin: str,
        source: PayloadSource,
        ledger: Ledger,
        plugins: Plugins,
        me: str,
        *,
        submitter: Callable[[], Submitter],
        ring: Callable[[], None],
        clock: Clock,
        log: EngineLog,
    ) -> None:
        self._plugin = plugin
        self._source = source
        self._ledger = ledger
        self._plugins = plugins
        self._me = me
        self._make: Callable[[], Context] = lambda: Context(submitter, ring, log)
        self._clock = clock
        self._log = log
        self._lease = f"source:{source.name}"
        self._context: Context | None = None
        self._thread: threading.Thread | None = None
        self._pause = FIRST_PAUSE
        self._not_before = float("-inf")
        self._loop = Loop(self._lease, self._round, log)

    def start(self) -> None:
        """Start; the source runs as soon as this process has the lease."""
        self._loop.start()

    def stop(self, timeout: float) -> bool:
        """Tell the source to end, and give the lease up once it has; False when it did not."""
        self._loop.stop(timeout)
        self._end()
        if self._thread is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                return False  # its lease runs out: no other process begins while it may still submit
        with suppress(LedgerError):
            self._ledger.leases.release(self._lease, self._me)
        return True

    def step(self) -> bool:
        """Take or renew the lease; begin the source or tell it to end. Tells whether this process leads."""
        now = self._clock.now()
        leads = self._ledger.leases.take(self._lease, self._me, now + micros(LEASE), now)
        running = self._thread is not None and self._thread.is_alive()
        if not leads:
            self._end()
        elif not running and self._clock.monotonic() >= self._not_before:
            self._context = self._make()
            self._thread = threading.Thread(
                target=self._run, args=(self._context,), name=self._lease, daemon=True
            )
            self._thread.start()
        return leads

    def _end(self) -> None:
        if self._context is not None:
            self._context.end.set()

    def _run(self, context: Context) -> None:
        began = self._clock.monotonic()
        try:
            self._source.run(context)
        except (Exception, SystemExit) as error:
            self._plugins.failed(self._plugin, HOOK, error)
            self._log.warning(
                "a payload source failed", plugin=self._plugin, source=self._source.name,
                error=type(error).__name__,
            )  # fmt: skip
        ended = self._clock.monotonic()
        if ended - began >= SOUND:
            self._pause = FIRST_PAUSE
        self._not_before = ended + self._pause
        self._pause = min(2 * self._pause, LAST_PAUSE)

    def _round(self) -> float:
        try:
            self.step()
        except LedgerError as error:
            self._log.warning("a payload source waits for the ledger", error=error.message)
            self._end()  # the lease may run out
        return min(LOOK, self._pause)
