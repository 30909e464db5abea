"""The installation's figures as monitors and ``conveyor top`` show them: one reading of ledger and config."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conveyor.clock import SECOND
from conveyor.ledger.figures import Ended, Tracked
from conveyor.status.reasons import Standing

if TYPE_CHECKING:
    from conveyor.installation import Installation

QUANTILES = (0.5, 0.9, 0.99, 1.0)


@dataclass(frozen=True, slots=True)
class Place:
    """One destination.

    Attributes:
        due: Deliveries that are due, held ones included; counted up to
            :data:`conveyor.ledger.figures.MOST`.
        oldest_due: Seconds since the due time of the earliest one; 0 when none is due.
        reason: Why it is not served: ``paused``, ``breaker``, ``throttled`` …; None when it is.
    """

    due: int = 0
    running: int = 0
    oldest_due: float = 0.0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """One account's login: whether it works, and seconds until its access token ends."""

    provider: str
    state: str
    expires: float | None


@dataclass(frozen=True, slots=True)
class Reading:
    """All figures at one time.

    Attributes:
        at: Microseconds.
        lateness: Seconds between due time and begin of the newest attempts, by quantile; empty when there
            were none of late.
        ended: Attempts since this process began to count, by how they ended.
        sent: Their bytes, by destination.
        stuck: Rows that somebody should have moved on, by kind.
        workers: Processes that are present, and their threads.
    """

    at: int
    places: Mapping[str, Place]
    lateness: Mapping[float, float]
    ended: Mapping[Ended, int]
    sent: Mapping[str, int]
    logins: Mapping[str, Login]
    stuck: Mapping[str, int]
    workers: int
    threads: int


class Gauge:
    """Reads the figures; what was read is told again for ``fresh`` seconds. Safe from many threads.

    Args:
        installation: Whose.
        fresh: Seconds.
        reload: Follow changes of the config, where nobody else in this process does.
    """

    def __init__(self, installation: Installation, *, fresh: float = 2.0, reload: bool = False) -> None:
        self._installation = installation
        self._reload = reload
        self._fresh = fresh
        self._lock = threading.Lock()
        self._tracked = Tracked.since(installation.clock.now())
        self._last: Reading | None = None
        self._read_at = float("-inf")

    def read(self) -> Reading:
        """The figures.

        Raises:
            LedgerError: The ledger cannot be asked.
        """
        with self._lock:
            now = self._installation.clock.monotonic()
            if self._last is None or now - self._read_at >= self._fresh:
                self._last = self._look()
                self._read_at = now
            return self._last

    def _look(self) -> Reading:
        from conveyor.status.workers import present

        installation, figures = self._installation, self._installation.ledger.figures
        if self._reload:
            installation.reload()
        now = installation.clock.now()
        figures.track(self._tracked, now)
        late = figures.lateness(now)
        workers = present(installation.ledger, installation.clock)
        return Reading(
            at=now,
            places=self._places(now),
            lateness={q: late[min(len(late) - 1, int(q * len(late)))] / SECOND for q in QUANTILES if late},
            ended=dict(self._tracked.counts),
            sent=dict(self._tracked.sent),
            logins={
                each.id: Login(
                    each.provider,
                    each.state.value,
                    None if each.expires_at is None else (each.expires_at - now) / SECOND,
                )
                for each in installation.ledger.connections.all()
            },
            stuck=figures.stuck(now),
            workers=len(workers),
            threads=sum(worker.threads for worker in workers),
        )

    def _places(self, now: int) -> dict[str, Place]:
        """Every configured destination, and removed ones that work waits for."""
        installation = self._installation
        standing: Standing = installation.standing()
        earliest = {
            each.destination: each.next_attempt_at
            for each in installation.ledger.claims.due(now)
            if each.next_attempt_at <= now
        }
        due = installation.ledger.figures.due(sorted(earliest), now)
        running = installation.ledger.figures.running()
        names = {each.id for each in installation.source.list()} | set(earliest) | set(running)
        places = {}
        for name in sorted(names):
            reason = standing.hold(name)
            places[name] = Place(
                due=due.get(name, 0),
                running=running.get(name, 0),
                oldest_due=max(0, now - earliest.get(name, now)) / SECOND,
                reason=None if reason is None else reason.value,
            )
        return places
