"""An installation with a ledger of its own, and contexts that submit to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conveyor import Conveyor, Item

CONFIG = """
ledger: sqlite:///{folder}/ledger.db
payloads: {folder}/payloads
network: {{allow_private: [127.0.0.0/8]}}
default_destinations: [here]
destinations:
  here: {{type: webhook, url: "http://127.0.0.1:9/"}}
  there: {{type: webhook, url: "http://127.0.0.1:9/"}}
"""


class Context:
    """Implements :class:`conveyor.hooks.SourceContext` over the public API; remembers what it was told."""

    def __init__(self, conveyor: Conveyor, waits: Callable[[float], bool] = lambda _: False) -> None:
        self._conveyor = conveyor
        self._waits = waits
        self.before: Callable[[], Any] = lambda: None
        self.warnings: list[tuple[str, dict[str, object]]] = []
        self.log: Any = self

    def warning(self, event: str, **fields: object) -> None:
        self.warnings.append((event, fields))

    def submit(self, item: Item) -> Any:
        self.before()
        assert isinstance(item.source, Path)
        return self._conveyor.submit(
            item.source,
            to=item.to,
            filename=item.filename,
            tags=tuple(item.tags),
            source_name=item.source_name,
            idempotency_key=item.key,
        )

    def wait(self, seconds: float) -> bool:
        return self._waits(seconds)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    place = tmp_path / "conveyor.yaml"
    place.write_text(CONFIG.format(folder=tmp_path))
    return place


@pytest.fixture
def conveyor(config: Path) -> Iterator[Conveyor]:
    with Conveyor.from_config(config) as opened:
        yield opened


@pytest.fixture
def context(conveyor: Conveyor) -> Context:
    return Context(conveyor)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (".taken", "done"):
        (tmp_path / "inbox" / name).mkdir(parents=True)
    return tmp_path / "inbox"
