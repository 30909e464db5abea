"""The dispatcher of many machines: rings the broker for what is due in the ledger, fairly, and not too much.

Any number of them may run; the one that holds the lease rings. Two that ring at once only wake somebody for
nothing. What was rung for is remembered here alone: a dispatcher that takes over rings for it again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conveyor.clock import Clock, micros
from conveyor.contract import Log
from conveyor.delivery import identity
from conveyor.delivery.dispatcher import Dispatcher
from conveyor.delivery.doorbells import QUEUE, depth
from conveyor.delivery.loops import Loop
from conveyor.errors import LedgerError
from conveyor.log import EngineLog
from conveyor.processes import has_left, signature

if TYPE_CHECKING:
    from dramatiq.broker import Broker

    from conveyor.config import DestinationSource
    from conveyor.ledger.facade import Ledger

LEASE_NAME = "dispatcher"

LEASE = 10.0
"""Seconds after which another dispatcher takes over from one that says nothing."""

PER_THREAD, BUNDLES = 6, 2
"""Deliveries that are rung for and not claimed yet, for each thread that works, at most: so many, or so many
bundles."""

BUNDLE_SECONDS, BUNDLE_MOST = 0.25, 16
"""One wake-up stands for as many deliveries as a thread got through in so many seconds lately: short attempts
share the cost of a message, long ones go one by one to whoever is free."""

AGAIN = 2.0
"""Seconds after which a wake-up that nobody came for is rung again; doubling, up to ``LAST_AGAIN``."""

LAST_AGAIN = 60.0

IN_VAIN, MOST_IN_VAIN = 4 * AGAIN, 3
"""What was rung for twice more and is not claimed either waits for its destination, whose attempts all hang:
its place is another's then. Of such there are at most so many times what else may be on its way.
"""

BUSY, IDLE = 0.02, 0.25
"""Seconds between looks at what was rung for; at whether to lead."""

HANGS = 120.0
"""Seconds that a round may take at most before the process counts as hung."""

FIRST_PAUSE, LAST_PAUSE = 0.5, 5.0
"""Seconds between tries while the broker or the ledger is away: doubling."""


@dataclass(slots=True)
class Rung:
    """A wake-up on its way."""

    destination: str
    at: float
    again: float = AGAIN


class Ringer:
    """Rings for due deliveries.

    Args:
        ledger: The truth.
        source: The destinations.
        bell: dramatiq's broker.
        name: The broker's, for the log.
        clock: Time.
        log: Says who leads, and when the broker is away.
        size: How many wake-ups wait in the broker's queue.
    """

    def __init__(
        self,
        ledger: Ledger,
        source: DestinationSource,
        bell: Broker,
        name: str,
        *,
        clock: Clock,
        log: EngineLog,
        size: Callable[[Broker], int] = depth,
    ) -> None:
        self._ledger = ledger
        self._bell = bell
        self._name = name
        self._clock = clock
        self._log: Log = log
        self._size = size
        self._me = signature(f"dispatcher-{id(self):x}")
        self._chooser = Dispatcher(ledger, "", source, place=lambda *_: None, clock=clock, log=log)
        self._rung: dict[str, Rung] = {}
        self._leads = False
        self._asked_at = float("-inf")
        self._window = 0
        self._window_at = float("-inf")
        self._claimed = 0
        self._bundle = 1
        self._pause = FIRST_PAUSE
        self._failing_since: float | None = None
        self._turned_at = clock.monotonic()
        self._loop = Loop("dispatcher", self._round, log)

    @property
    def leads(self) -> bool:
        """Whether it is this one that rings."""
        return self._leads

    def turns(self) -> bool:
        """Whether its thread goes round; False when it hangs."""
        return self._clock.monotonic() - self._turned_at < HANGS

    def well(self) -> bool:
        """Whether its last round ended well: it leads and rings, or stands by and could."""
        return self._asked_at > float("-inf") and self._pause == FIRST_PAUSE

    def look(self) -> None:
        """The config has changed: look again at what may be served."""
        self._chooser.ring()

    def start(self) -> None:
        """Start ringing, if it is this one's turn."""
        self._loop.start()

    def stop(self, timeout: float) -> None:
        """End, within ``timeout`` seconds, and let another one lead at once."""
        self._loop.stop(timeout)
        with suppress(LedgerError):
            self._resign()
        with suppress(Exception):
            self._bell.close()

    def step(self) -> bool:
        """Lead if nobody else does, and ring for what is due.

        Returns:
            Whether anything is on its way.

        Raises:
            LedgerError: The ledger is away.
            Exception: The broker is away; each client has errors of its own.
        """
        if not self._lead():
            return False
        window = self._room_for_all()
        now = self._clock.now()
        self._forget_claimed(now)
        if window:
            self._ring_again(window)
            self._ring_new(self._places(window), now)
        return bool(self._rung)

    # --- who leads -------------------------------------------------------------------------------

    def _lead(self) -> bool:
        instant = self._clock.monotonic()
        if instant - self._asked_at < (LEASE / 4 if self._leads else LEASE / 8):
            return self._leads
        now = self._clock.now()
        last = self._ledger.leases.last(LEASE_NAME)
        dead = last[0] if last is not None and has_left(last[0]) else None
        leads = self._ledger.leases.take(LEASE_NAME, self._me, now + micros(LEASE), now, dead=dead)
        self._asked_at = instant
        if leads and not self._leads:
            self._log.info("this dispatcher leads", broker=self._name)
            self._chooser.ring()
        elif self._leads and not leads:
            self._log.warning("another dispatcher leads now")
        if not leads:
            self._rung.clear()
        self._leads = leads
        return leads

    def _resign(self) -> None:
        if self._leads:
            self._leads = False
            self._rung.clear()
            self._ledger.leases.release(LEASE_NAME, self._me)

    # --- what to ring for ------------------------------------------------------------------------

    def _room_for_all(self) -> int:
        """How many wake-ups may be on their way: so many that no thread waits, and no more."""
        instant = self._clock.monotonic()
        if instant - self._window_at >= 1.0:
            serving = identity.serving(self._ledger.workers.all(), self._clock.now())
            threads = sum(worker.threads for worker in serving)
            pace = self._claimed / (instant - self._window_at) / max(threads, 1)
            self._bundle = min(max(1, int(pace * BUNDLE_SECONDS)), BUNDLE_MOST)
            each = max(PER_THREAD, BUNDLES * self._bundle)
            self._window, self._window_at, self._claimed = each * threads, instant, 0
            self._forget_held()
        return self._window

    def _forget_held(self) -> None:
        """Nobody takes what is held by now, however long: it must not keep the place of others."""
        if self._rung:
            servable = self._chooser.servable({rung.destination for rung in self._rung.values()})
            self._rung = {ident: rung for ident, rung in self._rung.items() if rung.destination in servable}

    def _forget_claimed(self, now: int) -> None:
        if self._rung:
            due = self._ledger.wakeups.still_due(self._rung.keys(), now)
            claimed = [ident for ident in self._rung if ident not in due]
            for ident in claimed:
                del self._rung[ident]
            self._claimed += len(claimed)

    def _ring_again(self, window: int) -> None:
        """For what nobody came for: lost, or fetched by a worker that was busy or died."""
        instant = self._clock.monotonic()
        late = [(ident, rung) for ident, rung in self._rung.items() if instant - rung.at >= rung.again]
        if not late or self._size(self._bell) * self._bundle >= window:
            return  # not lost: they wait in the queue
        self._ring([ident for ident, _ in late])
        for _, rung in late:
            rung.at, rung.again = instant, min(2 * rung.again, LAST_AGAIN)

    def _places(self, window: int) -> int:
        """How many more may be on their way."""
        vain = sum(rung.again >= IN_VAIN for rung in self._rung.values())
        return window - len(self._rung) + min(vain, MOST_IN_VAIN * window)

    def _ring_new(self, room: int, now: int) -> None:
        if room <= 0:
            return
        wanted = self._chooser.choose(room)
        if not wanted:
            return
        rung = {ident: each.destination for ident, each in self._rung.items()}
        chosen = self._ledger.wakeups.choose(wanted, rung, now, paced=self._chooser.paced)
        instant = self._clock.monotonic()
        for name, (ids, _) in chosen.items():
            self._rung.update({ident: Rung(name, instant) for ident in ids})
            self._ring(ids)
        self._chooser.served(wanted, [name for name, (_, more) in chosen.items() if not more])

    def _ring(self, ids: Sequence[str]) -> None:
        from dramatiq.message import Message

        from conveyor.delivery.broker import ACTOR

        for first in range(0, len(ids), self._bundle):
            bundle = tuple(ids[first : first + self._bundle])
            message: Message[object] = Message(
                queue_name=QUEUE, actor_name=ACTOR, args=bundle, kwargs={}, options={}
            )
            self._bell.enqueue(message)
            self._failing_since = None

    # --- the thread ------------------------------------------------------------------------------

    def _round(self) -> float:
        self._turned_at = self._clock.monotonic()
        try:
            busy = self.step()
            if self._failing_since is not None:
                # It had nothing to ring for: that says nothing of the broker.
                self._size(self._bell)
                self._failing_since = None
        except LedgerError as error:
            self._log.warning("dispatcher waits for the ledger", error=error.message)
            return self._longer()
        except Exception as error:
            return self._broker_away(error)
        self._pause = FIRST_PAUSE
        if busy:
            return BUSY
        if not self._leads:
            return IDLE
        self._chooser.wait(IDLE)
        return 0.0

    def _broker_away(self, error: Exception) -> float:
        """Wait; after a lease's time let another one lead, that may reach the broker from where it is."""
        instant = self._clock.monotonic()
        if self._failing_since is None:
            self._failing_since = instant
        self._log.warning(
            "broker cannot be reached; workers look into the ledger meanwhile",
            broker=self._name,
            error=str(error) or type(error).__name__,
        )
        if instant - self._failing_since >= LEASE:
            with suppress(LedgerError):
                self._resign()
            self._asked_at = instant + LEASE / 2  # the others first
        return self._longer()

    def _longer(self) -> float:
        pause = self._pause
        self._pause = min(2 * pause, LAST_PAUSE)
        return pause
