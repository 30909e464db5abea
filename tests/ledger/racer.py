"""One worker process of the race tests: claims, tells what it got, records, until nothing is left.

``python racer.py URL WORKER DESTINATION CAP [LINGER]``: prints ``id fence`` for each claim. With LINGER it
stops after that many claims and waits, holding them, to be killed.
"""

from __future__ import annotations

import sys

from conveyor.clock import SystemClock
from conveyor.contract import ConflictPolicy
from conveyor.ledger import open_ledger
from conveyor.ledger.records import (
    AttemptOutcome,
    AttemptReport,
    Claimed,
    Placement,
    Status,
    Wanted,
    WorkerRecord,
)

HOUR = 3_600_000_000


def report(claimed: Claimed, now: int) -> AttemptReport:
    return AttemptReport(
        claimed.delivery_id,
        claimed.destination,
        claimed.fence,
        claimed.attempt,
        AttemptOutcome.DELIVERED,
        Status.DELIVERED,
        claimed.started_at,
        now,
        receipt={"reference": "x"},
    )


def main(url: str, worker: str, destination: str, cap: int, linger: int | None) -> None:
    clock = SystemClock()
    wanted = Wanted(destination, 4, cap, "r", lambda job, *_: Placement(job.filename, ConflictPolicy.RENAME))
    with open_ledger(url, clock=clock) as ledger:
        now = clock.now()
        ledger.workers.register(WorkerRecord(worker, "h", "b", "p", 1, "1", 4, now, now + HOUR))
        count = 0
        while ledger.claims.due(clock.now()):
            got = ledger.claims.claim(worker, [wanted], clock.now())
            for claimed in got:
                print(claimed.delivery_id, claimed.fence, flush=True)
            count += len(got)
            if linger is not None and count >= linger:
                sys.stdin.readline()
            ledger.outcomes.write([report(claimed, clock.now()) for claimed in got], clock.now())


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5]) if len(sys.argv) > 5 else None)
