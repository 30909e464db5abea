"""Who a worker process is, and whether another one on this machine is still alive."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from conveyor.clock import Clock
from conveyor.ids import new as new_id
from conveyor.ledger.records import WorkerRecord

_WORKER = "wrk"
_VISITOR = "vst"
"""Prefix of a worker's id that serves some destinations only, for a while: `send --wait`, a sample."""


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


@cache
def _machine() -> tuple[str, str, str]:
    """Host, boot id and pid namespace of this process."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return socket.gethostname(), _read("/proc/sys/kernel/random/boot_id"), namespace


def process_start(pid: int) -> str | None:
    """When a process began, in the kernel's ticks (proc(5), field 22); None when it is gone or a zombie."""
    text = _read(f"/proc/{pid}/stat")
    if not text:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else fields[19]


def this_worker(clock: Clock, threads: int, *, visiting: bool = False) -> WorkerRecord:
    """A fresh identity for this process; ``visiting`` when it serves some destinations only."""
    host, boot, namespace = _machine()
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
    host, boot, namespace = _machine()
    if not boot or (worker.host, worker.boot_id, worker.pid_namespace) != (host, boot, namespace):
        return False
    if not _exists(worker.pid):
        return True
    if not _read(f"/proc/{worker.pid}/stat"):
        # There is a process, but of another user whose processes are hidden here (hidepid, ProtectProc).
        return not _exists(worker.pid)
    return process_start(worker.pid) != worker.pid_start


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


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
