"""Clients that all connectors of a process share: made on first use, counted, closed by their last user."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Shared(Generic[T]):
    """A client and how many use it."""

    client: T
    key: Hashable = field(repr=False)
    users: int = 0


class Clients(Generic[T]):
    """The clients of one kind in this process; a forked process makes its own.

    Args:
        close: Closes one, after its last user.
    """

    def __init__(self, close: Callable[[T], None]) -> None:
        self._close = close
        self._lock = threading.Lock()
        self._open: dict[Hashable, Shared[T]] = {}

    def acquire(self, key: Hashable, make: Callable[[], T]) -> Shared[T]:
        """The client for this key. Give it back with :meth:`release`.

        Args:
            key: All that makes a client another one, secrets among it.
            make: Makes it, under a lock: SDKs are not safe while they create one. What it raises is passed
                on, and nothing is kept.
        """
        whole = (os.getpid(), key)
        with self._lock:
            shared = self._open.get(whole)
            if shared is None:
                shared = self._open[whole] = Shared(make(), whole)
            shared.users += 1
            return shared

    def release(self, shared: Shared[T]) -> None:
        """One user less; the last one closes the client."""
        with self._lock:
            shared.users -= 1
            if shared.users > 0:
                return
            self._forget(shared)
        self._close(shared.client)

    def discard(self, shared: Shared[T]) -> None:
        """The client's sign-in has run out: who asks next gets a new one."""
        with self._lock:
            self._forget(shared)

    def __len__(self) -> int:
        return len(self._open)

    def _forget(self, shared: Shared[T]) -> None:
        if self._open.get(shared.key) is shared:
            del self._open[shared.key]
