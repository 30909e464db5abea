"""What the benchmarks share: installations, measuring, tables, and the servers of the tests."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks._noop import SPECS

from conveyor import log
from conveyor.config import load
from conveyor.delivery.engine import Engine
from conveyor.delivery.runner import spare_collector
from conveyor.ids import new
from conveyor.installation import Installation
from conveyor.ledger.records import JobRecord, NewDelivery, Submission
from conveyor.registry import Registry, default_registry

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))  # tests/servers

HOUR = 3600 * 1_000_000


@dataclass
class Spent:
    """Seconds; ``cpu`` of this process alone."""

    wall: float = 0.0
    cpu: float = 0.0


@contextmanager
def measured() -> Iterator[Spent]:
    """Time the block."""
    spent = Spent()
    cpu, wall = time.process_time(), time.monotonic()
    yield spent
    spent.wall, spent.cpu = time.monotonic() - wall, time.process_time() - cpu


def rss() -> float:
    """Resident memory of this process in MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def peak(pid: int | None = None) -> float:
    """Peak resident memory of a process's life in MB; this one's unless another is named.

    VmHWM: ``ru_maxrss`` would begin with what the parent had at the fork.
    """
    status = Path(f"/proc/{pid or 'self'}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def cpu_of(pid: int) -> float:
    """CPU seconds that a process has spent so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descriptors() -> int:
    """Open file descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


def machine() -> str:
    """The machine, with how busy it is."""
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1024 / 1024
    load1, load5, _ = os.getloadavg()
    return (
        f"{len(os.sched_getaffinity(0))} cores, {memory:.0f} GB, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, load {load1:.1f} (1 min) {load5:.1f} (5 min)"
    )


def title(text: str) -> None:
    """A heading, with the machine."""
    print(f"{text}\n  on {machine()}", flush=True)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print aligned columns."""
    lines = [tuple(head), *(tuple(str(cell) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        first, *rest = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        print("  ", line[0].ljust(len(first)), *rest, sep="  ", flush=True)


def quantiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, 99th percentile, largest."""
    ordered = sorted(values)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)], ordered[-1]


def registry() -> Registry:
    """All installed destination types, and those of the benchmarks."""
    installed = default_registry()
    for spec in SPECS:
        installed.add(spec)
    return installed


@contextmanager
def workplace() -> Iterator[Path]:
    """A temporary folder, and quiet logs."""
    log.configure(level="error")
    with tempfile.TemporaryDirectory(prefix="conveyor-bench-") as folder:
        yield Path(folder)


def write_config(folder: Path, destinations: Mapping[str, Mapping[str, Any]], **settings: Any) -> Path:
    """A config file in ``folder``; ``settings`` are its other top-level fields."""
    document = {
        "ledger": f"sqlite:///{folder / 'conveyor.db'}",
        "payloads": str(folder / "payloads"),
        "key": {"file": str(folder / "conveyor.key")},
        "network": {"allow_private": ["127.0.0.0/8"]},
        "destinations": destinations,
        **settings,
    }
    path = folder / "conveyor.yaml"
    path.write_text(json.dumps(document, indent=1))
    return path


@contextmanager
def installation(path: Path) -> Iterator[Installation]:
    """Open a config; a mistake in it is a mistake of the benchmark."""
    opened = Installation(load(path, registry=registry(), strict=True))
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def running(opened: Installation) -> Iterator[Engine]:
    """An engine in this process."""
    engine = Engine(opened.workshop(), opened.worker_settings(), opened.clock)
    spare_collector()
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


def until(condition: Callable[[], object], seconds: float, what: str, every: float = 0.005) -> None:
    """Wait for a condition; a benchmark that hangs is a benchmark that failed."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"still not after {seconds:g} s: {what}")
        time.sleep(every)


def delivered(opened: Installation, waiting: int = 0) -> bool:
    """Whether all is delivered but ``waiting`` that are not due.

    As long as anything is due it reads a row of each destination: to count takes CPU from what is measured.
    """
    now = opened.clock.now()
    if any(due.next_attempt_at <= now for due in opened.ledger.claims.due(now)):
        return False
    return opened.ledger.deliveries.open_count() <= waiting


def submissions(
    opened: Installation, names: Sequence[str], jobs: int, *, due_in: int = 0, batch: int = 1000
) -> Iterator[list[Submission]]:
    """Batches of jobs of one byte, each to all of ``names``, for ``ledger.submissions.submit``.

    All of them share one payload file, since it is not the payload store that is measured.
    """
    import io

    clock = opened.clock
    payload = opened.payloads.put(io.BytesIO(b"x"))
    now = clock.now()
    for start in range(0, jobs, batch):
        items = []
        for _ in range(min(batch, jobs - start)):
            own = replace(payload, id=new("pay", clock))
            job = JobRecord(
                new("job", clock), now, "photo.jpg", "image/jpeg", own, session_id="s1", tags=("order:7",)
            )
            deliveries = tuple(
                NewDelivery(new("dlv", clock), name, "noop", now + 1000 * HOUR, now + due_in)
                for name in names
            )
            items.append(Submission(job, deliveries))
        yield items


def fill(opened: Installation, names: Sequence[str], jobs: int, *, due_in: int = 0) -> None:
    """Submit ``jobs`` jobs to all of ``names``, due in so many microseconds."""
    for items in submissions(opened, names, jobs, due_in=due_in):
        opened.ledger.submissions.submit(items)


def goal(name: str, met: bool) -> str:
    """A line that says whether a goal was met."""
    return f"  goal: {name}: {'met' if met else 'MISSED'}"
