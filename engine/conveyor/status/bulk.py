"""Replays in bulk as API and ``--json`` show them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from conveyor.ledger.bulk import ReplayPart, ReplayRecord
from conveyor.status.times import iso


@dataclass(frozen=True, slots=True)
class BulkReplay:
    """One replay in bulk. Times are ISO 8601 UTC.

    Attributes:
        state: ``running``, ``paused``, ``done`` or ``cancelled``.
        rate: Deliveries a second at most; None without a limit.
        matched: When it was begun.
        turned: Put in line again so far; ``skipped``: looked at and left alone.
        waiting, delivered, failed, cancelled: What became of those in line.
        destinations: The same for each.
    """

    id: str
    state: str
    created_at: str | None
    finished_at: str | None
    rate: float | None
    matched: int
    turned: int
    skipped: int
    waiting: int
    delivered: int
    failed: int
    cancelled: int
    destinations: tuple[dict[str, Any], ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def view(record: ReplayRecord) -> BulkReplay:
    """One replay in bulk."""
    parts = tuple(_part(part) for part in record.parts)
    counted = ("matched", "turned", "skipped", "waiting", "delivered", "failed", "cancelled")
    return BulkReplay(
        id=record.id,
        state=record.state.value,
        created_at=iso(record.created_at),
        finished_at=iso(record.finished_at),
        rate=record.rate,
        **{name: sum(part[name] for part in parts) for name in counted},
        destinations=parts,
    )


def _part(part: ReplayPart) -> dict[str, Any]:
    statuses = part.statuses
    return {
        "destination": part.destination,
        "matched": part.matched,
        "turned": part.turned,
        "skipped": part.skipped,
        "waiting": statuses.get("pending", 0) + statuses.get("delivering", 0),
        **{status: statuses.get(status, 0) for status in ("delivered", "failed", "cancelled")},
    }
