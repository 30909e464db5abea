"""The engine's side of one attempt: cancellation, deadline, progress, saved state, the fence."""

from __future__ import annotations

import enum
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from conveyor import tracing
from conveyor.clock import Clock, micros
from conveyor.contract import AttemptCancelled, ConflictPolicy, Json, Log
from conveyor.errors import LedgerError
from conveyor.ledger.records import Claimed

if TYPE_CHECKING:
    from conveyor.keyring import Keyring
    from conveyor.ledger.cleanups import Cleanups
    from conveyor.ledger.states import States


FRESH = 0.25
"""Seconds for which the claim's own answer tells whose the delivery is: far less than any lease, and no more
than may pass anyway between the question and what the destination does next."""

LATE = 600.0
"""Seconds after which no request of a worker that died is under way any more."""


class Stop(enum.StrEnum):
    """Why an attempt must stop."""

    SHUTDOWN = "shutdown"
    FENCED = "fenced"
    LEASE = "lease"
    LEDGER = "ledger"
    PAYLOADS = "payload store"
    DEADLINE = "deadline"
    IDLE = "idle"
    SUPERSEDED = "superseded"


class Stopped(AttemptCancelled):
    """The attempt was told to stop; ``reason`` says why."""

    def __init__(self, reason: Stop) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """An attempt's limits in seconds."""

    total: float
    idle: float
    answer: float

    @classmethod
    def for_size(cls, size: int, *, base: float, min_rate: float, idle: float, answer: float) -> TimeLimits:
        """Limits for a payload of ``size`` bytes: ``base`` plus the time it takes at ``min_rate`` bytes/s."""
        return cls(base + size / min_rate, idle, answer)


class Lease(Protocol):
    """What the heartbeat knows about this process's lease."""

    def confirmed(self) -> bool:
        """The last confirmed beat is recent enough for this process to own its claims."""


def state_binding(endpoint: str, path: str, sha256: str) -> str:
    """What a saved state belongs to: it is dropped when the endpoint, the path or the payload differ."""
    return hashlib.sha256("\0".join((endpoint, path, sha256)).encode()).hexdigest()[:32]


