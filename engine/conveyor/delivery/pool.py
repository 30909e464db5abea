"""Open connectors, kept per destination: exclusive while in use, closed when idle, replaced on an edit."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from conveyor.clock import Clock
from conveyor.contract import Connector, Log

if TYPE_CHECKING:
    from conveyor.config import Destination

IDLE_SECONDS = 60.0
MOST_IDLE = 256


@dataclass(slots=True)
class _Idle:
    connector: Connector
    revision: str
    since: float


@dataclass(slots=True)
class Checkout:
    """A connector in exclusive use."""

    connector: Connector
    destination: str
    revision: str
    fresh: bool = field(default=False)


class ConnectorPool:
    """Lends connectors.

    Args:
        make: Opens a connector for a destination; may raise what the factory raises.
        clock: For idle times.
        log: For connectors that cannot be closed.
        idle_seconds: After this long unused a connector is closed.
        most_idle: Idle connectors kept over all destinations; the least recently used goes first.
    """

    def __init__(
        self,
        make: Callable[[Destination], Connector],
        *,
        clock: Clock,
        log: Log,
        idle_seconds: float = IDLE_SECONDS,
        most_idle: int = MOST_IDLE,
    ) -> None:
        self._make = make
        self._clock = clock
        self._log = log
        self._idle_seconds = idle_seconds
        self._most_idle = most_idle
        self._lock = threading.Lock()
        self._idle: OrderedDict[str, list[_Idle]] = OrderedDict()
        self._count = 0
        self._closed = False

    def take(self, destination: Destination) -> Checkout:
        """An idle connector of this revision, or a new one. Never more than there are attempts."""
        stale: list[_Idle] = []
        found: _Idle | None = None
        with self._lock:
            shelf = self._idle.get(destination.id, [])
            while shelf and found is None:
                idle = shelf.pop()
                self._count -= 1
                if idle.revision == destination.revision:
                    found = idle
                else:
                    stale.append(idle)
            if not shelf:
                self._idle.pop(destination.id, None)
        for idle in stale:
            self._shut(idle.connector)
        if found is not None:
            return Checkout(found.connector, destination.id, destination.revision)
        return Checkout(self._make(destination), destination.id, destination.revision, fresh=True)

    def give_back(self, checkout: Checkout, *, sound: bool) -> None:
        """Return a connector; one that is not ``sound`` is closed."""
        victim: Connector | None = None
        with self._lock:
            if not sound or self._closed:
                victim = checkout.connector
            else:
                idle = _Idle(checkout.connector, checkout.revision, self._clock.monotonic())
                self._idle.setdefault(checkout.destination, []).append(idle)
                self._idle.move_to_end(checkout.destination)
                self._count += 1
                if self._count > self._most_idle:
                    victim = self._drop_oldest()
        if victim is not None:
            self._shut(victim)

    def close_idle(self) -> None:
        """Close what has been idle for too long."""
        limit = self._clock.monotonic() - self._idle_seconds
        victims: list[Connector] = []
        with self._lock:
            for key, shelf in list(self._idle.items()):
                keep = [idle for idle in shelf if idle.since > limit]
                victims += [idle.connector for idle in shelf if idle.since <= limit]
                self._count -= len(shelf) - len(keep)
                if keep:
                    self._idle[key] = keep
                else:
                    del self._idle[key]
        for connector in victims:
            self._shut(connector)

    def close(self) -> None:
        """Close all idle connectors, and from now on each one that comes back."""
        with self._lock:
            self._closed = True
            victims = [idle.connector for shelf in self._idle.values() for idle in shelf]
            self._idle.clear()
            self._count = 0
        for connector in victims:
            self._shut(connector)

    def _shut(self, connector: Connector) -> None:
        """Close; a connector that fails at it must not cost a delivery its result, or a thread its life."""
        try:
            connector.close()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # not only Exception: a library may call sys.exit()
            self._log.warning("connector does not close", error=type(error).__name__)

    def _drop_oldest(self) -> Connector:
        key, shelf = next(iter(self._idle.items()))
        idle = shelf.pop(0)
        self._count -= 1
        if not shelf:
            del self._idle[key]
        return idle.connector
