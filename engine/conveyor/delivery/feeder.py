"""Feeds replays in bulk: a batch whenever few of their deliveries wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from conveyor.clock import Clock, micros

if TYPE_CHECKING:
    from conveyor.config import DestinationSource
    from conveyor.contract import Log
    from conveyor.ledger.facade import Ledger

EXPIRE_AFTER = 7 * 86400.0
"""Seconds that work for a destination which is not configured any more may still wait."""


def expiries(source: DestinationSource, now: int) -> Callable[[str], int]:
    """When a delivery to a destination that is replayed now expires, by its id.

    Read at once: an order asks within its transaction, where a source that writes would wait for ever.
    """
    waits = {destination.id: destination.expire_after for destination in source.list()}
    return lambda name: now + micros(waits.get(name, EXPIRE_AFTER))


class Feeder:
    """A step of the housekeeping; any number of processes may do it at once.

    Args:
        ledger: The truth.
        source: The destinations, always the newest.
        clock: Time.
        log: Says what was turned.
        changed: Called when something became due.
    """

    def __init__(
        self,
        ledger: Ledger,
        source: DestinationSource,
        *,
        clock: Clock,
        log: Log,
        changed: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._source = source
        self._clock = clock
        self._log = log
        self._changed = changed

    def step(self) -> None:
        """Feed what is to be fed."""
        running = self._ledger.bulk.running()
        if not running:
            return
        now = self._clock.now()
        expires = expiries(self._source, now)
        for ident in running:
            turned = self._ledger.bulk.feed(ident, now, expires)
            if turned:
                self._log.info("replayed", replay=ident, count=turned)
                self._changed()
