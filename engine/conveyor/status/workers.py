"""Which worker processes are alive, seen from any other process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conveyor.clock import Clock
from conveyor.delivery.identity import is_dead
from conveyor.status.times import iso

if TYPE_CHECKING:
    from conveyor.ledger.facade import Ledger
    from conveyor.ledger.records import WorkerRecord


def present(ledger: Ledger, clock: Clock) -> list[WorkerRecord]:
    """Registered workers whose lease stands and whose process is not known to be gone; leaving ones too."""
    now = clock.now()
    return [worker for worker in ledger.workers.all() if worker.lease_until > now and not is_dead(worker)]


def worker_view(worker: WorkerRecord) -> dict[str, Any]:
    """One worker, for JSON."""
    return {
        "id": worker.id,
        "host": worker.host,
        "pid": worker.pid,
        "threads": worker.threads,
        "started_at": iso(worker.started_at),
        "lease_until": iso(worker.lease_until),
        "draining": worker.draining,
    }
