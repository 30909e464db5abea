"""Why a delivery stands where it stands: the derived status ``held`` and the ``state_reason``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from conveyor.holds import Reason, hold_of
from conveyor.ledger.records import DeliveryRecord, Health, Status

if TYPE_CHECKING:
    from conveyor.config import Destination, DestinationSource

HELD = "held"
RETRYING = "retrying"
"""Derived statuses that filters accept beside the stored ones."""


_WAITING = frozenset({Reason.QUEUED, Reason.RETRYING, Reason.THROTTLED})
"""Reasons that pass by themselves at a known time: such a delivery is not held."""

CURES: Mapping[Reason, str] = {
    Reason.PAUSED: "conveyor resume {id}",
    Reason.INACTIVE: "set is_active: true for {id}",
    Reason.REMOVED: "configure {id} again, or conveyor cancel --destination {id}",
    Reason.INVALID_CONFIG: "conveyor validate shows the mistake",
    Reason.NEEDS_LOGIN: "put the credentials of {id} right, then conveyor resume {id}",
    Reason.QUOTA: "make room at {id}; it is probed, or conveyor resume {id}",
    Reason.CONFIG_ERROR: "put {id} right (conveyor test {id}); it is probed, or conveyor resume {id}",
    Reason.DEACTIVATED: "conveyor resume {id} when it is back",
    Reason.BREAKER: "it is probed, or conveyor resume {id}",
    Reason.HOOK: "a plugin holds it and is asked again; at once by conveyor replay {delivery}",
}
"""What ends a hold; ``{id}`` is the destination's, ``{delivery}`` the delivery's."""


def is_held(reason: Reason | None) -> bool:
    """Whether deliveries of a destination with this reason are ``held``."""
    return reason is not None and reason not in _WAITING


SIGN_IN = "conveyor connect {id}"
"""What ends NEEDS_LOGIN where a person signs in to an account."""


def cure_of(reason: Reason | None, destination: str, known: Destination | None = None) -> str | None:
    """What ends a hold of a destination; None when there is nothing to do.

    Args:
        reason: Of the hold.
        destination: Its id.
        known: Its config, which tells whether a person signs in for it.
    """
    cure = None if reason is None else CURES.get(reason)
    if reason is Reason.NEEDS_LOGIN and known is not None and known.spec.oauth is not None:
        cure = SIGN_IN
    return None if cure is None else cure.format(id=destination)


class Standing:
    """Tells status and reason of deliveries, from one reading of config and health."""

    def __init__(self, source: DestinationSource, health: Mapping[str, Health]) -> None:
        self._source = source
        self._health = health
        self._holds: dict[str, Reason | None] = {}

    def hold(self, destination: str) -> Reason | None:
        """Why a destination is not served; None when it is."""
        if destination not in self._holds:
            self._holds[destination] = hold_of(self._source.get(destination), self._health.get(destination))
        return self._holds[destination]

    def of(self, delivery: DeliveryRecord) -> tuple[str, str | None]:
        """The delivery's shown status and its reason."""
        if delivery.status is not Status.PENDING:
            return delivery.status.value, None
        reason = self.hold(delivery.destination)
        if is_held(reason):
            return HELD, str(reason)
        if reason is None and delivery.hold_reason is not None:
            return HELD, str(Reason.HOOK)
        if reason is None:
            begun = delivery.failures or delivery.lost_in_a_row
            reason = Reason.RETRYING if begun else Reason.QUEUED
        return Status.PENDING.value, reason.value

    def cure(self, delivery: DeliveryRecord) -> str | None:
        """What ends the hold of a delivery; None when it is not held."""
        reason = self.hold(delivery.destination) if delivery.status is Status.PENDING else None
        if reason is None and delivery.status is Status.PENDING and delivery.hold_reason is not None:
            return CURES[Reason.HOOK].format(delivery=delivery.id)
        return cure_of(reason, delivery.destination, self._source.get(delivery.destination))

    def held_destinations(self, known: frozenset[str]) -> frozenset[str]:
        """Those of ``known`` whose pending deliveries are held."""
        return frozenset(d for d in known if is_held(self.hold(d)))
