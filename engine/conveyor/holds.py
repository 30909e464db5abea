"""Why a destination is not served just now, and when it will be: asked by the engine and by whoever tells."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from conveyor.ledger.records import BlockReason, DueDestination, Health

if TYPE_CHECKING:
    from conveyor.config import Destination


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
    HOOK = "hook"


NEVER = frozenset({Reason.REMOVED, Reason.INVALID_CONFIG, Reason.INACTIVE, Reason.PAUSED, Reason.DEACTIVATED})
"""Holds that do not end by themselves."""

_OUTLASTS_EDITS = frozenset({BlockReason.THROTTLED, BlockReason.DEACTIVATED})


def hold_of(destination: Destination | None, health: Health | None) -> Reason | None:
    """Why nothing is delivered to a destination just now; None when it is served.

    A block of the ledger that an edit of the destination has ended counts for nothing, though it may still
    stand there: the engine releases it when it next serves the destination.

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
    if edited and block.reason not in _OUTLASTS_EDITS:
        return None
    return Reason(block.reason.value)


def served_at(due: DueDestination, reason: Reason | None) -> int | None:
    """When the next attempt may begin, microseconds; None when somebody has to act first.

    Args:
        due: The destination's earliest delivery and its health.
        reason: :func:`hold_of` it.
    """
    if reason is None:
        return due.next_attempt_at
    block = due.health.block
    if reason in NEVER or block is None or block.until is None:
        return None
    # A block is lifted by a probe, at its end the earliest.
    return max(due.next_attempt_at, block.until)
