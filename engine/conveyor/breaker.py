"""When a destination counts as broken, and when as given up: pure functions of what its attempts came to.

A breaker opens on a share of failures among enough attempts within a window. What waits is held from then
on, nothing is charged, and one delivery at a time finds out whether the destination is back. A destination
at which nothing succeeds for days, in spite of many attempts, is deactivated: a person has to look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from conveyor.clock import micros
from conveyor.contract import ErrorKind
from conveyor.retry import CHARGED

OUTAGE_CODES = frozenset({"401", "403", "404"})
"""Answers that a person may have declared final for one file, and that an outage gives to all of them."""

PROBE_DELAYS = (10.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds until a broken destination is tried again; the last one repeats."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """A destination's rules. Durations in seconds.

    Attributes:
        share: Of the window's attempts, from 0 to 1: so many failures open the breaker; None never does.
        window: Of which attempts.
        volume: Attempts in the window without which it does not open.
        deactivate_after: Without any success for so long the destination is deactivated; None never is.
        deactivate_volume: Failed attempts without which it is not.
    """

    share: float | None = 0.7
    window: float = 120.0
    volume: int = 20
    deactivate_after: float | None = 5 * 86400.0
    deactivate_volume: int = 100


DEFAULT = BreakerPolicy()
"""The rules where nothing is said."""


@dataclass(frozen=True, slots=True)
class Recent:
    """The attempts of the last window, in two halves, so that what is older is forgotten bit by bit.

    Attributes:
        begun: When the present half began, microseconds.
        failed, served: In the present half.
        earlier_failed, earlier_served: In the half before.
    """

    begun: int = 0
    failed: int = 0
    served: int = 0
    earlier_failed: int = 0
    earlier_served: int = 0

    def counted(self, failed: bool, at: int, window: float, times: int = 1) -> Recent:
        """With one more attempt, or so many, which ended at ``at``."""
        half = micros(window) // 2
        begun, now = self.begun, (self.failed, self.served)
        earlier = (self.earlier_failed, self.earlier_served)
        if at >= begun + half:
            earlier = now if at < begun + 2 * half else (0, 0)
            begun, now = at, (0, 0)
        return Recent(begun, now[0] + failed * times, now[1] + (not failed) * times, *earlier)

    def served_at(self, ends: Sequence[int], window: float) -> Recent:
        """With successes that ended then, in their order."""
        after = self.counted(False, ends[0], window)
        if ends[-1] < after.begun + micros(window) // 2:
            return after.counted(False, ends[-1], window, len(ends) - 1)
        for at in ends[1:]:
            after = after.counted(False, at, window)
        return after

    def opens(self, policy: BreakerPolicy) -> tuple[int, int] | None:
        """How many of how many attempts have failed, if that opens the breaker.

        Of the present half alone, too: after much success an outage would else be noticed late.
        """
        if policy.share is None:
            return None
        half = (self.failed, self.failed + self.served)
        whole = (half[0] + self.earlier_failed, half[1] + self.earlier_failed + self.earlier_served)
        for failed, attempts in (whole, half):
            if attempts >= policy.volume and failed >= policy.share * attempts:
                return failed, attempts
        return None


NOTHING = Recent()
"""No attempts yet."""


@dataclass(frozen=True, slots=True)
class Streak:
    """What has failed since the last success.

    Attributes:
        since: When the first one did, microseconds; None when the last attempt succeeded.
        attempts: How many.
    """

    since: int | None = None
    attempts: int = 0

    def counted(self, failed: bool, at: int) -> Streak:
        """With one more attempt, which ended at ``at``."""
        if not failed:
            return Streak()
        return Streak(at if self.since is None else self.since, self.attempts + 1)

    def ends_at(self, policy: BreakerPolicy) -> int | None:
        """When the destination is deactivated at the earliest; None for never."""
        if self.since is None or policy.deactivate_after is None:
            return None
        return self.since + micros(policy.deactivate_after)

    def left(self, policy: BreakerPolicy) -> int:
        """How many more attempts have to fail for that."""
        return max(0, policy.deactivate_volume - self.attempts)

    def is_over(self, policy: BreakerPolicy, now: int) -> bool:
        """Whether the destination is to be deactivated."""
        ends = self.ends_at(policy)
        return ends is not None and now >= ends and not self.left(policy)


UNBROKEN = Streak()
"""Nothing has failed since the last success."""


def is_failure(kind: ErrorKind, code: str | None) -> bool:
    """Whether an error speaks against the destination rather than against one file or one login."""
    return kind in CHARGED or (kind is ErrorKind.REJECTED and code in OUTAGE_CODES)


def probe_delay(step: int) -> int:
    """Microseconds until a broken destination is tried again, after ``step`` probes that failed."""
    return micros(PROBE_DELAYS[min(step, len(PROBE_DELAYS) - 1)])
