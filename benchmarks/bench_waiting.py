"""What it costs when many deliveries wait for a retry in an hour: scans, claims, memory.

A process for each size submits that many deliveries due in an hour, then times the scan for due work and
claims of 16 due deliveries beside them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

from benchmarks._kit import (
    HOUR,
    fill,
    goal,
    installation,
    peak,
    rss,
    table,
    title,
    workplace,
    write_config,
)

from conveyor.delivery.parts import Parts

NAMES = tuple(f"d{number}" for number in range(10))
CLAIM = 16


def measure(waiting: int, claims: int) -> dict[str, float]:
    """In a process of its own: the costs with so many deliveries waiting."""
    with workplace() as folder:
        path = write_config(
            folder, {name: {"type": "noop", "limits": {"concurrency": 1000}} for name in NAMES}
        )
        with installation(path) as opened:
            fill(opened, NAMES, waiting // len(NAMES), due_in=HOUR)
            parts = Parts(opened.workshop(), opened.worker_settings(), opened.clock)
            parts.heartbeat.register()
            before = rss()
            scans, takes = [], []
            for _ in range(claims):
                fill(opened, NAMES, 2)
                began = time.process_time()
                opened.ledger.claims.due(opened.clock.now())
                scans.append(time.process_time() - began)
                parts.dispatcher.due_within(0)
                began = time.process_time()
                taken = parts.dispatcher.claim(CLAIM)
                takes.append(time.process_time() - began)
                if len(taken) != CLAIM:
                    raise SystemExit(f"{len(taken)} claimed instead of {CLAIM}")
            size = (folder / "conveyor.db").stat().st_size / 1e6
            return {
                "scan": 1e6 * statistics.median(scans),
                "claim": 1e6 * statistics.median(takes) / CLAIM,
                "grown": rss() - before,
                "peak": peak(),
                "file": size,
            }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--waiting", type=int, default=100_000, help="the issue's size: 1000000")
    options.add_argument("--claims", type=int, default=100)
    options.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.measure is not None:
        print(json.dumps(measure(given.measure, given.claims)))
        return
    title(
        f"{given.claims} claims of {CLAIM} beside deliveries that wait for an hour, {len(NAMES)} destinations"
    )
    found = {}
    for waiting in (1000, given.waiting):
        command = [sys.executable, "-m", "benchmarks.bench_waiting", "--measure", str(waiting)]
        done = subprocess.run(
            [*command, "--claims", str(given.claims)], check=True, capture_output=True, text=True
        )
        found[waiting] = json.loads(done.stdout.splitlines()[-1])
    table(
        ("waiting", "scan, CPU µs", "claim, CPU µs each", "memory grown, MB", "peak, MB", "ledger, MB"),
        (
            (
                f"{waiting:,}",
                *(f"{f[key]:.0f}" for key in ("scan", "claim")),
                *(f"{f[key]:.1f}" for key in ("grown", "peak", "file")),
            )
            for waiting, f in found.items()
        ),
    )
    few, many = found.values()
    ratio = many["claim"] / few["claim"]
    print(f"  ratio of claims: {ratio:.2f}, of scans: {many['scan'] / few['scan']:.2f}")
    print(goal("claim cost unchanged (within a quarter)", ratio < 1.25))


if __name__ == "__main__":
    main()
