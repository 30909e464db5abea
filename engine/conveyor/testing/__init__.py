"""For the author of a connector: the conformance suite and what it stands on.

Installed with the package, used only by tests: nothing at run time imports this. The names below are loaded
on first use, because the pytest plugin beside them is imported by every pytest run on the machine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conveyor.testing.bench import Bench, FolderObserver, Observer
    from conveyor.testing.clock import FakeClock
    from conveyor.testing.harness import HarnessContext, make_env
    from conveyor.testing.memory import MEMORY_SPEC, MemoryConnector, MemoryServer, MemoryStore
    from conveyor.testing.parcels import make_parcel
    from conveyor.testing.ports import free_port
    from conveyor.testing.proxy import FaultProxy
    from conveyor.testing.suite import ConnectorSuite

_HOMES = {
    "MEMORY_SPEC": "conveyor.testing.memory",
    "Bench": "conveyor.testing.bench",
    "ConnectorSuite": "conveyor.testing.suite",
    "FakeClock": "conveyor.testing.clock",
    "FaultProxy": "conveyor.testing.proxy",
    "FolderObserver": "conveyor.testing.bench",
    "HarnessContext": "conveyor.testing.harness",
    "MemoryConnector": "conveyor.testing.memory",
    "MemoryServer": "conveyor.testing.memory",
    "MemoryStore": "conveyor.testing.memory",
    "Observer": "conveyor.testing.bench",
    "free_port": "conveyor.testing.ports",
    "make_env": "conveyor.testing.harness",
    "make_parcel": "conveyor.testing.parcels",
}

__all__ = [
    "MEMORY_SPEC",
    "Bench",
    "ConnectorSuite",
    "FakeClock",
    "FaultProxy",
    "FolderObserver",
    "HarnessContext",
    "MemoryConnector",
    "MemoryServer",
    "MemoryStore",
    "Observer",
    "free_port",
    "make_env",
    "make_parcel",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)
