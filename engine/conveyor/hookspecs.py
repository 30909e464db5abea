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
    DestinationProvider,
    PathFilter,
    PathVariable,
    PayloadSource,
    Place,
    SecretResolver,
    Transform,
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


@hookspec
def conveyor_path_variables() -> Iterable[PathVariable]:  # type: ignore[empty-body]
    """Return further names for path templates: ``{name}``."""


@hookspec
def conveyor_path_filters() -> Iterable[PathFilter]:  # type: ignore[empty-body]
    """Return further filters for path templates: ``{filename!name}``."""


@hookspec
def conveyor_secret_resolvers() -> Iterable[SecretResolver]:  # type: ignore[empty-body]
    """Return further YAML tags for values that are kept elsewhere: ``password: !vault path``."""


@hookspec
def conveyor_destination_sources() -> Iterable[DestinationProvider]:  # type: ignore[empty-body]
    """Return where further destinations come from, beside the YAML and the ledger's table."""


@hookspec
def conveyor_payload_sources() -> Iterable[PayloadSource]:  # type: ignore[empty-body]
    """Return what submits files by itself: a watched folder, a mailbox, a queue."""


@hookspec
def conveyor_transforms() -> Iterable[Transform]:  # type: ignore[empty-body]
    """Return what makes other bytes of a payload, for destinations that name it: ``transforms: [name]``."""


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
