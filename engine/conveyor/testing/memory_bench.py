"""The bench of the memory connector: the suite's own example and its proof."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from conveyor.testing.bench import Bench, Observer, Overrides
from conveyor.testing.memory import MEMORY_SPEC, MemoryServer, MemoryStore, StoreFault, classify


class MemoryObserver(Observer):
    """Looks into the store itself, past its server."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def read(self, path: str) -> bytes | None:
        """The object's bytes."""
        stored = self._store.head(path)
        return None if stored is None else stored.data

    def names(self) -> set[str]:
        """All objects."""
        return self._store.paths()

    def wipe(self) -> None:
        """Forget objects, uploads and faults."""
        self._store.wipe()

    def put(self, path: str, data: bytes) -> None:
        """Place an object that no delivery made."""
        self._store.put(path, data)

    def leftovers(self) -> set[str]:
        """Uploads that are neither committed nor aborted."""
        return self._store.uploads()


def memory_bench(server: MemoryServer, **changes: Any) -> Bench:
    """A bench for :data:`MEMORY_SPEC` at ``server``; ``changes`` replace its fields."""
    store = server.store

    @contextmanager
    def forbidden() -> Iterator[Overrides]:
        with store.failing(StoreFault(403, "Forbidden")):
            yield {}

    @contextmanager
    def full() -> Iterator[Overrides]:
        with store.limited(100_000):
            yield {}

    @contextmanager
    def throttle(seconds: float) -> Iterator[Overrides]:
        with store.failing(StoreFault(429, "SlowDown", retry_after=seconds)):
            yield {}

    def exceptions() -> Iterator[BaseException]:
        for status, code in ((401, "BadToken"), (404, "NoSuchUpload"), (429, "SlowDown"), (500, "?")):
            yield StoreFault(status, code)
        yield from (ConnectionResetError(), TimeoutError(), http.client.RemoteDisconnected("closed"))

    fields: dict[str, Any] = {
        "spec": MEMORY_SPEC,
        "options": {"url": server.url, "token": store.token, "chunk_size": 65_536},
        "observer": MemoryObserver(store),
        "address": (server.host, server.port),
        "through": lambda host, port: {"url": f"http://{host}:{port}"},
        "wrong_credentials": {"token": "not-the-token"},
        "missing_place": {"space": "nowhere"},
        "forbidden": forbidden,
        "full": full,
        "throttle": throttle,
        "sdk_exceptions": exceptions,
        "classify": classify,
        "large": 200_003,
        "quiet": 0.05,
        "stall_deadline": 0.5,
        "release_time": 2.0,
    }
    return Bench(**{**fields, **changes})
