"""What a connector saves in a delivery's state for the next attempt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from conveyor.contract import State

T = TypeVar("T")


def load(kind: type[T], state: State, name: str) -> T | None:
    """The dataclass that was saved under ``name`` by ``context.save(name=asdict(it))``.

    Args:
        kind: Made with what is there as its arguments.
        state: The delivery's.
        name: Where it stands in there.

    Returns:
        None where nothing is saved, or what another version saved.
    """
    saved = state.get(name)
    if not isinstance(saved, Mapping):
        return None
    try:
        return kind(**saved)
    except TypeError:
        return None
