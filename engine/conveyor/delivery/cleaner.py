"""Removes what dead deliveries left at their destinations: parts, temporary files, upload sessions."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from conveyor.clock import Clock, micros
from conveyor.contract import AttemptCancelled, DeliveryError, Log
from conveyor.delivery.context import Stop, Stopped
from conveyor.delivery.loops import Loop
from conveyor.errors import ConveyorError, LedgerError, undeclared
from conveyor.log import EngineLog
from conveyor.redact import Redactor, secrets_of

if TYPE_CHECKING:
    from conveyor.config import Destination, DestinationSource
    from conveyor.contract import Json, State
    from conveyor.delivery.pool import ConnectorPool
    from conveyor.keyring import Keyring
    from conveyor.ledger.facade import Ledger
    from conveyor.ledger.records import Cleanup

DELAYS = (30.0, 300.0, 3600.0, 6 * 3600.0, 24 * 3600.0)
"""Seconds between tries to abandon; the last one repeats."""

MOST_TRIES = 12
"""After so many (about a week) what is left stays; the record says so."""

LEASE = 300.0
"""Seconds that one process has for one cleanup."""


class CleanupContext:
    """The context of ``abandon`` and ``check``, where nothing is saved or published.

    Args:
        state: What the delivery had saved.
        clock: Time.
        log: A logger bound to the delivery.
        attempt: The try's number.
        seconds: The deadline.
    """

    def __init__(self, state: State, clock: Clock, log: Log, *, attempt: int, seconds: float) -> None:
        self.state = state
        self.log = log
        self.attempt = attempt
        self.fence = 0
        self._clock = clock
        self._deadline = clock.monotonic() + seconds
        self._stop = threading.Event()

    def stop(self) -> None:
        """Ask it to stop."""
        self._stop.set()

    def save(self, **state: Json) -> None:
        """Keep it for this call only."""
        self.state = {**self.state, **state}

    def abandon_later(self, **state: Json) -> None:
        """This is later."""

    def before_commit(self) -> None:
        """Nothing is fenced here."""
        self.check()

    def progress(self, count: int) -> None:
        """Bytes do not count here."""
        self.check()

    def check(self) -> None:
        """Raise when it must stop or is late."""
        if self._stop.is_set():
            raise Stopped(Stop.SHUTDOWN)
        if self.remaining() <= 0:
            raise Stopped(Stop.DEADLINE)

    def remaining(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self._deadline - self._clock.monotonic())

    def uploaded(self) -> None:
        """Nothing is uploaded here."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Phases are not timed here."""
        return nullcontext()


class Cleaner:
    """A thread that carries out abandons, one at a time.

    Args:
        ledger: Where they wait.
        source: The destinations.
        pool: Connectors.
        keyring: Decrypts what was saved.
        clock: Time.
        log: For what could not be removed.
    """

    EVERY = 2.0

    def __init__(
        self,
        ledger: Ledger,
        source: DestinationSource,
        pool: ConnectorPool,
        keyring: Keyring,
        *,
        clock: Clock,
        log: Callable[..., EngineLog],
    ) -> None:
        self._ledger = ledger
        self._source = source
        self._pool = pool
        self._keyring = keyring
        self._clock = clock
        self._log = log
        self._context: CleanupContext | None = None
        self._loop = Loop("cleaner", self._round, log())

    def start(self) -> None:
        """Start cleaning."""
        self._loop.start()

    def stop(self, timeout: float) -> None:
        """Stop, within ``timeout`` seconds; what is under way is told to."""
        context = self._context
        if context is not None:
            context.stop()
        self._loop.stop(timeout)

    def step(self) -> bool:
        """Carry out one cleanup; False when none was due."""
        now = self._clock.now()
        due = self._ledger.cleanups.next_due()
        if due is None or due > now:
            return False
        for cleanup in self._ledger.cleanups.claim(now, 1, now + micros(LEASE)):
            destination = self._source.get(cleanup.destination)
            if destination is None or destination.problem is not None:
                self._later(cleanup, "the destination is removed or invalid")
            else:
                self._abandon(cleanup, destination)
            return True
        return False

    def _abandon(self, cleanup: Cleanup, destination: Destination) -> None:
        log = self._log(delivery=cleanup.delivery_id, destination=destination.id)
        redact = Redactor(secrets_of(destination.options))
        try:
            state = json.loads(self._keyring.decrypt(cleanup.state))["state"]
            context = CleanupContext(state, self._clock, log, attempt=cleanup.attempts, seconds=LEASE / 2)
            self._context = context
            checkout = self._pool.take(destination)
            sound = False
            try:
                checkout.connector.abandon(state, context)
                sound = True
            finally:
                self._context = None
                self._pool.give_back(checkout, sound=sound)
        except (DeliveryError, ConveyorError) as error:
            self._later(cleanup, redact.message(error.message))
        except AttemptCancelled:
            self._later(cleanup, "interrupted")
        except Exception as error:
            self._later(cleanup, redact.message(undeclared(error, destination.spec.factory)))
        else:
            self._ledger.cleanups.done(cleanup.id, self._clock.now())

    def _later(self, cleanup: Cleanup, message: str) -> None:
        if cleanup.attempts >= MOST_TRIES:
            self._ledger.cleanups.done(cleanup.id, self._clock.now(), f"given up: {message}")
            return
        wait = DELAYS[min(cleanup.attempts - 1, len(DELAYS) - 1)]
        self._ledger.cleanups.failed(cleanup.id, self._clock.now() + micros(wait), message)

    def _round(self) -> float:
        try:
            return 0.0 if self.step() else self.EVERY
        except LedgerError as error:
            self._log().warning("cleanups wait for the ledger", error=error.message)
            return self.EVERY
