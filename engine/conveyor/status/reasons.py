"""Why a delivery stands where it stands: the derived status ``held`` and the ``state_reason``."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING

from conveyor.ledger.records import BlockReason, DeliveryRecord, Health, Status

if TYPE_CHECKING:
    from conveyor.config import Destination, DestinationSource

HELD = "held"
RETRYING = "retrying"
"""Derived statuses that filters accept beside the stored ones."""


class Reason(enum.StrEnum):
    """The ``state_reason`` of a pending delivery."""

    QUEUED = "queued"
    RETRYING = "retrying"
    PAUSED = "paused"
    INACTIVE = "inactive"
    REMOVED = "removed"
    INVALID_CONFIG = "invalid_config"
    THROTTLED = "throttled"
    NEEDS_LOGIN = "needs_login"
    QUOTA = "quota"
    CONFIG_ERROR = "config_error"
    DEACTIVATED = "deactivated"
    BREAKER = "breaker"


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
    Reason.DEACTIVATED: "the receiver said it is gone: conveyor resume {id} when it is back",
    Reason.BREAKER: "it is probed, or conveyor resume {id}",
}
"""What ends a hold; ``{id}`` is the destination's."""


def hold_of(destination: Destination | None, health: Health | None) -> Reason | None:
    """Why nothing is delivered to a destination just now; None when it is served.

    Args:
        destination: Its config; None when it is not configured any more.
        health: What the ledger knows; None when it has never been served.
    """
    if destination is None:
        return Reason.REMOVED
    if destination.problem is not None:
        return Reason.INVALID_CONFIG
    if not destination.is_active:
        return Reason.INACTIVE
    if health is None:
        return None
    if health.paused_at is not None:
        return Reason.PAUSED
    block = health.block
    if block is None:
        return None
    edited = health.block_revision not in (None, destination.revision)
    if edited and block.reason not in (BlockReason.THROTTLED, BlockReason.DEACTIVATED):
        # The engine releases it at its next look.
        return None
    return Reason(block.reason.value)


def is_held(reason: Reason | None) -> bool:
    """Whether deliveries of a destination with this reason are ``held``."""
    return reason is not None and reason not in _WAITING


def cure_of(reason: Reason | None, destination: str) -> str | None:
    """What ends a hold of a destination; None when there is nothing to do."""
    cure = None if reason is None else CURES.get(reason)
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
        if reason is None:
            begun = delivery.failures or delivery.lost_in_a_row
            reason = Reason.RETRYING if begun else Reason.QUEUED
        return Status.PENDING.value, reason.value

    def cure(self, delivery: DeliveryRecord) -> str | None:
        """What ends the hold of a delivery; None when it is not held."""
        reason = self.hold(delivery.destination) if delivery.status is Status.PENDING else None
        return cure_of(reason, delivery.destination)

    def held_destinations(self, known: frozenset[str]) -> frozenset[str]:
        """Those of ``known`` whose pending deliveries are held."""
        return frozenset(d for d in known if is_held(self.hold(d)))
