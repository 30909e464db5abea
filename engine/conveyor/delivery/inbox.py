"""Claims between the consumer that took them and the thread that works on them."""

from __future__ import annotations

import threading

from conveyor.ledger.records import Claimed


class Inbox:
    """Hands each claim to one thread, and knows how much room there is.

    Args:
        threads: Threads that work at the same time.
        spare: Further threads, for when some of them wait for destinations that do not move.
    """

    AHEAD_SECONDS = 0.05
    """Claims are taken ahead for about as long: short attempts in large groups, long ones not at all."""

    AHEAD_MOST = 24
    """For each thread, at most so many claims are taken ahead."""

    def __init__(self, threads: int, spare: int = 0) -> None:
        self._threads = threads
        self._spare = spare
        self._stalled = 0
        self._lock = threading.Lock()
        self._claims: dict[str, Claimed] = {}
        self._out = 0
        self._called = 0
        """Threads that were called and have not come yet."""
        self._serving = 0
        """Threads that have come."""
        self._mean = 1.0
        self._written_off = 0

    def resize(self, threads: int, spare: int) -> None:
        """There are so many threads."""
        with self._lock:
            self._threads, self._spare = threads, spare

    def add(self, claim: Claimed) -> None:
        """A claim was taken."""
        with self._lock:
            if claim.delivery_id not in self._claims:
                self._out += 1
            # Else this process had lost the delivery while it waited here, and has claimed it anew.
            self._claims[claim.delivery_id] = claim

    def take(self, delivery_id: str) -> Claimed | None:
        """The claim behind a message, once; None when the message is a stale wake-up."""
        with self._lock:
            return self._claims.pop(delivery_id, None)

    def call(self) -> Claimed | None:
        """A claim to wake a thread for; None when none waits, or no thread is free that was not called."""
        with self._lock:
            free = self._threads + self._stalled - self._serving - self._called
            if free <= 0 or len(self._claims) <= self._called:
                return None
            self._called += 1
            return next(iter(self._claims.values()))

    def enter(self) -> None:
        """A thread has come: it asks for :meth:`next` until there is none."""
        with self._lock:
            self._called = max(0, self._called - 1)
            self._serving += 1

    def next(self) -> Claimed | None:
        """The claim that has waited longest; None when none waits, and the thread is free again."""
        with self._lock:
            first = next(iter(self._claims), None)
            if first is None:
                self._serving -= 1
                return None
            return self._claims.pop(first)

    def done(self, seconds: float) -> bool:
        """A claim taken has ended after ``seconds`` of work; whether it is time to claim again."""
        with self._lock:
            self._out -= 1
            self._mean += (seconds - self._mean) / 16
            return self._room() > 0

    def untaken(self) -> list[Claimed]:
        """Remove and return the claims that no thread has taken up yet."""
        with self._lock:
            claims = list(self._claims.values())
            self._claims.clear()
            self._out -= len(claims)
            return claims

    def crowded(self) -> bool:
        """Whether claims wait here for a free thread."""
        return bool(self._claims)

    def waiting(self) -> list[Claimed]:
        """The claims that no thread has taken up yet; they stay."""
        with self._lock:
            return list(self._claims.values())

    def room(self) -> int:
        """How many claims may be taken now; 0 while it is not worth a transaction.

        One for each free thread; while attempts are short, more ahead, so that claims are grouped.
        """
        with self._lock:
            return self._room()

    def stalled(self, count: int) -> int:
        """So many attempts make no progress; returns how many threads the rest need to go on."""
        with self._lock:
            self._stalled = min(count, self._spare)
            return self._threads + self._stalled

    def _room(self) -> int:
        threads = self._threads - self._written_off + self._stalled
        ahead = self._threads * int(
            self.AHEAD_SECONDS / max(self._mean, self.AHEAD_SECONDS / self.AHEAD_MOST)
        )
        room = threads + ahead - self._out
        return room if room > min(ahead, (threads + ahead) // 2) else 0

    def lose_thread(self) -> int:
        """A thread was written off; returns how many so far."""
        with self._lock:
            self._written_off += 1
            self._out -= 1
            return self._written_off

    def regain_thread(self) -> None:
        """A thread that had been written off has come back."""
        with self._lock:
            self._written_off -= 1

    @property
    def lost_threads(self) -> int:
        """Threads written off that have not come back."""
        with self._lock:
            return self._written_off

    @property
    def running(self) -> int:
        """Claims taken and not ended."""
        with self._lock:
            return self._out