class EngineContext:
    """One attempt's :class:`conveyor.contract.AttemptContext`, shared by its thread and the watchdog."""

    def __init__(
        self,
        claim: Claimed,
        *,
        limits: TimeLimits,
        binding: str,
        states: States,
        cleanups: Cleanups,
        keyring: Keyring,
        lease: Lease,
        clock: Clock,
        log: Log,
        places: bool = True,
    ) -> None:
        self.claim = claim
        self.log = log
        self.bytes_sent = 0
        self.timings: dict[str, float] = {}
        self.foreign_state: bytes | None = None
        """A saved state that belongs to another endpoint, path or payload: to be abandoned."""
        self._limits = limits
        self._binding = binding
        self._states = states
        self._cleanups = cleanups
        self._keyring = keyring
        self._lease = lease
        self._clock = clock
        self._places = places
        self._started = clock.monotonic()
        self._deadline = self._started + limits.total
        self._last_progress = self._started
        self._answering = False
        self._stop: Stop | None = None
        self._stopped_at = 0.0
        self._lock = threading.Lock()
        self._state: dict[str, Json] = {}

    # --- the contract -------------------------------------------------------------------------

    @property
    def attempt(self) -> int:
        """The attempt's number, from 1."""
        return self.claim.attempt

    @property
    def fence(self) -> int:
        """Grows with every claim."""
        return self.claim.fence

    @property
    def state(self) -> Mapping[str, Json]:
        """What this delivery saved."""
        return self._state

    def save(self, **state: Json) -> None:
        """Merge into ``state`` and commit it before returning."""
        self.check()
        merged: dict[str, Json] = {k: v for k, v in {**self._state, **state}.items() if v is not None}
        blob = self._sealed(merged)
        self._must(lambda: self._states.save(self.claim.delivery_id, self.fence, blob), else_=Stop.FENCED)
        self._state = merged

    def abandon_later(self, **state: Json) -> None:
        """Note it for the cleaner, unless the attempt before ended in order: nothing of it is under way."""
        self.check()
        if self.claim.look_first:
            self.clean_up(self._sealed(state), why="late", after=LATE)

    def before_commit(self) -> None:
        """Raise unless this attempt still owns its delivery and nothing newer stands at its path.

        The ledger is asked whose it is unless it has only just been claimed. A worker that was frozen, or
        whose machine slept, finds on waking that this was long ago.
        """
        self.check()
        if not self._lease.confirmed():
            self.stop(Stop.LEASE)
        self.check()
        claim, states = self.claim, self._states
        if self._clock.monotonic() - claim.asked_at >= FRESH:
            self._must(lambda: states.owns(claim.delivery_id, claim.fence), else_=Stop.FENCED)
        place = claim.placement
        if self._places and place is not None and place.conflict is ConflictPolicy.OVERWRITE:
            job = claim.job
            self._must(
                lambda: not states.superseded(claim.destination, place.path, job.created_at, job.id),
                else_=Stop.SUPERSEDED,
            )

    def progress(self, count: int) -> None:
        """Report bytes sent."""
        self.bytes_sent += count
        self._last_progress = self._clock.monotonic()
        if self._stop is not None:
            raise Stopped(self._stop)

    def check(self) -> None:
        """Raise when the attempt must stop."""
        if self._stop is not None:
            raise Stopped(self._stop)

    def remaining(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self._deadline - self._clock.monotonic())

    def uploaded(self) -> None:
        """The last body byte is out: the answer's own limit counts from here."""
        self._last_progress = self._clock.monotonic()
        self._deadline = self._last_progress + self._limits.answer
        self._answering = True

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase for the record."""
        started = self._clock.monotonic()
        try:
            with tracing.phase(name):
                yield
        finally:
            spent = self._clock.monotonic() - started
            self.timings[name] = self.timings.get(name, 0.0) + spent

    # --- the engine's side ---------------------------------------------------------------------

    def load(self) -> None:
        """Read what earlier attempts saved.

        Raises:
            LedgerError: It cannot be decrypted.
        """
        if not self.claim.state:
            return
        document = json.loads(self._keyring.decrypt(self.claim.state))
        if document["binding"] == self._binding:
            self._state = document["state"]
        else:
            self.foreign_state = self.claim.state

    def clean_up(self, blob: bytes, *, why: str, after: float = 0.0) -> None:
        """Have an encrypted state abandoned ``after`` so many seconds, whatever becomes of the delivery."""
        claim, now = self.claim, self._clock.now()
        self._cleanups.add(
            claim.delivery_id, claim.destination, blob, claim.fence, now, why=why, at=now + micros(after)
        )

    def _sealed(self, state: Mapping[str, Json]) -> bytes:
        document = json.dumps({"binding": self._binding, "state": state}, separators=(",", ":"))
        return self._keyring.encrypt(document.encode())

    def begin(self, limits: TimeLimits, binding: str) -> None:
        """Begin to send what transforms have made: its own time, and state of its own."""
        self._limits = limits
        self._binding = binding
        self._last_progress = self._clock.monotonic()
        self._deadline = self._last_progress + limits.total

    def restart(self) -> None:
        """Forget the saved state and the bytes sent: the attempt begins again from byte 0."""
        self.save(**dict.fromkeys(self._state))
        self.bytes_sent = 0

    def stop(self, reason: Stop) -> None:
        """Ask the attempt to stop at its next look; the first reason counts."""
        with self._lock:
            if self._stop is None:
                self._stopped_at = self._clock.monotonic()
                self._stop = reason

    @property
    def touched(self) -> bool:
        """Bytes have left: the destination may know of this attempt."""
        return self.bytes_sent > 0 or self._answering

    @property
    def stopped(self) -> Stop | None:
        """Why it was asked to stop, or None."""
        return self._stop

    def elapsed(self) -> float:
        """Seconds since the attempt began."""
        return self._clock.monotonic() - self._started

    def overdue(self, now: float) -> Stop | None:
        """The limit that has passed, judged by the watchdog at monotonic time ``now``."""
        if now >= self._deadline:
            return Stop.DEADLINE
        if not self._answering and now - self._last_progress >= self._limits.idle:
            return Stop.IDLE
        return None

    def unmoved(self, now: float) -> float:
        """Seconds since the last progress."""
        return now - self._last_progress

    def ignoring(self, now: float) -> float:
        """Seconds since it was asked to stop; 0 when it was not."""
        return now - self._stopped_at if self._stop is not None else 0.0

    def _must(self, ask: Callable[[], bool], *, else_: Stop) -> None:
        """Stop the attempt unless the ledger says yes."""
        try:
            if ask():
                return
        except LedgerError:
            else_ = Stop.LEDGER
        self.stop(else_)
        self.check()
