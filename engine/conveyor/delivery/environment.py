"""What a connector is lent: network, buffers, memory, logger. And how one is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from conveyor import log
from conveyor.clock import SECOND, Clock
from conveyor.contract import Connector, ConnectorEnv, DeliveryError, ErrorKind, Json, Log
from conveyor.delivery.buffers import ChunkBudget
from conveyor.errors import ConveyorError
from conveyor.ledger.facade import Ledger
from conveyor.oauth.connections import Connections

if TYPE_CHECKING:
    from conveyor.config import Destination
    from conveyor.registry import Registry


class DestinationMemory:
    """:class:`conveyor.contract.Memory` over the ledger, for one destination."""

    def __init__(self, ledger: Ledger, destination: str) -> None:
        self._memory = ledger.memory
        self._destination = destination

    def get(self, key: str) -> Json:
        """The value, or None."""
        return self._memory.get(self._destination, key)

    def put_if_absent(self, key: str, value: Json) -> Json:
        """Store unless there is one; returns what is stored."""
        return self._memory.put_if_absent(self._destination, key, value)

    def exchange(self, key: str, expected: Json, value: Json) -> Json:
        """Store where ``expected`` is stored; returns what is stored."""
        return self._memory.exchange(self._destination, key, expected, value)

    def forget(self, key: str) -> None:
        """Remove the value."""
        self._memory.forget(self._destination, key)


class Opener:
    """Opens connectors for destinations.

    Args:
        ledger: For their memory.
        registry: For their code.
        clock: Time.
        connections: For their tokens; by default ones of its own.
    """

    def __init__(
        self, ledger: Ledger, registry: Registry, clock: Clock, connections: Connections | None = None
    ) -> None:
        self.connections = connections or Connections(ledger, registry, clock, cast(Log, log.get()))
        self._ledger = ledger
        self._registry = registry
        self._clock = clock
        self._buffers = ChunkBudget()

    def __call__(self, destination: Destination) -> Connector:
        """A connector for ``destination``.

        Raises:
            DeliveryError: CONFIG, when the SDK is missing or the options cannot be used.
        """
        try:
            factory = self._registry.factory(destination.type)
            return factory(destination.options, self.environment(destination))
        except ConveyorError as error:
            raise DeliveryError(ErrorKind.CONFIG, error.message, hint=error.cure) from None

    def environment(self, destination: Destination) -> ConnectorEnv:
        """What the engine lends the connectors of ``destination``."""
        return ConnectorEnv(
            destination=destination.id,
            network=destination.network,
            buffers=self._buffers,
            memory=DestinationMemory(self._ledger, destination.id),
            log=cast(Log, log.get(destination=destination.id)),
            clock=lambda: self._clock.now() / SECOND,
            concurrency=destination.limits.concurrency,
            tokens=self.connections.tokens(destination),
        )
