"""A worker's broker in front of RabbitMQ or Redis: wake-ups from there, claims from the ledger.

Two queues feed one set of threads. ``conveyor`` brings delivery ids from the doorbell; what has arrived is
claimed in the ledger together, and dropped where there is nothing to claim. ``deliver`` is the deliveries
table itself, looked at only while the doorbell is silent: not reachable, or no dispatcher rings it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dramatiq.broker import Broker, Consumer, MessageProxy
from dramatiq.errors import ConnectionClosed

from conveyor.contract import Log
from conveyor.delivery.broker import QUEUE as TABLE
from conveyor.delivery.broker import TableBroker, message_of
from conveyor.delivery.doorbells import QUEUE
from conveyor.errors import LedgerError

if TYPE_CHECKING:
    from dramatiq.message import Message

BUSY = 0.01
"""Seconds between looks at whether a thread has become free."""

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
        may_claim: False while nothing new should be taken.
    """

    def __init__(
        self, bell: Broker, table: TableBroker, doorbell: Doorbell, may_claim: Callable[[], bool]
    ) -> None:
        super().__init__(middleware=[])
        self.table = table
        self.doorbell = doorbell
        self.may_claim = may_claim
        self._bell = bell

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
            return self.table.consume(queue_name, prefetch, timeout)
        try:
            # Short attempts are claimed ahead, in groups; what waits here too long is rung for again.
            inner = self._bell.consume(queue_name, 2 * prefetch, timeout)
        except Exception as error:
            self.doorbell.lost(error)
            raise _closed(error) from None
        self.doorbell.heard()
        return _RungConsumer(self, inner, queue_name)

    def flush(self, queue_name: str) -> None:
        """Throw the wake-ups away; the deliveries are rung for again."""
        if queue_name != TABLE:
            self._bell.flush(queue_name)

    def flush_all(self) -> None:
        """As :meth:`flush`."""
        self.flush(QUEUE)

    def join(self, queue_name: str, *, timeout: int | None = None) -> None:
        """Wait until nothing is running and nothing due; ``timeout`` in milliseconds."""
        self.table.join(queue_name, timeout=timeout)

    def close(self) -> None:
        """Close the connections."""
        self.table.close()
        with suppress(Exception):
            self._bell.close()


def _closed(error: Exception) -> Exception:
    """What dramatiq's consumer threads take for an outage: they connect again after a while."""
    closed: Exception = ConnectionClosed(error)  # type: ignore[no-untyped-call]  # dramatiq's own
    return closed


class _RungConsumer(Consumer):
    """Takes wake-ups off the queue, claims what they stand for in one transaction, and hands the claims out.

    All are acknowledged with the claim: what came of them is in the ledger. While no thread is free none is
    taken, so that they stay for others.
    """

    def __init__(self, broker: RungBroker, inner: Consumer, queue_name: str) -> None:
        self._broker = broker
        self._inner: Any = inner
        self._queue = queue_name

    def __next__(self) -> MessageProxy | None:
        broker = self._broker
        claim = broker.table.inbox.call()
        if claim is None:
            room = broker.table.inbox.room() if broker.may_claim() else 0
            try:
                if not room:
                    self._stay_connected()
                    broker.table.dispatcher.wait(BUSY)
                    return None
                wakeups = self._fetch(room)
            except Exception as error:  # each client has errors of its own
                broker.doorbell.lost(error)
                raise _closed(error) from None
            broker.doorbell.heard()
            self._claim(wakeups)
            claim = broker.table.inbox.call()
        return None if claim is None else message_of(claim, self._queue)

    def _fetch(self, room: int) -> list[MessageProxy]:
        """What has arrived, until it stands for ``room`` deliveries; waits for the first one for as long as
        the client does.
        """
        wakeups: list[MessageProxy] = []
        while room > 0 and (not wakeups or self._arrived()):
            wakeup = next(self._inner)
            if wakeup is not None:
                wakeups.append(wakeup)
                room -= len(wakeup.args)
            elif not wakeups:
                break
        return wakeups

    def _arrived(self) -> int:
        """How many the client has received that were not asked for yet."""
        if hasattr(self._inner, "message_cache"):
            return len(self._inner.message_cache)
        waiting: int = self._inner.channel.get_waiting_message_count()
        return waiting

    def _stay_connected(self) -> None:
        """RabbitMQ closes the connection of a client that does not answer its heartbeats."""
        connection = getattr(self._inner, "connection", None)
        if connection is not None:
            connection.process_data_events(0)

    def _claim(self, wakeups: list[MessageProxy]) -> None:
        table = self._broker.table
        if not wakeups:
            return
        try:
            ids = [ident for wakeup in wakeups for ident in wakeup.args]
            claims = list(table.dispatcher.claim_woken(ids).values())
        except LedgerError as error:
            # They are rung for again; the ledger's absence is no reason to keep them from others.
            table.log.warning("ledger away: claiming nothing", error=error.message)
            claims = []
        for claim in claims:
            table.inbox.add(claim)
        for wakeup in wakeups:
            # One that cannot be acknowledged comes again, and finds nothing to claim.
            with suppress(Exception):
                self._inner.ack(wakeup)

    def ack(self, message: MessageProxy) -> None:
        """Nothing: it was acknowledged with the claim."""

    nack = ack

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Give back what no thread took up."""
        self._broker.table.give_back_untaken(messages)

    def close(self) -> None:
        """Close the connection; hand back what was fetched and not claimed, where the client can."""
        with suppress(Exception):
            self._inner.close()
