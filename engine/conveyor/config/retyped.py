"""A destination id that now stands for another type while work for the old one waits: held."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from conveyor.config.model import Destination
from conveyor.config.sources import DestinationSource
from conveyor.errors import LedgerError, Problem

RECHECK = 5.0
"""Seconds after which a conflict is looked at again: it ends when the waiting work does."""


class Retyped:
    """A source that quarantines destinations whose type changed under waiting work.

    Args:
        source: The destinations as configured.
        conflicts: Given the type of each id, those that the ledger knows under another type with open work,
            with that type.
        monotonic: A clock that never goes back.
    """

    def __init__(
        self,
        source: DestinationSource,
        conflicts: Callable[[Mapping[str, str]], Mapping[str, str]],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._ask = conflicts
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._revision: str | None = None
        self._asked = float("-inf")
        self._conflicts: Mapping[str, str] = {}

    def revision(self) -> str:
        """Changes when any destination does."""
        conflicts = self._current()
        revision = self._source.revision()
        return f"{revision}!{','.join(sorted(conflicts))}" if conflicts else revision

    def get(self, destination_id: str, /) -> Destination | None:
        """One destination, or None."""
        found = self._source.get(destination_id)
        return None if found is None else self._judged(found, self._current())

    def list(self) -> Sequence[Destination]:
        """All destinations, in the order of the config."""
        conflicts = self._current()
        return tuple(self._judged(found, conflicts) for found in self._source.list())

    def _current(self) -> Mapping[str, str]:
        revision = self._source.revision()
        now = self._monotonic()
        if revision == self._revision and not (self._conflicts and now - self._asked >= RECHECK):
            return self._conflicts
        with self._lock:
            try:
                self._conflicts = self._ask({d.id: d.type for d in self._source.list()})
            except LedgerError:
                # Asked again at the next question; until then as before.
                return self._conflicts
            self._revision, self._asked = revision, now
            return self._conflicts

    def _judged(self, found: Destination, conflicts: Mapping[str, str]) -> Destination:
        old = conflicts.get(found.id)
        if old is None or found.problem is not None:
            return found
        problem = Problem(
            f"was of type {old} and is now {found.type}, while deliveries to the old one wait",
            field=f"destinations.{found.id}.type",
            cure="give the new one another id, or cancel what waits (conveyor deliveries lists it)",
            destination=found.id,
        )
        return replace(found, options=None, problem=problem)
