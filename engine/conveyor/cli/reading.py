"""Words of the command line that several verbs read alike."""

from __future__ import annotations

from collections.abc import Iterable

import typer


def seconds(text: str) -> float:
    """A duration: ``90``, ``30s``, ``5m``, ``1h30m``; for typer's ``parser``."""
    from conveyor.config.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def rate(text: str) -> float:
    """So many a second: ``10/s``, ``600/m``; for typer's ``parser``."""
    from conveyor.config.units import parse_rate

    try:
        return parse_rate(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def listed(words: Iterable[str]) -> list[str]:
    """Words given one by one or with commas, each once, in order."""
    return list(dict.fromkeys(word.strip() for some in words for word in some.split(",") if word.strip()))


def pairs(words: Iterable[str], option: str) -> dict[str, str]:
    """``key=value`` words as a dict; the last of equal keys wins."""
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals):
            raise typer.BadParameter(f"expected key=value, not {word!r}", param_hint=option)
        found[key] = value
    return found
