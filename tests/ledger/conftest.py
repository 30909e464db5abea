"""Every ledger test runs on SQLite and on PostgreSQL, on a fresh database each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from servers import postgres

from conveyor.clock import SECOND
from conveyor.contract import ConflictPolicy
from conveyor.keyring import Keyring
from conveyor.ledger import open_ledger
from conveyor.ledger.facade import Ledger
from conveyor.ledger.records import (
    AttemptOutcome,
    AttemptReport,
    Claimed,
    Filter,
    JobRecord,
    NewDelivery,
    PayloadRecord,
    Placement,
    Status,
    Submission,
    Wanted,
    WorkerRecord,
)
from conveyor.testing.clock import FakeClock

KEY = "bGVkZ2VyLXRlc3Qta2V5LWxlZGdlci10ZXN0LWtleSE="
WEEK = 7 * 24 * 3600 * SECOND

_numbers = itertools.count(1)


class Kit:
    """A ledger with what tests do to it again and again."""

    def __init__(self, ledger: Ledger, clock: FakeClock, url: str) -> None:
        self.ledger, self.clock, self.url = ledger, clock, url

    @property
    def now(self) -> int:
        return self.clock.now()

    def job(self, number: int | None = None, **changes: Any) -> JobRecord:
        n = next(_numbers) if number is None else number
        payload = PayloadRecord(
            f"pay_{n:06d}", f"aa/{n}", False, 10, {"sha256": f"{n:064x}", "md5": f"{n:032x}"}
        )
        return replace(JobRecord(f"job_{n:06d}", self.now, "image.jpg", "image/jpeg", payload), **changes)

    def submission(self, *destinations: str, job: JobRecord | None = None) -> Submission:
        job = job or self.job()
        return Submission(
            job,
            tuple(
                NewDelivery(f"dlv_{job.id[4:]}_{name}", name, "memory", self.now + WEEK, self.now)
                for name in destinations
            ),
        )

    def submit(self, *destinations: str, **changes: Any) -> list[str]:
        """Submit one job; the ids of its deliveries."""
        job = self.job(**changes)
        self.ledger.submissions.submit([self.submission(*destinations, job=job)])
        return [f"dlv_{job.id[4:]}_{name}" for name in destinations]

    def worker(self, name: str = "worker", lease: float = 60) -> WorkerRecord:
        record = WorkerRecord(
            name, "host", "boot", "4026", 1, "77", 16, self.now, self.now + round(lease * SECOND)
        )
        self.ledger.workers.register(record)
        return record

    def want(self, destination: str = "a", **changes: Any) -> Wanted:
        def place(job: JobRecord, delivery_id: str, cycle: int) -> Placement:
            return Placement(f"{job.id}/{job.filename}", ConflictPolicy.RENAME)

        return replace(Wanted(destination, 16, 16, "rev1", place), **changes)

    def claim(self, destination: str = "a", worker: str = "worker", **changes: Any) -> list[Claimed]:
        return self.ledger.claims.claim(worker, [self.want(destination, **changes)], self.now)

    def one(self, destination: str = "a", worker: str = "worker", **changes: Any) -> Claimed:
        (claimed,) = self.claim(destination, worker, **changes)
        return claimed

    def report(self, claimed: Claimed, status: Status = Status.DELIVERED, **changes: Any) -> AttemptReport:
        outcome = AttemptOutcome.DELIVERED if status is Status.DELIVERED else AttemptOutcome.FAILED
        report = AttemptReport(
            claimed.delivery_id,
            claimed.destination,
            claimed.fence,
            claimed.attempt,
            outcome,
            status,
            claimed.started_at,
            self.now,
            receipt={"reference": "there"} if status is Status.DELIVERED else None,
        )
        return replace(report, **changes)

    def record(self, *reports: AttemptReport) -> set[str]:
        """Write outcomes; the ids of the deliveries whose reports were discarded."""
        written = {report.delivery_id for report in self.ledger.outcomes.write(reports, self.now)}
        return {report.delivery_id for report in reports} - written

    def deliver(self, *destinations: str, **changes: Any) -> list[str]:
        """Submit and deliver."""
        ids = self.submit(*destinations, **changes)
        for name in destinations:
            self.record(*(self.report(claimed) for claimed in self.claim(name)))
        return ids

    def status(self, delivery_id: str) -> Status:
        record = self.ledger.deliveries.get(delivery_id)
        assert record is not None
        return record.status

    def replay(self, *ids: str, **options: Any) -> Any:
        return self.ledger.orders.replay(
            Filter(ids=ids), now=self.now, expires=lambda _: self.now + WEEK, **options
        )


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.server)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh ledger."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/ledger.db"
        return
    server: postgres.Postgres = request.getfixturevalue("postgres_server")
    with server.ledger() as address:
        yield address


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def kit(url: str, clock: FakeClock) -> Iterator[Kit]:
    with open_ledger(url, clock=clock, keyring=Keyring([KEY])) as ledger:
        yield Kit(ledger, clock, url)


@pytest.fixture
def kit_over(url: str, clock: FakeClock) -> Callable[[Ledger], Kit]:
    """A kit over a ledger that the test has opened itself."""
    return lambda ledger: Kit(ledger, clock, url)
