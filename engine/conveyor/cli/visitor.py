"""Waiting for deliveries; where nobody else delivers from a file ledger, this process does meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from conveyor.errors import Exit

if TYPE_CHECKING:
    from conveyor.config import Destination
    from conveyor.delivery.engine import Engine
    from conveyor.installation import Installation
    from conveyor.ledger.records import WorkerRecord
    from conveyor.status.views import DeliveryStatus

POLL = 0.05
"""Seconds between looks; more when a look takes long."""

SHARE = 5.0
"""Seconds of waiting for each second that a look takes."""

LOOK_FOR_WORKERS = 0.5
"""Seconds between looks for live workers."""

PAGE = 500

PROBE_SOON = 1_000_000
"""Microseconds: a probe this near is waited for."""

FINAL = ("delivered", "failed", "cancelled")


def live_workers(installation: Installation) -> list[WorkerRecord]:
    """The workers that will deliver what is submitted now."""
    from conveyor.delivery.identity import serving

    return serving(installation.ledger.workers.all(), installation.clock.now())


class Visitor:
    """Waits, and works where nobody else does. A context manager: leaving it ends the work in good order.

    Args:
        installation: Whose deliveries.
        destinations: Only these are served here.
        stop: Set when the person has had enough.
        say: Told in a sentence when nobody delivers.
    """

    def __init__(
        self,
        installation: Installation,
        destinations: Iterable[str],
        stop: threading.Event,
        say: Callable[[str], object],
    ) -> None:
        self._installation = installation
        self._destinations = frozenset(destinations)
        self._stop = stop
        self._say = say
        self._engine: Engine | None = None
        self._warned = False
        self._workers_at = float("-inf")

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *error: object) -> None:
        if self._engine is not None:
            self._engine.stop()

    def wait(
        self, ids: Iterable[str], timeout: float | None, told: Callable[[DeliveryStatus], object]
    ) -> list[DeliveryStatus]:
        """Wait until each delivery is final or held until a person acts.

        Args:
            ids: Delivery ids.
            timeout: Seconds; None waits as long as it takes.
            told: Called with each delivery that became final.

        Returns:
            How all of them stand, in the order of ``ids``.
        """
        order = list(ids)
        end = float("inf") if timeout is None else time.monotonic() + timeout
        known: dict[str, DeliveryStatus] = {}
        left = order
        while True:
            began = time.monotonic()
            self._see_to_workers(began)
            left = self._look(left, known, told)
            now = time.monotonic()
            if not left or now >= end or self._all_stuck(left, known):
                return [known[ident] for ident in order if ident in known]
            if self._stop.wait(min(max(POLL, SHARE * (now - began)), end - now)):
                return [known[ident] for ident in order if ident in known]

    def _look(
        self, left: list[str], known: dict[str, DeliveryStatus], told: Callable[[DeliveryStatus], object]
    ) -> list[str]:
        """Read how the open ones stand; returns those that are not final."""
        from conveyor.ledger.records import Filter

        installation = self._installation
        viewer = installation.viewer()
        for start in range(0, len(left), PAGE):
            wanted = Filter(ids=tuple(left[start : start + PAGE]))
            for record in installation.ledger.deliveries.find(wanted, limit=PAGE):
                known[record.id] = viewer.delivery(record)
        still = []
        for ident in left:
            if ident in known and known[ident].status in FINAL:
                told(known[ident])
            else:
                still.append(ident)
        return still

    def _all_stuck(self, left: list[str], known: dict[str, DeliveryStatus]) -> bool:
        """Whether all that is left is held, and no probe is about to end that."""
        if any(known[ident].status != "held" for ident in left if ident in known):
            return False
        from conveyor.holds import NEVER

        installation = self._installation
        held = {known[ident].destination for ident in left if ident in known}
        reasons = {known[ident].state_reason for ident in left if ident in known}
        if not reasons <= set(NEVER):
            soon = installation.clock.now() + PROBE_SOON
            for health in installation.ledger.health.get(held).values():
                block = health.block
                if block is not None and block.until is not None and block.until <= soon:
                    return False
        return True

    def _see_to_workers(self, now: float) -> None:
        """Start an engine here when nobody delivers from this file ledger; else say so once."""
        if self._engine is not None or now - self._workers_at < LOOK_FOR_WORKERS:
            return
        self._workers_at = now
        if live_workers(self._installation):
            return
        if self._installation.ledger.embedded:
            self._engine = self._start()
        elif not self._warned:
            self._warned = True
            self._say("no worker is running; waiting for one: conveyor run")

    def _start(self) -> Engine:
        from dataclasses import replace

        from conveyor.delivery.engine import Engine

        installation = self._installation
        settings = replace(installation.worker_settings(), only=self._serves)
        engine = Engine(installation.workshop(), settings, installation.clock)
        engine.start()
        return engine

    def _serves(self, destination: Destination) -> bool:
        return destination.id in self._destinations


def exit_code(statuses: Iterable[DeliveryStatus]) -> Exit:
    """0: all delivered; 1: something failed or is held; 75: something still waits."""
    words = {status.status for status in statuses}
    if words & {"failed", "cancelled", "held"}:
        return Exit.FAILED
    return Exit.OK if words <= {"delivered"} else Exit.WAITING


def sentence(status: DeliveryStatus, hint: str | None = None) -> str:
    """How a delivery stands, for people: a line, and below it what to do.

    Args:
        status: The delivery.
        hint: What the last attempt's error advises.
    """
    text = f"{status.status:<9}  {status.destination}  {status.filename}"
    receipt = status.receipt or {}
    where = receipt.get("path") or receipt.get("reference") or status.path
    if status.status == "delivered":
        notes = [word for word in ("renamed", "skipped", "superseded") if receipt.get(word)]
        text += f" → {where}" if where else ""
        return text + (f" ({', '.join(notes)})" if notes else "")
    reason = status.last_error_kind if status.status == "failed" else status.state_reason
    if reason:
        text += f" ({reason})"
    if status.last_error:
        text += f": {status.last_error}"
    if status.status == "pending" and status.next_attempt_at and status.attempts:
        text += f"; next attempt at {status.next_attempt_at}"
    return "\n  → ".join([text, *(line for line in (hint, status.cure) if line)])


def hint_of(installation: Installation, status: DeliveryStatus) -> str | None:
    """What the error of the last attempt advises; None where it advises nothing, or nothing went wrong."""
    if status.status == "delivered" or not status.attempts:
        return None
    attempts = installation.ledger.deliveries.attempts(status.id)
    return attempts[-1].hint if attempts else None
