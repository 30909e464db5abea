"""The hooks a plugin may implement. ``from conveyor.hookspecs import hookimpl``.

docs/hooks.md says of each when it is called, in which order, and what happens when it raises; a test holds
the page to these signatures. What they are handed and answer is in :mod:`conveyor.hooks`.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from conveyor.contract import ConnectorSpec, OAuthProvider, Parcel
from conveyor.hooks import (
    Alert,
    AttemptEnded,
    Decision,
    DeliveryFinal,
    DestinationChanged,
    Place,
)

PROJECT = "conveyor"
"""The pluggy project and the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


# --- announcements: asked once, when the plugin is loaded ---------------------------------------------------


@hookspec
def conveyor_connectors() -> Iterable[ConnectorSpec]:  # type: ignore[empty-body]
    """Return the specs of the destination types that this plugin brings. Import no SDK."""


@hookspec
def conveyor_oauth_providers() -> Iterable[OAuthProvider]:  # type: ignore[empty-body]
    """Return the providers of accounts that this plugin's types sign in at."""


# --- around a delivery --------------------------------------------------------------------------------------


@hookspec
def conveyor_before_attempt(parcel: Parcel, place: Place, path: str, attempt: int) -> Decision | None:
    """Say whether an attempt may be made: None lets it, a ``Fail``, ``Hold`` or ``Delay`` does not."""


@hookspec
def conveyor_after_attempt(event: AttemptEnded) -> None:
    """Learn how an attempt ended, once that stands in the ledger."""


@hookspec
def conveyor_delivery_final(event: DeliveryFinal) -> None:
    """Learn that a delivery was delivered, has failed or was cancelled."""


@hookspec
def conveyor_destination_changed(event: DestinationChanged) -> None:
    """Learn that a destination is held, held for another reason, or served again."""


@hookspec
def conveyor_alert(alert: Alert) -> None:
    """Tell a person: a destination is held or served again, a delivery has failed, a plugin has failed."""
