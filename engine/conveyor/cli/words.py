"""Ages, times, sizes and shares as people read them."""

from __future__ import annotations

from datetime import datetime

from conveyor.clock import SECOND

_STEPS = ((86400, "d"), (3600, "h"), (60, "min"))
_NONE = "-"


def span(seconds: float) -> str:
    """A length of time: ``420 ms``, ``12 s``, ``3 min``, ``2 h 5 min``, ``4 d``."""
    seconds = max(0.0, seconds)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.0005 or not seconds else "<1 ms"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    left = round(seconds)
    for index, (length, unit) in enumerate(_STEPS):
        if left < length:
            continue
        count, left = divmod(left, length)
        if unit == "min" or count >= 10:
            return f"{count} {unit}"
        smaller, name = _STEPS[index + 1]
        rest = left // smaller
        return f"{count} {unit} {rest} {name}" if rest else f"{count} {unit}"
    return "1 min"


def instant(iso: str) -> int:
    """Microseconds of an ISO 8601 time."""
    return round(datetime.fromisoformat(iso).timestamp() * SECOND)


def when(iso: str | None, now: int) -> str:
    """A time seen from ``now`` (microseconds): ``3 min ago``, ``in 20 s``, ``now``, ``-`` for none."""
    if iso is None:
        return _NONE
    seconds = (instant(iso) - now) / SECOND
    if abs(seconds) < 1:
        return "now"
    return f"in {span(seconds)}" if seconds > 0 else f"{span(-seconds)} ago"


def due(iso: str | None, now: int) -> str:
    """When something falls due: ``in 20 s``, ``due`` once it has, ``-`` for never."""
    if iso is None:
        return _NONE
    return "due" if instant(iso) <= now else when(iso, now)


def since(iso: str | None, now: int) -> str:
    """How long ago a time is: ``3 min``, ``-`` for none."""
    return _NONE if iso is None else span((now - instant(iso)) / SECOND)


def age(seconds: float | None) -> str:
    """A length of time, ``-`` for none."""
    return _NONE if seconds is None else span(seconds)


def moment(iso: str | None) -> str:
    """A time to the second: ``2026-11-22 10:00:00Z``."""
    return _NONE if iso is None else f"{iso[:10]} {iso[11:19]}Z"


def size(count: int) -> str:
    """Bytes: ``0 B``, ``850 B``, ``12.3 kB``, ``4.0 GB`` (powers of 1000)."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("the last unit takes all")


def share(rate: float | None) -> str:
    """From 0 to 1 as per cent; only a true 1 is ``100 %``."""
    if rate is None:
        return _NONE
    return "100 %" if rate == 1 else f"{min(rate, 0.999):.1%}".replace("%", " %")


def count(number: int, one: str, many: str | None = None) -> str:
    """``1 delivery``, ``2 deliveries``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def pairs(mapping: object) -> str:
    """``a=1 b=2`` of a mapping."""
    return " ".join(f"{key}={value}" for key, value in mapping.items()) if isinstance(mapping, dict) else ""
