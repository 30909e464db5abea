"""Renders where a delivery goes: once per cycle, at its first claim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING

from conveyor.contract import ConflictPolicy, DeliveryError, ErrorKind
from conveyor.ledger.records import JobRecord, Placement
from conveyor.paths import PathError, Placed, Values, place
from conveyor.paths.errors import PluginPathError

if TYPE_CHECKING:
    from conveyor.config import Destination

RENAME_HEADROOM = len(" (9999)")
"""Room left in the file name for the number that ``rename`` may add."""


class Placer:
    """Renders paths.

    Args:
        time_zone: What ``{date}`` is rendered in.
        renamed: The file name after a destination's transforms.
    """

    def __init__(
        self, time_zone: tzinfo = UTC, renamed: Callable[[Destination, str], str] | None = None
    ) -> None:
        self._time_zone = time_zone
        self._renamed = renamed

    def __call__(self, destination: Destination, job: JobRecord, delivery_id: str, cycle: int) -> Placement:
        """The path and policy of a delivery's cycle.

        Raises:
            DeliveryError: NAME, when the template renders to nothing that can be a path.
        """
        placed = self._placed(destination, job, delivery_id, cycle)
        return Placement(placed.path, destination.conflict, tuple(map(str, placed.changes)))

    def changes(
        self, destination: Destination, job: JobRecord, delivery_id: str, cycle: int, path: str
    ) -> tuple[str, ...]:
        """Why ``path`` is not what the template rendered; empty when it is, or when the template changed."""
        try:
            placed = self._placed(destination, job, delivery_id, cycle)
        except DeliveryError:
            return ()
        return tuple(map(str, placed.changes)) if placed.path == path else ()

    def _placed(self, destination: Destination, job: JobRecord, delivery_id: str, cycle: int) -> Placed:
        if destination.transforms and self._renamed is not None:
            job = replace(job, filename=self._renamed(destination, job.filename))
        values = Values.of(
            job, delivery_id, destination.id, destination.labels, time_zone=self._time_zone, cycle=cycle
        )
        headroom = RENAME_HEADROOM if destination.conflict is ConflictPolicy.RENAME else 0
        rules = destination.spec.capabilities.names
        values.type = destination.type
        try:
            return place(destination.template, rules, values, headroom=headroom)
        except PluginPathError as error:
            raise DeliveryError(ErrorKind.CONFIG, error.message, hint=error.cure) from None
        except PathError as error:
            raise DeliveryError(ErrorKind.NAME, str(error), hint="change path_template") from None

    def attempt(
        self, destination: Destination, job: JobRecord, delivery_id: str, cycle: int
    ) -> Placement | None:
        """The same for a claim: None when it cannot be rendered, the attempt then says why.

        Never raises: it runs inside a transaction that claims the work of many destinations.
        """
        try:
            return self(destination, job, delivery_id, cycle)
        except Exception:
            return None
