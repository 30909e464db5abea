"""The hooks a plugin may implement. ``from conveyor.hookspecs import hookimpl``."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from conveyor.contract import ConnectorSpec, OAuthProvider

PROJECT = "conveyor"
"""The pluggy project and the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def conveyor_connectors() -> Iterable[ConnectorSpec]:  # type: ignore[empty-body]
    """Return the specs of the destination types that this plugin brings. Import no SDK."""


@hookspec
def conveyor_oauth_providers() -> Iterable[OAuthProvider]:  # type: ignore[empty-body]
    """Return the providers of accounts that this plugin's types sign in at."""
