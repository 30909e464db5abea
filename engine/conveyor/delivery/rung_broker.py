"""A worker's broker in front of RabbitMQ or Redis: wake-ups from there, claims from the ledger.

Two queues feed one set of threads. ``conveyor`` brings delivery ids from the doorbell; each is claimed in the
ledger, or dropped when there is nothing to claim. ``deliver`` is the deliveries table itself, looked at only
while the doorbell is silent: not reachable, or no dispatcher rings it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dramatiq.broker import Broker, Consumer, MessageProxy
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import CurrentMessage

from conveyor.contract import Log
from conveyor.delivery.broker import QUEUE as TABLE
from conveyor.delivery.broker import TableBroker
from conveyor.delivery.doorbells import QUEUE

if TYPE_CHECKING:
    from dramatiq.message import Message

PATIENCE = 3.0
"""Seconds without contact after which the doorbell counts as silent."""


class Doorbell:
    """Whether wake-ups can be relied on.

    Args:
        name: The broker's, for the log; without its password.
        log: Says when it falls silent and when it is heard again.
        monotonic: Seconds; for tests.
    """

    def __init__(self, name: str, *, log: Log, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._log = log
        self._monotonic = monotonic
        self._heard_at = monotonic()
        self._lost = False
        self._led = True
        self._silent = False

    def heard(self) -> None:
        """The broker has answered."""
        self._heard_at, self._lost = self._monotonic(), False
        if self._silent and self._led:
            self._tell(False, "")

    def lost(self, error: Exception) -> None:
        """The broker cannot be reached."""
        self._lost = True
        if self.silent and not self._silent:
            self._tell(True, f"broker {self._name} cannot be reached: {error or type(error).__name__}")

    def led(self, led: bool) -> None:
        """Whether a dispatcher rings."""
        self._led = led
        if not led and not self._silent:
            self._tell(True, "no dispatcher rings: start `conveyor dispatcher` or `conveyor run`")
        elif led and self._silent and not self.silent:
            self._tell(False, "")

    @property
    def silent(self) -> bool:
        """The deliveries have to be looked for in the ledger."""
        return not self._led or (self._lost and self._monotonic() - self._heard_at > PATIENCE)

    def _tell(self, silent: bool, why: str) -> None:
        self._silent = silent
        if silent:
            self._log.warning("polling the ledger for what is due", because=why)
        else:
            self._log.info("waking up by the broker again", broker=self._name)


class RungBroker(Broker):
    """Consumes wake-ups, and the table while these fail to come.

    Args:
        bell: dramatiq's broker for RabbitMQ or Redis.
        table: The ledger's own; claims only while the doorbell is silent.
        doorbell: Whether it is.
    """

    def __init__(self, bell: Broker, table: TableBroker, doorbell: Doorbell) -> None:
        super().__init__(middleware=[CurrentMessage()])
        self._bell = bell
        self._table = table
        self._doorbell = doorbell

    def declare_queue(self, queue_name: str) -> None:
        """Declare a queue here; the server's is made with its first consumer. There is no delay queue."""
        for name in (queue_name, TABLE):
            if name not in self.queues:
                self.emit_before("declare_queue", name)
                self.queues[name] = None
                self.emit_after("declare_queue", name)

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Ring the doorbell."""
        self.emit_before("enqueue", message, delay)
        self._bell.enqueue(message)
        self.emit_after("enqueue", message, delay)
        return message

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 30000) -> Consumer:
        """The consumer of one of the two queues.

        Raises:
            ConnectionClosed: The doorbell cannot be reached; dramatiq tries again.
        """
        if queue_name == TABLE:
            return self._table.consume(queue_name, prefetch, timeout)
        try:
            # Acknowledged early, what is fetched only waits for a thread: half as much as dramatiq's habit.
            inner = self._bell.consume(queue_name, max(1, prefetch // 2), timeout)
        except Exception as error:
            self._doorbell.lost(error)
            raise _closed(error) from None
        self._doorbell.heard()
        return _RungConsumer(inner, self._doorbell)

    def settle(self) -> None:
        """Acknowledge the wake-up that the calling thread works on: its delivery is claimed."""
        message = CurrentMessage.get_current_message()
        if isinstance(message, _Wakeup):
            message.settle()

    def flush(self, queue_name: str) -> None:
        """Throw the wake-ups away; the deliveries are rung for again."""
        if queue_name != TABLE:
            self._bell.flush(queue_name)

    def flush_all(self) -> None:
        """As :meth:`flush`."""
        self.flush(QUEUE)

    def join(self, queue_name: str, *, timeout: int | None = None) -> None:
        """Wait until nothing is running and nothing due; ``timeout`` in milliseconds."""
        self._table.join(queue_name, timeout=timeout)

    def close(self) -> None:
        """Close the connections."""
        self._table.close()
        with suppress(Exception):
            self._bell.close()


def _closed(error: Exception) -> Exception:
    """What dramatiq's consumer threads take for an outage: they connect again after a while."""
    closed: Exception = ConnectionClosed(error)  # type: ignore[no-untyped-call]  # dramatiq's own
    return closed


class _Wakeup(MessageProxy):
    """A message that knows where it came from, and is acknowledged once, there."""

    def __init__(self, inner: MessageProxy, consumer: Consumer) -> None:
        super().__init__(inner._message)
        self.inner = inner
        self._consumer = consumer
        self._once = threading.Lock()
        self._settled = False

    def settle(self) -> None:
        with self._once:
            if self._settled:
                return
            self._settled = True
        # A wake-up that cannot be acknowledged comes again, and finds nothing to claim.
        with suppress(Exception):
            self._consumer.ack(self.inner)


class _RungConsumer(Consumer):
    def __init__(self, inner: Consumer, doorbell: Doorbell) -> None:
        self._inner = inner
        self._doorbell = doorbell

    def __next__(self) -> MessageProxy | None:
        try:
            message = next(self._inner)
        except Exception as error:  # each client has errors of its own
            self._doorbell.lost(error)
            raise _closed(error) from None
        self._doorbell.heard()
        return None if message is None else _Wakeup(message, self._inner)

    def ack(self, message: MessageProxy) -> None:
        """Acknowledge, if that was not done with the claim."""
        if isinstance(message, _Wakeup):
            message.settle()

    nack = ack

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Hand wake-ups back that no thread took up."""
        with suppress(Exception):
            self._inner.requeue([m.inner for m in messages if isinstance(m, _Wakeup)])

    def close(self) -> None:
        """Close the connection."""
        with suppress(Exception):
            self._inner.close()
