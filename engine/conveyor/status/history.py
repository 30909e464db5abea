"""All that is known of one delivery: its attempts, its replays, what it left, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from conveyor.ledger.records import AttemptRecord, CleanupRecord, DeliveryRecord
from conveyor.status.times import iso
from conveyor.status.views import DeliveryStatus, Viewer, attempt_views

if TYPE_CHECKING:
    from conveyor.ledger.facade import Ledger


@dataclass(frozen=True, slots=True)
class History:
    """One delivery and all that happened to it.

    Attributes:
        attempts: Those that retention has left, oldest first.
        replays: Ids of deliveries that replay this one under a new id.
        cleanups: What it left at its destination, removed or still to be removed.
        cure: What a person can do now; None when there is nothing to do.
    """

    delivery: DeliveryStatus
    attempts: tuple[AttemptRecord, ...]
    replays: tuple[str, ...]
    cleanups: tuple[CleanupRecord, ...]
    cure: str | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the delivery, with ``timeline``, ``replays`` and ``cleanups`` beside its own fields."""
        return {
            **self.delivery.as_dict(),
            "cure": self.cure,
            "timeline": attempt_views(self.attempts),
            "replays": list(self.replays),
            "cleanups": [_cleanup_view(cleanup) for cleanup in self.cleanups],
        }


def history(
    ledger: Ledger, viewer: Viewer, record: DeliveryRecord, family: Sequence[DeliveryRecord]
) -> History:
    """Gather what is known of a delivery.

    Args:
        ledger: Where it is.
        viewer: Makes the view.
        record: The delivery.
        family: All deliveries of its job.
    """
    view = viewer.delivery(record)
    attempts = tuple(ledger.deliveries.attempts(record.id))
    return History(
        delivery=view,
        attempts=attempts,
        replays=tuple(other.id for other in family if other.replay_of == record.id),
        cleanups=tuple(ledger.cleanups.get(record.id)),
        cure=view.cure or _cure(view, attempts),
    )


def _cure(view: DeliveryStatus, attempts: Sequence[AttemptRecord]) -> str | None:
    if view.status not in ("failed", "cancelled"):
        return None
    if not view.replayable:
        return "its bytes were removed by retention: submit the file again"
    replay = f"conveyor replay {view.id}"
    hint = attempts[-1].hint if attempts and view.status == "failed" else None
    return f"{hint}; then {replay}" if hint else replay


def _cleanup_view(cleanup: CleanupRecord) -> dict[str, Any]:
    shown = asdict(cleanup)
    for name in ("created_at", "next_at", "done_at"):
        shown[name] = iso(shown[name])
    return shown
