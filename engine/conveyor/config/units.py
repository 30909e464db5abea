"""Durations, sizes and rates as people write them: ``5s``, ``2m``, ``7d``, ``32KiB``, ``1.5 MB``."""

from __future__ import annotations

import math
import re

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
"""Seconds by unit. ``m`` is minutes; a bare number is seconds."""

BYTES = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
"""Bytes by unit, in lower case: SI units are powers of 1000, IEC units (``KiB``) powers of 1024."""

LONGEST = 36_500 * 86400.0
"""Seconds. A thread waits for some 290 years at most, and the ledger's times reach further than that."""

LARGEST = 2**63 - 1
"""Bytes, as the ledger holds them."""

_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE)
_DURATION_HELP = "a duration such as 30s, 2m, 1h or 7d (a bare number is seconds)"
_RATE_HELP = "a rate such as 10/s, 600/m or 1000/h (a bare number is by the second)"
_SIZE_HELP = "a size such as 65536, 32KiB or 5MB"


def parse_duration(value: object) -> float:
    """Turn ``"1h30m"``, ``"5s"``, ``"0.5"`` or a number into seconds.

    Args:
        value: Text with units ms, s, m, h, d, w, several of them in a row allowed; or a number of seconds.

    Returns:
        Seconds, not negative, at most ``LONGEST``.

    Raises:
        ValueError: With one sentence that says what was expected.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"expected {_DURATION_HELP}")  # noqa: TRY004 -- pydantic reports ValueErrors only
    seconds = _sum_of_parts(value) if isinstance(value, str) else _finite(value)
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"expected {_DURATION_HELP}")
    if seconds > LONGEST:
        raise ValueError(f"expected {_DURATION_HELP}, of at most {format_duration(LONGEST)}")
    return seconds


def _finite(value: float) -> float | None:
    """As a float; None of a whole number that is beyond all of them."""
    try:
        return float(value)
    except OverflowError:
        return None


def _sum_of_parts(text: str) -> float | None:
    total, position, stripped = 0.0, 0, text.strip()
    while position < len(stripped):
        part = _PART.match(stripped, position)
        if part is None:
            return None
        number, unit = part.groups()
        if not unit and (position or part.end() < len(stripped)):
            return None  # "1h30" or "5 5": which unit was meant?
        factor = SECONDS.get(unit.lower() or "s")
        if factor is None:
            return None
        total += float(number) * factor
        position = part.end()
    return total if stripped else None


def parse_size(value: object) -> int:
    """Turn ``"32KiB"``, ``"1.5MB"`` or a whole number into bytes; ``"/s"`` at the end is allowed.

    Raises:
        ValueError: With one sentence that says what was expected.
    """
    size: float | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str):
        part = _PART.fullmatch(value.strip().removesuffix("/s").strip())
        factor = BYTES.get(part.group(2).lower() or "b") if part else None
        if part and factor is not None:
            size = float(part.group(1)) * factor
    if size is None or size < 0:
        raise ValueError(f"expected {_SIZE_HELP}")
    if size > LARGEST:
        raise ValueError(f"expected {_SIZE_HELP}, of at most {LARGEST}")
    return round(size)


def parse_rate(value: object) -> float:
    """Turn ``"600/m"``, ``"10/s"`` or a number into so many a second; more than none.

    Raises:
        ValueError: With one sentence that says what was expected.
    """
    rate: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        rate = _finite(value)
    elif isinstance(value, str):
        count, _, unit = (part.strip() for part in value.partition("/"))
        factor = SECONDS.get(unit.lower() or "s")
        if factor is not None and re.fullmatch(r"\d+(?:\.\d+)?", count):
            rate = float(count) / factor
    if rate is None or not math.isfinite(rate) or rate <= 0:
        raise ValueError(f"expected {_RATE_HELP}")
    return rate


def format_rate(rate: float) -> str:
    """A rate as text that :func:`parse_rate` reads back: ``10/s``, ``30/m``."""
    for unit in ("s", "m", "h", "d"):
        count = rate * SECONDS[unit]
        if count >= 1 or unit == "d":
            return f"{count:.6g}/{unit}"
    return f"{rate:.6g}"


def format_duration(seconds: float) -> str:
    """Seconds as text that :func:`parse_duration` reads back, to the millisecond: ``7d``, ``0.25s``."""
    for unit in ("d", "h", "m"):
        factor = SECONDS[unit]
        if seconds >= factor and seconds % factor == 0:
            return f"{int(seconds // factor)}{unit}"
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def format_size(count: int) -> str:
    """Bytes as the shortest exact text: ``32KiB``, ``5GiB``, ``1000``."""
    for unit, name in (("tib", "TiB"), ("gib", "GiB"), ("mib", "MiB"), ("kib", "KiB")):
        if count and count % BYTES[unit] == 0:
            return f"{count // BYTES[unit]}{name}"
    return str(count)
