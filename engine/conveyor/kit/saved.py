"""What a connector saves in a delivery's state for the next attempt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

from conveyor.contract import AttemptCancelled, DeliveryError, State

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


def save_or_undo(save: Callable[[], object], undo: Callable[[], object]) -> None:
    """Save what the destination has just begun, or undo it there at once: nobody else could.

    Args:
        save: Commits its id by ``context.save``, which raises when the ledger is away or the lease is over.
        undo: Removes it at the destination. What it raises is dropped: ``save`` has said why it ends.
    """
    try:
        save()
    except BaseException:
        with suppress(DeliveryError, AttemptCancelled):
            undo()
        raise
