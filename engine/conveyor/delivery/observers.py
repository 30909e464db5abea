"""Asks and tells the plugins around deliveries; what a plugin does wrong is counted and harms nothing.

Asking (``conveyor_before_attempt``) happens in the attempt's own thread, telling in a thread of this module,
so that a slow observer slows no delivery. What is to be told waits in memory: a process that dies tells
nobody. Whoever must not miss an outcome asks the ledger.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from conveyor.clock import SECOND, Clock
from conveyor.delivery.loops import Loop
from conveyor.errors import LedgerError
from conveyor.hooks import Alert, AttemptEnded, Decision, Delay, DeliveryFinal, Place
from conveyor.ledger.plugin_failures import PluginFailure
from conveyor.ledger.records import AttemptReport, DeliveryRecord, Status

if TYPE_CHECKING:
    from conveyor.config import Destination
    from conveyor.contract import Parcel
    from conveyor.ledger.facade import Ledger
    from conveyor.log import EngineLog
    from conveyor.plugins import Plugins

BEFORE = "conveyor_before_attempt"
AFTER = "conveyor_after_attempt"
FINAL = "conveyor_delivery_final"
CHANGED = "conveyor_destination_changed"
ALERT = "conveyor_alert"

WAITING = 10_000
"""Things to tell that may wait; what comes beyond is dropped and counted, the oldest first."""

LOOK = 0.2
"""Seconds between looks at what is to be told."""

LONGEST_DELAY = 30 * 86400.0
"""Seconds."""


class Observers:
    """What this process's plugins are asked and told.

    Args:
        plugins: All of them.
        ledger: Has the deliveries that events are about, and keeps the counts of failures.
        clock: Time.
        log: For failures.
    """

    def __init__(self, plugins: Plugins, ledger: Ledger, *, clock: Clock, log: EngineLog) -> None:
        self._plugins = plugins
        self._ledger = ledger
        self._clock = clock
        self._log = log
        self._lock = threading.Lock()
        self._queue: deque[Callable[[], None]] = deque(maxlen=WAITING)
        self._dropped = 0
        self._counted: Counter[tuple[str, str]] = Counter()
        self._loop = Loop("observers", self._round, log)

    def start(self) -> None:
        """Start telling."""
        self._loop.start()

    def stop(self, timeout: float) -> None:
        """End; what waits is told first, as far as ``timeout`` seconds allow."""
        end = time.monotonic() + timeout
        if self._loop.stop(timeout):
            # A plugin that hangs must not keep the process from ending.
            last = threading.Thread(target=self._round, name="observers", daemon=True)
            last.start()
            last.join(max(0.0, end - time.monotonic()))
        if self._queue:
            self._log.warning("not all was told before the end: events dropped", count=len(self._queue))

    # --- asking ----------------------------------------------------------------------------------

    def decision(
        self, parcel: Parcel, destination: Destination, path: str, attempt: int
    ) -> tuple[str, Decision] | None:
        """What the first plugin that objects to an attempt says, with its name; None when none does."""
        if not self._plugins.has(BEFORE):
            return None
        place = Place(destination.id, destination.type, dict(destination.labels))
        asked = self._plugins.ask(BEFORE, parcel=parcel, place=place, path=path, attempt=attempt)
        for plugin, answer in asked:
            if isinstance(answer, BaseException):
                self._note(plugin.name, BEFORE, answer)
            elif isinstance(answer, Decision) and _sound(answer):
                return plugin.name, answer
            elif answer is not None:
                self._plugins.failed(plugin.name, BEFORE)
                self._note(plugin.name, BEFORE, TypeError("no sound Fail, Hold or Delay"))
        return None

    # --- telling ---------------------------------------------------------------------------------

    def ended(self, reports: Sequence[AttemptReport]) -> None:
        """These attempts have ended, and that stands in the ledger. Returns at once."""
        if self._plugins.has(AFTER):
            for report in reports:
                self._put(partial(self.tell, AFTER, event=_attempt_ended(report)))
        self.final([r.delivery_id for r in reports if r.status in (Status.DELIVERED, Status.FAILED)])

    def final(self, ids: Iterable[str]) -> None:
        """These deliveries are final. Returns at once."""
        if self._plugins.has(FINAL) or self._plugins.has(ALERT):
            for ident in ids:
                self._put(partial(self.tell_final, ident))

    def tell_final(self, delivery_id: str) -> None:
        """Tell now, in this thread, that a delivery is final; nothing when it is not any more."""
        record = self._ledger.deliveries.get(delivery_id)
        if record is None or record.finished_at is None:
            return
        self.tell(FINAL, event=_final(record))
        if record.status is Status.FAILED:
            kind = None if record.last_error_kind is None else str(record.last_error_kind)
            cure = f"conveyor show {record.id}, then conveyor replay {record.id}"
            self.alert("delivery_failed", record.id, kind, record.last_error or "failed", cure)

    def alert(self, event: str, subject: str, reason: str | None, message: str, cure: str | None) -> None:
        """Alert now, in this thread."""
        if self._plugins.has(ALERT):
            at = self._clock.now() / SECOND
            self.tell(ALERT, alert=Alert(event, subject, reason, message, cure, at))

    def wants(self, *hooks: str) -> bool:
        """Whether a plugin implements one of these."""
        return any(self._plugins.has(hook) for hook in hooks)

    def tell(self, hook: str, **event: Any) -> None:
        """Call a hook on each plugin that implements it, in this thread."""
        for plugin, answer in self._plugins.ask(hook, **event):
            if isinstance(answer, BaseException):
                self._note(plugin.name, hook, answer)

    def step(self) -> None:
        """Tell all that waits, and write down what has failed."""
        while self._queue:
            telling = self._queue.popleft()
            try:
                telling()
            except LedgerError:
                self._put_back(telling)
                raise
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        if dropped:
            self._log.warning("plugins are too slow: events dropped", count=dropped)
        self.write_failures()

    def write_failures(self) -> None:
        """Add the failures since the last time to the ledger's counts."""
        now = self._clock.now()
        found = self._plugins.failures - self._counted
        if found:
            last = self._plugins.last_errors
            self._ledger.plugin_failures.add(
                [PluginFailure(p, h, count, now, last.get((p, h), "")) for (p, h), count in found.items()]
            )
            self._counted += found

    # --- inside ----------------------------------------------------------------------------------

    def _put(self, telling: Callable[[], None]) -> None:
        with self._lock:
            self._dropped += len(self._queue) == WAITING
            self._queue.append(telling)

    def _put_back(self, telling: Callable[[], None]) -> None:
        with self._lock:
            if len(self._queue) < WAITING:
                self._queue.appendleft(telling)
            else:
                self._dropped += 1

    def _note(self, plugin: str, hook: str, error: BaseException) -> None:
        self._log.warning("a plugin's hook failed", plugin=plugin, hook=hook, error=type(error).__name__)
        count = self._plugins.failures[plugin, hook]
        # A hook that always fails alerts at the first failure, the second, the fourth …
        if hook != ALERT and count & (count - 1) == 0:
            cure = "mend, update or uninstall it; deliveries go on without it"
            message = f"{hook} raised {type(error).__name__}, {count} times by now"
            self._put(partial(self.alert, "plugin_failed", plugin, hook, message, cure))

    def _round(self) -> float:
        try:
            self.step()
        except LedgerError as error:
            self._log.warning("observers wait for the ledger", error=error.message)
            return 1.0
        return LOOK


