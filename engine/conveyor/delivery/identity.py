"""Who a worker process is, and whether another one on this machine is still alive."""

from __future__ import annotations

import os
from collections.abc import Iterable

from conveyor.clock import Clock, SystemClock
from conveyor.ids import new as new_id
from conveyor.ledger.records import WorkerRecord
from conveyor.processes import is_gone, machine, process_start

__all__ = ["is_dead", "may_live", "process_start", "serving", "this_worker"]

_WORKER = "wrk"
_VISITOR = "vst"
"""Prefix of a worker's id that serves some destinations only, for a while: `send --wait`, a sample."""


def this_worker(clock: Clock, threads: int, *, visiting: bool = False) -> WorkerRecord:
    """A fresh identity for this process; ``visiting`` when it serves some destinations only."""
    host, boot, namespace = machine()
    pid = os.getpid()
    now = clock.now()
    return WorkerRecord(
        id=new_id(_VISITOR if visiting else _WORKER, clock),
        host=host,
        boot_id=boot,
        pid_namespace=namespace,
        pid=pid,
        pid_start=process_start(pid) or "",
        threads=threads,
        started_at=now,
        lease_until=now,
    )


def is_dead(worker: WorkerRecord) -> bool:
    """Whether a worker is certainly dead: it ran under this very kernel and its process is gone.

    A worker of another boot, host or pid namespace cannot be judged from here; its lease decides.
    """
    return is_gone((worker.host, worker.boot_id, worker.pid_namespace), worker.pid, worker.pid_start)


def may_live(worker: WorkerRecord) -> bool:
    """Whether a worker may be at work: its lease stands, and its process is not known to be gone."""
    return worker.lease_until > SystemClock().now() and not is_dead(worker)


def serving(workers: Iterable[WorkerRecord], now: int) -> list[WorkerRecord]:
    """Those that take whatever falls due: alive as far as one can tell, not leaving, not visiting.

    Args:
        workers: As the ledger knows them.
        now: Microseconds.
    """
    return [
        worker
        for worker in workers
        if worker.lease_until > now
        and not worker.draining
        and not worker.id.startswith(f"{_VISITOR}_")
        and not is_dead(worker)
    ]
