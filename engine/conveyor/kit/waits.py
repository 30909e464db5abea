"""How long a service asks to wait, and waiting."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from conveyor.contract import AttemptContext

MAX_DELAY = 3600.0
"""Longest delay taken over from an answer, in seconds."""

MILLISECONDS = ("retry-after-ms", "x-ms-retry-after-ms", "x-amz-retry-after")
"""Azure's and Amazon's own headers, in milliseconds; they count before the standard's."""


def pause(seconds: float, context: AttemptContext) -> None:
    """Wait so many seconds within an attempt, open to cancellation.

    Raises:
        AttemptCancelled: from ``context.check()``.
    """
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        context.check()
        time.sleep(min(0.1, left))


def stated_delay(headers: Mapping[str, str]) -> float | None:
    """Seconds of ``Retry-After`` in either form (RFC 9110 §10.2.3), or of the millisecond forms.

    Args:
        headers: Of the answer; their names in any case.

    Returns:
        Between 0 and an hour; None when nothing is stated. A date is compared with the answer's own ``Date``,
        where there is one: our clock may be off.
    """
    told = {name.lower(): (value or "").strip() for name, value in headers.items()}
    text = told.get("retry-after", "")
    try:
        for name in MILLISECONDS:
            if told.get(name, "").isdecimal():
                return min(float(told[name]) / 1000, MAX_DELAY)
        return min(max(0.0, float(text)), MAX_DELAY) if text and text[0].isdigit() else _until(text, told)
    except ValueError:
        return None


def _until(text: str, headers: Mapping[str, str]) -> float | None:
    until = instant(text)
    if until is None:
        return None
    now = instant(headers.get("date"))
    return min(max(0.0, until - (time.time() if now is None else now)), MAX_DELAY)


def instant(text: str | None) -> float | None:
    """Seconds since the epoch, of a date as HTTP writes them (RFC 9110 §5.6.7); None of anything else."""
    try:
        return None if text is None else parsedate_to_datetime(text).astimezone(UTC).timestamp()
    except (ValueError, TypeError, OverflowError):  # also one that no calendar has in UTC
        return None
