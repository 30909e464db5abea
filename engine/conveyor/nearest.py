"""The nearest valid name, for messages about a name that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name that ``name`` was most likely meant to be, or None when none is close."""
    by_folded = {candidate.casefold(): candidate for candidate in valid}
    found = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def did_you_mean(name: str, valid: Iterable[str], *, label: str = "valid names") -> str:
    """The cure for an unknown name: the nearest one, or the list of all when none is close."""
    names = list(valid)
    close = nearest(name, names)
    if close is not None:
        return f"did you mean {close!r}?"
    listed = ", ".join(sorted(names)[:20])
    return f"{label}: {listed}" if listed else f"there are no {label}"
