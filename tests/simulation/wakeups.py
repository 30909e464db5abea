"""A broker that loses, doubles, delays and reorders wake-ups."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from dramatiq.broker import Broker, Consumer, MessageProxy
from dramatiq.message import Message

if TYPE_CHECKING:
    from simulation.fibers import Hub

QUEUE = "conveyor"

LEAST = 0.5
"""Simulated seconds that a round of what waits takes at least: less would only be more of the same."""


class Bag(Broker):
    """Wake-ups in no order at all.

    Attributes:
        down: Every call fails.
        loss, doubling: Shares of the wake-ups that are lost, or come twice.
    """

    def __init__(self, hub: Hub, chance: random.Random) -> None:
        super().__init__(middleware=[])
        self.hub = hub
        self.messages: list[Message[Any]] = []
        self.down = False
        self.loss = self.doubling = 0.0
        self._chance = chance

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        self._reach()
        if self._chance.random() >= self.loss:
            self.messages.append(message)
            if self._chance.random() < self.doubling:
                self.messages.append(message)
        return message

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 30000) -> Consumer:
        return _Taker(self)

    def flush_all(self) -> None:
        self.messages.clear()

    def take(self) -> Message[Any] | None:
        self.hub.block(lambda: bool(self.messages), LEAST)
        self._reach()
        if not self.messages or self._chance.random() < 0.25:
            return None  # delayed
        return self.messages.pop(self._chance.randrange(len(self.messages)))

    def close(self) -> None:
        """Nothing is open."""

    def _reach(self) -> None:
        if self.down:
            raise ConnectionError("the broker is down")


class _Taker(Consumer):
    def __init__(self, bag: Bag) -> None:
        self._bag = bag
        self.message_cache = bag.messages

    def __next__(self) -> MessageProxy | None:
        message = self._bag.take()
        return None if message is None else MessageProxy(message)

    def ack(self, message: MessageProxy) -> None:
        """It has left the bag already."""

    nack = ack

    def close(self) -> None:
        """Nothing is open."""
