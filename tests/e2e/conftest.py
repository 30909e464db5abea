from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conveyor.receiver import Receiver
from e2e.kit import Place

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Callable[..., Place]]:
    made: list[Place] = []

    def make(**destinations: Any) -> Place:
        settings = destinations.pop("settings", {})
        folder = tmp_path / f"place{len(made)}"
        folder.mkdir()
        made.append(Place(folder, destinations, **settings))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path / "received", secrets=[SECRET]) as running:
        yield running


@pytest.fixture
def hook(receiver: Receiver) -> dict[str, Any]:
    return {"type": "webhook", "url": receiver.url, "secret": SECRET, "format": "binary"}
