"""Delivery status in the published shape: what a product shows its customers.

The field names and statuses are the interface that products publish; they are exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from conveyor.ledger.records import DeliveryRecord, Status
from conveyor.status.times import iso

if TYPE_CHECKING:
    from conveyor.config import DestinationSource

_PUBLISHED: Mapping[Status, str] = {
    Status.PENDING: "pending",
    Status.DELIVERING: "pending",
    Status.DELIVERED: "delivered",
    Status.FAILED: "failed",
    Status.CANCELLED: "failed",
}


def session_status(
    session_id: str, deliveries: Iterable[DeliveryRecord], source: DestinationSource
) -> dict[str, Any]:
    """The status of all images of a session.

    Args:
        session_id: The session.
        deliveries: All deliveries of its jobs.
        source: For the destinations' names.

    Returns:
        ``{"session_id", "status", "images": […]}``; ``status`` is ``completed`` only when everything is
        delivered, ``failed`` when something is final and failed, else ``pending``.
    """
    images: dict[str, dict[str, Any]] = {}
    ordered = sorted(deliveries, key=lambda d: (d.job.created_at, d.job_id, d.created_at, d.id))
    # A replay under a new id takes the place of the delivery that it repeats.
    newest = {(delivery.job_id, delivery.destination): delivery for delivery in ordered}
    for delivery in newest.values():
        job = delivery.job
        image = images.setdefault(
            job.id,
            {
                "image_id": job.image_id or job.id,
                "image_index": job.image_index,
                "filename": job.filename,
                "deliveries": [],
            },
        )
        image["deliveries"].append(_delivery(delivery, source))
    shown = sorted(images.values(), key=lambda i: (i["image_index"] is None, i["image_index"] or 0))
    return {"session_id": session_id, "status": _aggregate(shown), "images": shown}


def _delivery(delivery: DeliveryRecord, source: DestinationSource) -> dict[str, Any]:
    destination = source.get(delivery.destination)
    status = _PUBLISHED[delivery.status]
    shown: dict[str, Any] = {
        "destination_id": delivery.destination,
        "destination_name": delivery.destination if destination is None else destination.name,
        "destination_type": delivery.type,
        "status": status,
        "attempts": delivery.attempt,
    }
    if status == "delivered":
        shown["delivered_at"] = iso(delivery.finished_at)
    else:
        shown["next_retry_at"] = iso(delivery.next_attempt_at)
    shown["last_error"] = delivery.last_error
    return shown


def _aggregate(images: Iterable[Mapping[str, Any]]) -> str:
    statuses = {delivery["status"] for image in images for delivery in image["deliveries"]}
    if "failed" in statuses:
        return "failed"
    return "completed" if statuses == {"delivered"} else "pending"
