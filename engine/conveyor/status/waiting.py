"""Whether anything is still to be done soon, seen from outside the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conveyor.clock import Clock, micros
from conveyor.holds import hold_of, served_at
from conveyor.ledger.records import Filter, Status

if TYPE_CHECKING:
    from conveyor.config.sources import DestinationSource
    from conveyor.ledger.facade import Ledger


def idle(ledger: Ledger, source: DestinationSource, clock: Clock, horizon: float) -> bool:
    """Nothing is being delivered, and nothing that may be served is due within ``horizon`` seconds."""
    until = clock.now() + micros(horizon)
    running = Filter(statuses=frozenset({Status.DELIVERING}))
    if ledger.deliveries.counts(running) or ledger.bulk.hungry():
        return False
    for due in ledger.claims.due(clock.now()):
        at = served_at(due, hold_of(source.get(due.destination), due.health))
        if at is not None and at <= until:
            return False
    # Again, since what was claimed between the two looks showed in neither.
    return not ledger.deliveries.counts(running)