def _sound(decision: Decision) -> bool:
    if not isinstance(decision.reason, str):
        return False
    if not isinstance(decision, Delay):
        return True
    # A timedelta or a text would raise when compared.
    return isinstance(decision.seconds, int | float) and 0 <= decision.seconds <= LONGEST_DELAY


def _seconds(micros: int | None) -> float | None:
    return None if micros is None else micros / SECOND


def _attempt_ended(report: AttemptReport) -> AttemptEnded:
    pending = report.status is Status.PENDING
    return AttemptEnded(
        delivery_id=report.delivery_id,
        destination=report.destination,
        attempt=report.attempt,
        outcome=report.outcome.value,
        status=report.status.value,
        follows=report.follows,
        charged=report.charged,
        started_at=report.started_at / SECOND,
        finished_at=report.finished_at / SECOND,
        next_attempt_at=_seconds(report.next_attempt_at) if pending else None,
        bytes_sent=report.bytes_sent,
        kind=None if report.kind is None else report.kind.value,
        message=report.message,
        receipt=report.receipt,
    )


def _final(record: DeliveryRecord) -> DeliveryFinal:
    failed = record.status is Status.FAILED
    return DeliveryFinal(
        delivery_id=record.id,
        job_id=record.job_id,
        destination=record.destination,
        status=record.status.value,
        attempts=record.attempt,
        kind=record.last_error_kind.value if failed and record.last_error_kind is not None else None,
        message=record.last_error if failed else None,
        receipt=record.receipt,
    )
