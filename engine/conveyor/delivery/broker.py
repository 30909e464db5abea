"""A dramatiq broker whose queue is the deliveries table itself: nothing to install, nothing to lose."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from dramatiq.broker import Broker, Consumer, MessageProxy
from dramatiq.message import Message

from conveyor.contract import Log
from conveyor.delivery.dispatcher import Dispatcher
from conveyor.delivery.inbox import Inbox
from conveyor.errors import LedgerError
from conveyor.ledger.records import Claimed

if TYPE_CHECKING:
    from dramatiq.middleware import Middleware

QUEUE = "deliver"
ACTOR = "deliver"

LEDGER_PAUSE = 0.5
"""Seconds between tries to claim while the ledger cannot be read."""


def message_of(claim: Claimed, queue_name: str) -> MessageProxy:
    """What wakes a thread for a claim that waits in the inbox."""
    return MessageProxy(
        Message(
            queue_name=queue_name,
            actor_name=ACTOR,
            args=(claim.delivery_id,),
            kwargs={},
            options={},
            message_id=f"{claim.delivery_id}:{claim.fence}",
            message_timestamp=claim.started_at // 1000,
        )
    )


class TableBroker(Broker):
    """Consumes claims from the ledger.

    A message carries a delivery id and nothing else. It wakes a thread, which takes what has waited longest
    and goes on until nothing waits. ``ack`` and ``nack`` have nothing to do, since the attempt's outcome is
    written to the ledger by the attempt itself; ``requeue`` gives claims back uncharged.

    Args:
        dispatcher: Chooses and claims.
        inbox: Where claims wait for a thread.
        give_back: Returns claims to the ledger.
        may_claim: False while nothing new should be taken (draining, ledger away, lease unconfirmed).
        log: Says when the ledger cannot be read.
        middleware: dramatiq middleware; the complete list.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        inbox: Inbox,
        *,
        give_back: Callable[[Iterable[Claimed]], None],
        may_claim: Callable[[], bool],
        log: Log,
        middleware: list[Middleware] | None = None,
    ) -> None:
        super().__init__(middleware=middleware or [])
        self.dispatcher = dispatcher
        self.inbox = inbox
        self.give_back = give_back
        self.may_claim = may_claim
        self.log = log

    def give_back_untaken(self, messages: Iterable[MessageProxy]) -> None:
        """Give back what no thread took up, if there are messages that none has come for."""
        if any(messages):
            self.give_back(self.inbox.untaken())

    def declare_queue(self, queue_name: str) -> None:
        """Declare the queue. There is no delay queue: due times live in the table."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = None
            self.emit_after("declare_queue", queue_name)

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Ring the doorbell: the delivery's row, not the message, says what is due and when."""
        self.emit_before("enqueue", message, delay)
        self.dispatcher.ring()
        self.emit_after("enqueue", message, delay)
        return message

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 30000) -> Consumer:
        """The consumer; ``prefetch`` does not apply, the inbox knows how many threads are free."""
        return _TableConsumer(self, queue_name, timeout / 1000)

    def flush(self, queue_name: str) -> None:
        """Nothing: deliveries are not discarded by emptying a queue."""

    def flush_all(self) -> None:
        """Nothing, as :meth:`flush`."""

    def join(self, queue_name: str, *, timeout: int | None = None) -> None:
        """Wait until nothing is running and nothing due; ``timeout`` in milliseconds."""
        end = None if timeout is None else time.monotonic() + timeout / 1000
        while self.inbox.running or self.dispatcher.due_within(0.0):
            if end is not None and time.monotonic() > end:
                raise TimeoutError(f"deliveries still running after {timeout} ms")
            self.dispatcher.wait(0.01)


class _TableConsumer(Consumer):
    def __init__(self, broker: TableBroker, queue_name: str, timeout: float) -> None:
        self._broker = broker
        self._queue = queue_name
        self._timeout = timeout

    def __next__(self) -> MessageProxy | None:
        broker = self._broker
        claim = broker.inbox.call()
        if claim is None and broker.may_claim() and (room := broker.inbox.room()):
            self._claim(room)
            claim = broker.inbox.call()
        if claim is None:
            broker.dispatcher.wait(self._timeout)
            return None
        return message_of(claim, self._queue)

    def _claim(self, room: int) -> None:
        try:
            claims = self._broker.dispatcher.claim(room)
        except LedgerError as error:
            self._broker.log.warning("ledger away: claiming nothing", error=error.message)
            time.sleep(LEDGER_PAUSE)
            return
        for claim in claims:
            self._broker.inbox.add(claim)

    def ack(self, message: MessageProxy) -> None:
        """Nothing: the outcome is in the ledger."""

    nack = ack

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Give back what no thread took up."""
        self._broker.give_back_untaken(messages)

    def close(self) -> None:
        """Give the rest back."""
        self._broker.give_back(self._broker.inbox.untaken())
