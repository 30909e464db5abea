"""Configuration: one YAML file (and what it includes) becomes settings and destinations.

Names are loaded on first use: a connector's option module needs :mod:`conveyor.config.options` alone and
should not pay for the YAML reader.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conveyor.config.options import Options as Options

_HOMES = {
    "Options": "conveyor.config.options",
}

__all__ = ["Options"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
