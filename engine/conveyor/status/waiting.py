"""Whether anything is still to be done soon, seen from outside the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conveyor.clock import Clock, micros
from conveyor.ledger.records import Filter, Status
from conveyor.status.reasons import Reason, hold_of

if TYPE_CHECKING:
    from conveyor.config.sources import DestinationSource
    from conveyor.ledger.facade import Ledger


NEVER = frozenset({Reason.REMOVED, Reason.INVALID_CONFIG, Reason.INACTIVE, Reason.PAUSED, Reason.DEACTIVATED})
"""Holds that do not end by themselves."""


def idle(ledger: Ledger, source: DestinationSource, clock: Clock, horizon: float) -> bool:
    """Nothing is being delivered, and nothing that may be served is due within ``horizon`` seconds."""
    until = clock.now() + micros(horizon)
    if ledger.deliveries.counts(Filter(statuses=frozenset({Status.DELIVERING}))):
        return False
    for due in ledger.claims.due(clock.now()):
        reason = hold_of(source.get(due.destination), due.health)
        if reason in NEVER:
            continue
        # A block with a probe ends at the earliest then.
        block = due.health.block if reason is not None else None
        if max(due.next_attempt_at, block.until or 0 if block is not None else 0) <= until:
            return False
    return True
