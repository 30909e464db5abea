"""Destinations that hang do not delay the rest."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from conveyor.clock import SystemClock
from conveyor.contract import AttemptContext, Parcel, Receipt, Target
from conveyor.delivery.engine import Engine
from conveyor.delivery.parts import WorkerSettings, Workshop
from conveyor.ledger.records import Filter, Status
from conveyor.testing.scripted import forget_scripts, script
from conveyor.testing.simulation import Simulation, destination


@pytest.mark.parametrize("hung", [3, 8])
def test_hung_destinations_do_not_delay_the_rest(tmp_path: Path, hung: int) -> None:
    """With two threads, up to eight destinations hang; the others are served all the same."""
    forget_scripts()
    names = [f"d{number}" for number in range(hung + 12)]
    sim = Simulation(tmp_path, *(destination(name) for name in names))
    sim.clock.set_wall(time.time())
    release = threading.Event()

    def hang(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        while not release.wait(0.01):
            context.check()
        return Receipt(target.path)

    for name in names[:hung]:
        script(name).then(hang, hang)
    for name in names:
        sim.submit(to=[name])
        sim.submit(to=[name])
    shop = Workshop(sim.ledger, sim.source, sim.payloads, sim.registry, sim.keyring)
    engine = Engine(shop, WorkerSettings(threads=2, grace=1.0), SystemClock())
    engine.start()
    try:
        end = time.monotonic() + 40
        others = frozenset(names[hung:])
        wanted = Filter(destinations=others, statuses=frozenset({Status.PENDING, Status.DELIVERING}))
        while sim.ledger.deliveries.counts(wanted) and time.monotonic() < end:
            time.sleep(0.02)
        assert not sim.ledger.deliveries.counts(wanted)
        stuck = Filter(destinations=frozenset(names[:hung]), statuses=frozenset({Status.DELIVERED}))
        assert not sim.ledger.deliveries.counts(stuck)
        # Not every waiting delivery of a hung destination got a thread, one of them did.
        assert all(script(name).deliveries() <= 2 for name in names[:hung])
    finally:
        release.set()
        engine.stop()
        sim.close()
