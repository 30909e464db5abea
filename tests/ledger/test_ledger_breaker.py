"""Breakers as the ledger writes them: with the outcomes, under their fences, in one transaction."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.breaker import NOTHING, UNBROKEN, BreakerPolicy, Recent, Streak
from conveyor.clock import SECOND
from conveyor.contract import ErrorKind
from conveyor.ledger.outcomes import applied, succeeded
from conveyor.ledger.records import AttemptOutcome, AttemptReport, BlockReason, Claimed, Health, Status

POLICY = BreakerPolicy(share=0.5, window=60.0, volume=4, deactivate_after=3600.0, deactivate_volume=6)


class Bench:
    """Claims and reports at one destination."""

    def __init__(self, kit: Any) -> None:
        self.kit = kit
        kit.worker()

    @property
    def health(self) -> Health:
        found: Health = self.kit.ledger.health.get(["a"])["a"]
        return found

    def claims(self, count: int, **changes: Any) -> list[Claimed]:
        for _ in range(count):
            self.kit.submit("a")
        found: list[Claimed] = self.kit.claim("a", limit=count, cap=100, **changes)
        return found

    def failure(self, claimed: Claimed, **changes: Any) -> Any:
        fields = {
            "kind": ErrorKind.TRANSIENT,
            "message": "HTTP 503",
            "follows": "retry",
            "charged": True,
            "failures": claimed.failures + 1,
            "next_attempt_at": self.kit.now + 5 * SECOND,
            "breaker": POLICY,
            **changes,
        }
        return self.kit.report(claimed, fields.pop("status", Status.PENDING), **fields)

    def success(self, claimed: Claimed) -> Any:
        return self.kit.report(claimed, breaker=POLICY, clears_block=True)


@pytest.fixture
def bench(kit: Any) -> Bench:
    return Bench(kit)


def test_what_opens_it_and_what_comes_after_is_not_charged(kit: Any, bench: Bench) -> None:
    claims = bench.claims(6)
    reports = [bench.failure(claim) for claim in claims[:5]]
    # The last one would have been its delivery's end.
    reports.append(bench.failure(claims[5], status=Status.FAILED, next_attempt_at=None, cleanup=True))
    written = {report.delivery_id: report for report in kit.ledger.outcomes.write(reports, kit.now)}
    assert sum(report.charged for report in written.values()) == 3
    records = [kit.ledger.deliveries.get(claim.delivery_id) for claim in claims]
    assert [record.status for record in records] == [Status.PENDING] * 6
    assert sorted(record.failures for record in records) == [0, 0, 0, 1, 1, 1]
    attempts = [kit.ledger.deliveries.attempts(claim.delivery_id)[0] for claim in claims]
    assert [attempt.outcome for attempt in attempts] == [AttemptOutcome.FAILED] * 6
    assert sorted((attempt.charged, attempt.follows) for attempt in attempts) == (
        [(False, "hold")] * 3 + [(True, "retry")] * 3
    )
    block = bench.health.block
    assert block is not None
    assert (block.reason, block.until) == (BlockReason.BREAKER, kit.now + 10 * SECOND)
    assert block.message == "4 of the last 4 attempts failed; the last one: HTTP 503"
    assert kit.claim("a") == []


def test_a_success_of_before_does_not_close_it_but_a_probe_does(kit: Any, bench: Bench) -> None:
    claims = bench.claims(5)
    kit.record(*(bench.failure(claim) for claim in claims[:4]))
    kit.clock.advance(1)
    kit.record(bench.success(claims[4]))
    assert bench.health.block is not None
    assert bench.health.streak == UNBROKEN
    kit.clock.advance(10)
    (probe,) = kit.claim("a", probe=True)
    assert probe.probe
    kit.record(bench.success(probe))
    assert bench.health.block is None
    assert bench.health.recent.failed == 0


def test_two_processes_count_together(kit: Any, bench: Bench) -> None:
    kit.worker("other")
    for number in range(4):
        kit.submit("a")
        (claim,) = kit.claim("a", ("worker", "other")[number % 2], limit=1)
        kit.record(bench.failure(claim))
    assert bench.health.block is not None


def test_a_fenced_report_counts_nothing(kit: Any, bench: Bench) -> None:
    claims = bench.claims(4)
    kit.ledger.workers.reap(kit.now, dead=lambda _: True, delay=lambda _: 0)
    assert len(kit.record(*(bench.failure(claim) for claim in claims))) == 4
    assert bench.health.recent == NOTHING
    assert bench.health.streak == UNBROKEN


@pytest.mark.parametrize("kind", [ErrorKind.NAME, ErrorKind.TOO_LARGE, ErrorKind.SOURCE])
def test_the_files_own_mistakes_say_nothing_of_the_destination(
    kit: Any, bench: Bench, kind: ErrorKind
) -> None:
    claims = bench.claims(8)
    reports = [bench.failure(claim, kind=kind, status=Status.FAILED, charged=False) for claim in claims]
    kit.record(*reports)
    assert bench.health.recent == NOTHING
    assert {kit.status(claim.delivery_id) for claim in claims} == {Status.FAILED}


def test_a_refusal_of_single_files_is_an_answer(kit: Any, bench: Bench) -> None:
    claims = bench.claims(8)
    refused = {"kind": ErrorKind.REJECTED, "status": Status.FAILED, "charged": False, "clears_block": True}
    kit.record(*(bench.failure(claim, code="422", **refused) for claim in claims[:4]))
    assert (bench.health.block, bench.health.recent.served) == (None, 4)
    kit.record(*(bench.failure(claim, code="404", **refused) for claim in claims[4:]))
    assert bench.health.block is not None  # half of them


def test_deactivation_takes_time_and_volume_and_a_resume_forgets(kit: Any, bench: Bench) -> None:
    kit.record(*(bench.failure(claim) for claim in bench.claims(4)))
    since = bench.health.streak.since
    kit.clock.advance(3600)
    (probe,) = kit.claim("a", probe=True)
    kit.record(bench.failure(probe, charged=False, failures=0))
    assert bench.health.streak.attempts == 5
    assert bench.health.block.reason is BlockReason.BREAKER  # type: ignore[union-attr]
    (probe,) = kit.claim("a", probe=True)
    kit.record(bench.failure(probe, charged=False, failures=0))
    block = bench.health.block
    assert block is not None
    assert (block.reason, block.until) == (BlockReason.DEACTIVATED, None)
    assert bench.health.streak.since == since
    assert kit.claim("a", probe=True) == []
    kit.ledger.health.resume(["a"], kit.now)
    assert (bench.health.recent, bench.health.streak, bench.health.block) == (NOTHING, UNBROKEN, None)


def test_the_window_has_two_halves() -> None:
    recent = NOTHING
    for second in range(100):
        recent = recent.counted(second % 2 == 0, second * SECOND, 20.0)
        attempts = recent.failed + recent.served + recent.earlier_failed + recent.earlier_served
        assert attempts <= 20
        assert second < 20 or attempts >= 10
    assert recent.counted(True, 10_000 * SECOND, 20.0) == Recent(10_000 * SECOND, failed=1)
    # The clock set back: counted where it is.
    assert recent.counted(True, 0, 20.0).begun == recent.begun


@given(
    recent=st.builds(Recent, *[st.integers(0, 40)] * 5),
    ends=st.lists(st.integers(0, 60 * SECOND), min_size=1, max_size=12).map(sorted),
    policy=st.none() | st.builds(BreakerPolicy, window=st.sampled_from([1.0, 20.0])),
)
def test_successes_counted_together_count_as_one_after_the_other(
    recent: Recent, ends: list[int], policy: BreakerPolicy | None
) -> None:
    known = Health("a", recent=recent, streak=Streak(5, 3), last_delivered_at=7 * SECOND)
    reports = [
        AttemptReport(
            delivery_id=f"dlv_{number}", destination="a", fence=1, attempt=1, started_at=0, finished_at=at,
            outcome=AttemptOutcome.DELIVERED, status=Status.DELIVERED, clears_block=True, breaker=policy,
        )
        for number, at in enumerate(ends)
    ]  # fmt: skip
    after = known
    for report in reports:
        after = applied(after, report, probe=False, revision="rev1", now=60 * SECOND)
    assert succeeded(known, reports) == after


def test_after_much_success_the_present_half_decides() -> None:
    policy = BreakerPolicy()
    recent = Recent(0, failed=20, served=0, earlier_served=100_000)
    assert recent.opens(policy) == (20, 20)
    assert Recent(0, failed=19, earlier_served=100_000).opens(policy) is None
    assert Recent(0, failed=2, earlier_failed=18).opens(policy) == (20, 20)
    assert Recent(0, failed=20, served=9).opens(policy) is None
    assert recent.opens(BreakerPolicy(share=None)) is None
