"""The housekeeping that any number of processes may do at once: lost workers, expiry, payloads, leftovers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conveyor.clock import SECOND, Clock, micros
from conveyor.delivery import effects, identity
from conveyor.delivery.loops import Loop
from conveyor.errors import ConveyorError, LedgerError
from conveyor.ledger.records import Status
from conveyor.ledger.retention import FIRST_ATTEMPT, AttemptPlace
from conveyor.log import EngineLog

if TYPE_CHECKING:
    from conveyor.ledger.facade import Ledger
    from conveyor.ledger.records import PayloadRecord, WorkerRecord
    from conveyor.payloads import PayloadStore

BATCH = 500
"""Rows changed in one transaction at most."""

UNUSED = 30 * 86400.0
"""Seconds that a remembered folder is kept without being used; then the service is asked for it again."""

LOOK = 0.25
"""Seconds between looks at what is due."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Seconds that things are kept, from the final status of a job's last delivery; None is for ever.

    Attempts are counted from the final status of their own delivery.
    """

    payloads_delivered: float | None = 7 * 86400.0
    payloads_failed: float | None = 30 * 86400.0
    attempts_delivered: float | None = 90 * 86400.0
    attempts_failed: float | None = 90 * 86400.0
    jobs_delivered: float | None = None
    jobs_failed: float | None = None

    def job(self, kept: float | None) -> float | None:
        """How long a job is really kept that is to be kept for ``kept``: never less than any payload.

        What was put where is to be known as long as an earlier file could be replayed to the same place.
        """
        all_ = (kept, self.payloads_delivered, self.payloads_failed)
        known = [seconds for seconds in all_ if seconds is not None]
        return max(known) if len(known) == len(all_) else None


def _before(now: int, kept: float | None) -> int:
    """What ended before this may go; nothing did before the epoch."""
    return 0 if kept is None else now - micros(kept)


class Contact:
    """How long this process has been in unbroken contact with the ledger and with the time.

    Args:
        clock: Time.
        patience: Seconds. After a longer silence of this process, or a larger jump of the wall clock against
            the monotonic one, what it knows of others' leases is stale.
    """

    def __init__(self, clock: Clock, patience: float) -> None:
        self._clock = clock
        self._patience = patience
        self._since: float | None = None
        self._last = self._instants()

    def look(self) -> None:
        """Notice that this process was frozen or starved, the machine asleep, or the clock set."""
        steady, wall = self._instants()
        was_steady, was_wall = self._last
        self._last = steady, wall
        passed = steady - was_steady
        if passed > self._patience or abs(wall - was_wall - passed) > self._patience:
            self._since = None

    def made(self) -> None:
        """The ledger has answered."""
        if self._since is None:
            self._since = self._clock.monotonic()

    def lost(self) -> None:
        """The ledger has not answered."""
        self._since = None

    def unbroken(self, seconds: float) -> bool:
        """Whether contact has lasted ``seconds``."""
        return self._since is not None and self._clock.monotonic() - self._since >= seconds

    def _instants(self) -> tuple[float, float]:
        return self._clock.monotonic(), self._clock.now() / SECOND


class Keeper:
    """Housekeeping steps; each is idempotent and small.

    Args:
        ledger: The truth.
        payloads: The payload store.
        lease: Seconds; an expired lease counts only after as long in unbroken contact with the ledger.
        retention: How long things are kept.
        clock: Time.
        log: For what was found.
        changed: Called when something became due.
        close_idle: Closes connectors that have been idle for too long.
        final: Told the ids of deliveries that ended here.
        feed: Feeds replays in bulk.
        dead: Tells workers that are certainly dead.
    """

    REAP_EVERY = 1.0
    EXPIRE_EVERY = 1.0
    FEED_EVERY = 0.5
    IDLE_EVERY = 5.0
    REMOVE_EVERY = 60.0
    SWEEP_EVERY = 3600.0
    ORPHAN_AGE = 86400.0

    def __init__(
        self,
        ledger: Ledger,
        payloads: PayloadStore,
        *,
        lease: float,
        retention: Retention,
        clock: Clock,
        log: EngineLog,
        changed: Callable[[], None],
        close_idle: Callable[[], None],
        final: Callable[[Sequence[str]], None] = lambda ids: None,
        feed: Callable[[], None] = lambda: None,
        dead: Callable[[WorkerRecord], bool] = identity.is_dead,
    ) -> None:
        self._ledger = ledger
        self._payloads = payloads
        self._lease = lease
        self._retention = retention
        self._clock = clock
        self._log = log
        self._changed = changed
        self._dead = dead
        self._final = final
        self._contact = Contact(clock, lease / 2)
        self._steps: list[tuple[float, Callable[[], object]]] = [
            (self.REAP_EVERY, self.reap),
            (self.EXPIRE_EVERY, self.expire),
            (self.FEED_EVERY, feed),
            (self.IDLE_EVERY, close_idle),
            (self.REMOVE_EVERY, self.remove_payloads),
            (self.REMOVE_EVERY, self.forget_attempts),
            (self.SWEEP_EVERY, self.sweep),
            (self.SWEEP_EVERY, self.forget_attempts_by_status),
            (self.SWEEP_EVERY, self.forget_jobs),
            (self.SWEEP_EVERY, self.forget_unused),
        ]
        self._due = dict.fromkeys(range(len(self._steps)), float("-inf"))
        self._loop = Loop("keeper", self._round, log)

    def start(self) -> None:
        """Start housekeeping."""
        self._loop.start()

    def stop(self, timeout: float) -> None:
        """Stop housekeeping, within ``timeout`` seconds."""
        self._loop.stop(timeout)

    def step(self) -> None:
        """Do what is due."""
        now = self._clock.monotonic()
        self._contact.look()
        for number, (every, step) in enumerate(self._steps):
            if now < self._due[number]:
                continue
            self._due[number] = now + every
            try:
                step()
            except LedgerError as error:
                self._contact.lost()
                self._log.warning("housekeeping waits for the ledger", error=error.message)
                return
            except ConveyorError as error:
                self._log.warning("housekeeping", error=error.message, cure=error.cure)
            else:
                self._contact.made()

    def reap(self) -> int:
        """Free the deliveries of lost workers; returns how many."""
        freed = self._ledger.workers.reap(
            self._clock.now(),
            dead=self._dead,
            delay=effects.lost_delay,
            # Until then only a process that is known to be dead is reaped.
            trust_leases=self._contact.unbroken(self._lease),
        )
        if freed:
            self._final([lost.delivery_id for lost in freed if lost.status is Status.FAILED])
            self._log.warning("lost worker: deliveries freed", count=len(freed))
            self._changed()
        return len(freed)

    def expire(self) -> int:
        """Fail deliveries that are older than their ``expire_after``; returns how many."""
        total = 0
        while True:
            expired = self._ledger.deliveries.expire(self._clock.now(), BATCH)
            total += len(expired)
            self._final(expired)
            if len(expired) < BATCH:
                break
        if total:
            self._log.warning("deliveries expired", count=total)
        return total

    def remove_payloads(self) -> int:
        """Remove payloads past their retention: marked in the ledger first, unlinked after."""
        # What a crash, or a store that was away, left half done.
        removed = self._unlink(self._ledger.payloads.removing())
        now = self._clock.now()
        delivered = _before(now, self._retention.payloads_delivered)
        failed = _before(now, self._retention.payloads_failed)
        while begun := self._ledger.payloads.begin_removal(now, delivered, failed, BATCH):
            removed += self._unlink(begun)
        return removed

    def _unlink(self, payloads: Sequence[PayloadRecord]) -> int:
        return unlink(payloads, self._payloads, self._ledger, self._not_removed)

    def _not_removed(self, payload: PayloadRecord, error: ConveyorError) -> None:
        self._log.warning("payload not removed", payload=payload.id, error=error.message)

    def forget_attempts(self) -> None:
        """Delete the attempt rows of closed deliveries that no retention keeps: nothing is read in vain."""
        before = min(self._attempts_before())
        self._forget_attempts(before, before)

    def forget_attempts_by_status(self) -> None:
        """Delete those that only the other status' retention keeps, which means reading past those."""
        delivered, failed = self._attempts_before()
        if delivered != failed:
            self._forget_attempts(delivered, failed)

    def _attempts_before(self) -> tuple[int, int]:
        now, kept = self._clock.now(), self._retention
        return _before(now, kept.attempts_delivered), _before(now, kept.attempts_failed)

    def _forget_attempts(self, delivered: int, failed: int) -> None:
        after: AttemptPlace | None = FIRST_ATTEMPT
        while after is not None and (delivered or failed):
            after = self._ledger.retention.attempts(delivered, failed, BATCH, after)[1]

    def forget_jobs(self) -> int:
        """Delete jobs past their retention, with their deliveries; returns how many."""
        now, kept = self._clock.now(), self._retention
        delivered = _before(now, kept.job(kept.jobs_delivered))
        failed = _before(now, kept.job(kept.jobs_failed))
        total = 0
        after: tuple[int, str] | None = (-1, "")
        while after is not None and (delivered or failed):
            gone, after = self._ledger.retention.jobs(delivered, failed, BATCH, after)
            total += gone
        if total:
            self._log.info("old jobs deleted", count=total)
        return total

    def forget_unused(self) -> None:
        """Forget folders that no delivery has used for long."""
        before = _before(self._clock.now(), UNUSED)
        while self._ledger.memory.forget_unused(before, BATCH) == BATCH:
            pass

    def sweep(self) -> None:
        """Remove stored files that no job knows, a day after they appeared."""
        swept = self._payloads.sweep(self._ledger.payloads.known, self.ORPHAN_AGE)
        if swept:
            self._log.info("orphaned payload files removed", count=swept)

    def _round(self) -> float:
        self.step()
        return LOOK


def unlink(
    payloads: Sequence[PayloadRecord],
    store: PayloadStore,
    ledger: Ledger,
    failed: Callable[[PayloadRecord, ConveyorError], None] = lambda payload, error: None,
) -> int:
    """Remove the bytes of payloads that are marked for it; of how many they are gone.

    The others stay marked: the next round removes them.
    """
    gone = []
    for payload in payloads:
        try:
            store.remove(payload)
        except ConveyorError as error:
            failed(payload, error)
        else:
            gone.append(payload.id)
    if gone:
        ledger.payloads.finish_removal(gone)
    return len(gone)
