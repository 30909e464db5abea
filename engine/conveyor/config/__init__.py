"""Configuration: one YAML file (and what it includes) becomes settings and destinations.

Names are loaded on first use: a connector's option module needs :mod:`conveyor.config.options` alone and
should not pay for the YAML reader.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conveyor.config.loader import Config, load
    from conveyor.config.model import Destination, Limits
    from conveyor.config.options import Options
    from conveyor.config.reload import Change, Reloader
    from conveyor.config.settings import Settings
    from conveyor.config.sources import ChainSource, DestinationSource, LedgerSource, YamlSource

__all__ = [
    "ChainSource",
    "Change",
    "Config",
    "Destination",
    "DestinationSource",
    "LedgerSource",
    "Limits",
    "Options",
    "Reloader",
    "Settings",
    "YamlSource",
    "load",
]

_MODULES = {
    "loader": ("Config", "load"),
    "model": ("Destination", "Limits"),
    "options": ("Options",),
    "reload": ("Change", "Reloader"),
    "settings": ("Settings",),
    "sources": ("ChainSource", "DestinationSource", "LedgerSource", "YamlSource"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
