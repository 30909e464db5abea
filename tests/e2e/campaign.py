"""The crash campaign: files that no other has, and engines killed at random while they deliver them."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
from collections.abc import Sequence

from conveyor.delivery.identity import serving
from conveyor.installation import Installation
from conveyor.intake import Item
from e2e.kit import Place, until

ENGINES = 2
LARGE = 300 * 1024
"""Bytes added to every fortieth file: more than one part, where a destination takes parts."""


def content(number: int, seed: int) -> bytes:
    """A file that no other number has."""
    size = 200 + number % 4000 + (LARGE if number % 40 == 39 else 0)
    return random.Random(f"{seed}/{number}").randbytes(size)


def submit(place: Place, files: int, seed: int) -> dict[str, str]:
    """Submit ``files`` files to all destinations; returns the SHA-256 by job id."""
    with place.open() as installation:
        return submit_some(installation, range(files), seed)


def submit_some(installation: Installation, numbers: Sequence[int], seed: int) -> dict[str, str]:
    """Submit the files of these numbers to all destinations, each under a key: again is no second job.

    Returns:
        The SHA-256 by job id.

    Raises:
        LedgerError: The ledger is away, and may have taken them nevertheless.
    """
    names = [destination.id for destination in installation.source.list()]
    contents = [content(number, seed) for number in numbers]
    items = [
        Item(data, to=names, filename=f"photo-{number:05d}.jpg", key=f"{seed}/{number}")
        for number, data in zip(numbers, contents, strict=True)
    ]
    submitted = installation.submitter().submit_many(items)
    return {
        answer.job_id: hashlib.sha256(data).hexdigest()
        for answer, data in zip(submitted, contents, strict=True)
    }


def run(place: Place, *, kills: int, seed: int, pause: tuple[float, float] = (0.4, 1.5)) -> tuple[int, float]:
    """Keep engines running, killing one at random, until all kills are done and nothing is open.

    Returns:
        Kills and seconds.
    """
    chance = random.Random(seed)
    began = time.monotonic()
    engines = [place.start() for _ in range(ENGINES)]
    done = 0
    next_kill = time.monotonic() + 1.5
    with place.open() as installation:

        def settled() -> bool:
            nonlocal done, next_kill
            if done < kills and time.monotonic() >= next_kill:
                victim = chance.randrange(ENGINES)
                os.killpg(engines[victim].pid, signal.SIGKILL)
                engines[victim].wait()
                engines[victim] = place.start()
                done += 1
                next_kill = time.monotonic() + chance.uniform(*pause)
            return done == kills and not installation.ledger.deliveries.open_count()

        def listening() -> bool:
            """Each engine is far enough to take SIGTERM as an order: the last kill may be a moment ago."""
            known = {worker.pid for worker in serving(installation.ledger.workers.all(), 0)}
            return known >= {engine.pid for engine in engines}

        until(settled, "everything is final", patience=600.0)
        until(listening, "the engines know their ledger")
    for engine in engines:
        engine.send_signal(signal.SIGTERM)
    for engine in engines:
        assert engine.wait(30) == 0, place.log()[-2000:]
    return done, time.monotonic() - began
