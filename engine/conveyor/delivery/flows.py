"""The rates and shared caps that a destination's claims go through, worked out from the config."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conveyor.ledger.records import Flow
from conveyor.oauth.connections import linked

if TYPE_CHECKING:
    from conveyor.config import Destination, DestinationSource


class Flows:
    """Remembers, for one revision of the config, which destinations share an account.

    Args:
        source: The destinations, always the newest.
    """

    def __init__(self, source: DestinationSource) -> None:
        self._source = source
        self._revision: str | None = None
        self._members: dict[str, tuple[str, ...]] = {}

    def of(self, destination: Destination) -> tuple[Flow, ...]:
        """What limits a destination beside its own cap; nothing for most."""
        limits, shared = destination.limits, destination.shared
        flows: list[Flow] = []
        if limits.rate is not None or limits.byte_rate is not None:
            flows.append(Flow(f"destination:{destination.id}", limits.rate, limits.byte_rate))
        if shared is not None:
            members = self._linked(shared.connection) if shared.concurrency is not None else ()
            name = f"connection:{shared.connection}"
            flows.append(Flow(name, shared.rate, shared.byte_rate, shared.concurrency, members))
        return tuple(flows)

    def _linked(self, connection: str) -> tuple[str, ...]:
        revision = self._source.revision()
        if revision != self._revision:
            self._revision = revision
            self._members.clear()
        if connection not in self._members:
            self._members[connection] = tuple(each.id for each in linked(self._source.list(), connection))
        return self._members[connection]
