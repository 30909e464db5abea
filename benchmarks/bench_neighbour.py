"""How much later a file arrives because half a million wait for another destination.

Seconds from the call of submit to the arrival, of files submitted now and then to an idle destination: alone,
and while the engine works on the backlog of another one, once with a connector that does nothing (the engine
is busy), once with one that takes 20 ms (its threads are).
"""

from __future__ import annotations

import argparse
import random
import time

from benchmarks._kit import (
    fill,
    goal,
    installation,
    quantiles,
    running,
    table,
    title,
    until,
    workplace,
    write_config,
)
from benchmarks._noop import ARRIVALS

GOAL = 0.100


def delays(kind: str, waiting: int, files: int) -> list[float]:
    """Seconds until each file has arrived at ``quiet`` while ``waiting`` wait for ``noisy``."""
    with workplace() as folder:
        names = {"noisy": {"type": kind}, "quiet": {"type": "noop"}}
        with installation(write_config(folder, names)) as opened:
            fill(opened, ["noisy"], waiting)
            submitter = opened.submitter()
            found = []
            with running(opened) as engine:
                time.sleep(1.0)  # until it is busy
                for _ in range(files):
                    time.sleep(random.uniform(0.01, 0.1))
                    ARRIVALS.clear()
                    began = time.time()
                    (ident,) = submitter.submit(b"photo", to=["quiet"], filename="a.jpg").deliveries.values()
                    engine.ring()
                    arrived: list[float] = []

                    def look(ident: str = ident, arrived: list[float] = arrived) -> bool:
                        arrived += [at for name, at in tuple(ARRIVALS) if name == ident]
                        return bool(arrived)

                    until(look, 60, "arrived", every=0.002)
                    found.append(arrived[0] - began)
            left = opened.ledger.deliveries.summary(opened.clock.now())["noisy"].pending if waiting else 0
            if waiting and not left:
                raise SystemExit("the backlog was gone before the end: --waiting more")
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--waiting", type=int, default=100_000, help="the issue's size: 500000")
    options.add_argument("--files", type=int, default=200)
    given = options.parse_args()
    title(f"{given.files} files to an idle destination beside {given.waiting:,} waiting for another one")
    rows, worst = [], 0.0
    alone = quantiles(delays("noop", 0, given.files))
    rows.append(("alone", *(f"{1000 * value:.1f} ms" for value in alone)))
    for kind, what in (("slow", "beside a backlog, 20 ms each"), ("noop", "beside a backlog, nothing to do")):
        beside = quantiles(delays(kind, given.waiting, given.files))
        rows.append((what, *(f"{1000 * value:.1f} ms" for value in beside)))
        worst = max(worst, beside[1] - alone[1])
    table(("", "median", "p99", "longest"), rows)
    print(f"  p99 later by {1000 * worst:.1f} ms")
    print(goal(f"less than {1000 * GOAL:.0f} ms later at p99", worst < GOAL))


if __name__ == "__main__":
    main()
