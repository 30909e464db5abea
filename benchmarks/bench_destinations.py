"""Many destinations in one config: load, reload, descriptors and memory; some of them hung.

Then one file is sent to every destination, first with all of them well, then with some that never answer.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from benchmarks._kit import (
    descriptors,
    goal,
    installation,
    measured,
    registry,
    rss,
    running,
    table,
    title,
    until,
    workplace,
    write_config,
)
from benchmarks._noop import ARRIVALS

from conveyor import Conveyor
from conveyor.config import load

LOAD, RELOAD = 3.0, 1.0


def real(count: int) -> dict[str, dict[str, Any]]:
    """Destinations as customers have them, a third of each type."""
    found: dict[str, dict[str, Any]] = {}
    for number in range(count):
        s3 = {
            "endpoint": "https://s3.example.com",
            "bucket": f"b{number}",
            "access_key": "k",
            "secret_key": "s",
        }
        sftp = {
            "host": f"h{number}.example.com",
            "username": "u",
            "password": "secret",
            "host_key": "accept-new",
        }
        hook = {"url": f"https://h{number}.example.com/photos", "secret": f"whsec-{number}-secret"}
        kind, options = (("s3", s3), ("sftp", sftp), ("webhook", hook))[number % 3]
        labels = {"customer": f"c{number}"}
        template = "{labels.customer}/{date:%Y/%m/%d}/{filename}"
        found[f"d{number}"] = {"type": kind, "labels": labels, "path_template": template, **options}
    return found


def loads(count: int) -> list[tuple[str, str]]:
    """Load a config of so many destinations, and reload it with one changed."""
    with workplace() as folder:
        path = write_config(folder, real(count))
        types = registry()
        load(write_config_small(folder), registry=types)  # imports are not the config's cost
        before = rss()
        with measured() as first:
            load(path, registry=types, strict=True)
        grown = rss() - before
        with installation(path) as opened:
            document = json.loads(path.read_text())
            document["destinations"]["d0"]["labels"]["customer"] = "changed"
            path.write_text(json.dumps(document, indent=1))
            with measured() as again:
                change = opened.reload(asked=True)
            if change is None or not change.accepted:
                raise SystemExit("the changed config was not taken over")
    print(goal(f"load under {LOAD:g} s", first.wall < LOAD))
    print(goal(f"reload under {RELOAD:g} s", again.wall < RELOAD))
    return [
        (f"load {count:,}", f"{first.wall:.2f} s ({first.cpu:.2f} s CPU), +{grown:.0f} MB"),
        ("reload, one changed", f"{again.wall:.2f} s ({again.cpu:.2f} s CPU)"),
    ]


def write_config_small(folder: Path) -> Path:
    """A config with one destination of each type."""
    small = folder / "small"
    small.mkdir()
    return write_config(small, real(3))


def deliver(count: int, hung: int, threads: int, patience: float) -> tuple[str, str]:
    """Send one file to all of ``count``, of which ``hung`` never answer."""
    wanted = {f"d{n}": {"type": "hung" if n < hung else "noop"} for n in range(count)}
    ARRIVALS.clear()
    with workplace() as folder:
        path = write_config(folder, wanted, workers={"threads": threads, "grace": 1})
        with installation(path) as opened:
            Conveyor(opened).submit(b"x", to=list(wanted), filename="photo.jpg")
            files, memory = descriptors(), rss()
            with running(opened):
                began = time.monotonic()
                try:
                    until(lambda: len(ARRIVALS) >= count - hung, patience, "all others arrived")
                    took = f"{time.monotonic() - began:.1f} s"
                except SystemExit:
                    took = f"NOT within {patience:g} s: {len(ARRIVALS):,} arrived"
                cost = f"+{descriptors() - files} descriptors, +{rss() - memory:.0f} MB"
    label = f"one file to each, {hung} hung" if hung else "one file to each, none hung"
    return label, f"{took} for the other {count - hung:,}; {cost}"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--destinations", type=int, default=2000)
    options.add_argument("--hung", type=int, default=50)
    options.add_argument("--threads", type=int, default=16, help="the config's default")
    options.add_argument("--patience", type=float, default=15.0, help="seconds to wait for the others")
    given = options.parse_args()
    title(f"{given.destinations} destinations, {given.threads} threads")
    rows = loads(given.destinations)
    for hung in (0, given.threads // 2, given.hung):
        rows.append(deliver(given.destinations, hung, given.threads, given.patience))
    table(("", ""), rows)
    print(goal(f"{given.hung} hung destinations do not delay the rest", "NOT" not in rows[-1][1]))


if __name__ == "__main__":
    main()
