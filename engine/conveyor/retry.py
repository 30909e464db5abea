"""When a failed delivery is tried again: a policy, evaluated by tenacity, that never sleeps.

tenacity's strategies (``wait_chain``, ``stop_after_attempt``, ``retry_if_exception``) are asked as a pure
function of the count of charged failures that the ledger holds; its retrying loop is not used.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from conveyor.contract import DeliveryError, ErrorKind

if TYPE_CHECKING:
    import tenacity

MAX_JITTER = 10.0
"""Seconds that jitter adds at most."""

CHARGED = frozenset(
    {ErrorKind.TRANSIENT, ErrorKind.UNKNOWN_OUTCOME, ErrorKind.INTEGRITY, ErrorKind.SESSION_LOST}
)
"""Kinds that use the destination's budget and follow its schedule."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """One destination's schedule.

    Attributes:
        schedule: Seconds to wait after the first, second … charged failure. Its length is the number of
            retries: the default is one try and five retries.
        jitter: Share of the delay that is added at random (never subtracted), at most ``MAX_JITTER`` seconds.
    """

    schedule: tuple[float, ...] = (5.0, 30.0, 120.0, 600.0, 3600.0)
    jitter: float = 0.1

    @property
    def budget(self) -> int:
        """How many charged failures a cycle may have before the delivery has failed."""
        return len(self.schedule) + 1

    def delay(
        self, failures: int, error: DeliveryError, *, random: Callable[[], float] = random.random
    ) -> float | None:
        """Tell how long to wait after a failure.

        Args:
            failures: Charged failures of this cycle, the present one included; at least 1.
            error: The present failure.
            random: Source of jitter, from 0 to 1.

        Returns:
            Seconds until the next attempt, or None when there is none.
        """
        import tenacity

        policy = _compiled(self)
        state = tenacity.RetryCallState(policy, None, (), {})
        state.attempt_number = failures
        state.set_exception((type(error), error, None))
        if not policy.retry(state) or policy.stop(state):
            return None
        base = float(policy.wait(state))
        return base + min(base * self.jitter, MAX_JITTER) * random()


@lru_cache(maxsize=4096)
def _compiled(policy: RetryPolicy) -> tenacity.Retrying:
    import tenacity

    def charged(error: BaseException) -> bool:
        return isinstance(error, DeliveryError) and error.kind in CHARGED

    steps = [tenacity.wait_fixed(seconds) for seconds in policy.schedule]
    return tenacity.Retrying(
        wait=tenacity.wait_chain(*steps) if steps else tenacity.wait_none(),
        stop=tenacity.stop_after_attempt(policy.budget),
        retry=tenacity.retry_if_exception(charged),
    )
