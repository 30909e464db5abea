"""Times as people and programs read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


def iso(micros: int | None) -> str | None:
    """ISO 8601 UTC with ``Z``, milliseconds; None stays None. Beyond the calendar: its last day."""
    if micros is None:
        return None
    moment = _EPOCH + timedelta(microseconds=min(micros, _LAST))
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
