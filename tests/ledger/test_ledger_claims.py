"""Claims: what is due, caps, pauses, blocks, probes, giving back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from conveyor.clock import SECOND
from conveyor.contract import ConflictPolicy
from conveyor.ledger.records import AttemptOutcome, Block, BlockReason, Placement, Status


def test_a_claim_takes_the_lease_and_writes_the_attempt(kit: Any) -> None:
    kit.worker()
    (ident,) = kit.submit("a")
    claimed = kit.one()
    assert (claimed.delivery_id, claimed.fence, claimed.attempt, claimed.cycle) == (ident, 1, 1, 1)
    assert claimed.placement == Placement(f"{claimed.job.id}/image.jpg", ConflictPolicy.RENAME)
    record = kit.ledger.deliveries.get(ident)
    assert (record.status, record.worker, record.fence) == (Status.DELIVERING, "worker", 1)
    assert (record.path, record.revision, record.next_attempt_at) == (claimed.placement.path, "rev1", None)
    (attempt,) = kit.ledger.deliveries.attempts(ident)
    assert attempt.outcome is AttemptOutcome.RUNNING
    assert (attempt.worker, attempt.fence, attempt.started_at) == ("worker", 1, kit.now)
    assert kit.claim() == []


def test_the_path_of_a_cycle_is_rendered_once(kit: Any) -> None:
    kit.worker()
    kit.submit("a")
    first = kit.one()
    kit.record(kit.report(first, Status.PENDING, next_attempt_at=kit.now))

    def place(*_: object) -> Placement:
        raise AssertionError("rendered again")

    assert kit.one(place=place).placement == first.placement


def test_what_cannot_be_placed_is_claimed_without_a_path(kit: Any) -> None:
    kit.worker()
    kit.submit("a")
    assert kit.one(place=lambda *_: None).placement is None


def test_the_earliest_due_come_first_and_later_ones_wait(kit: Any) -> None:
    kit.worker()
    due = []
    for after in (30, 10, 20):
        item = kit.submission("a")
        delivery = replace(item.deliveries[0], next_attempt_at=kit.now + after * SECOND)
        kit.ledger.submissions.submit([replace(item, deliveries=(delivery,))])
        due.append(delivery.id)
    (known,) = kit.ledger.claims.due(kit.now)
    assert (known.destination, known.next_attempt_at) == ("a", kit.now + 10 * SECOND)
    assert kit.claim() == []
    kit.clock.advance(20)
    assert [claimed.delivery_id for claimed in kit.claim()] == [due[1], due[2]]


def test_the_cap_counts_what_all_workers_lease(kit: Any) -> None:
    kit.worker("one")
    kit.worker("two")
    for _ in range(5):
        kit.submit("a")
    assert len(kit.claim(worker="one", cap=3, limit=2)) == 2
    assert len(kit.claim(worker="two", cap=3)) == 1
    assert kit.claim(worker="two", cap=3) == []


def test_one_round_serves_many_destinations(kit: Any) -> None:
    kit.worker()
    for _ in range(3):
        kit.submit("a", "b", "c")
    wanted = [kit.want("a", limit=1), kit.want("b", limit=2), kit.want("nobody")]
    taken = kit.ledger.claims.claim("worker", wanted, kit.now)
    assert sorted(claimed.destination for claimed in taken) == ["a", "b", "b"]


def test_an_unregistered_or_reaped_worker_gets_nothing(kit: Any) -> None:
    (ident,) = kit.submit("a")
    assert kit.claim() == []
    assert kit.status(ident) is Status.PENDING


def test_a_paused_destination_is_not_served_until_resumed(kit: Any) -> None:
    kit.worker()
    kit.submit("a")
    kit.ledger.health.pause(["a", "b"], "holiday", kit.now)
    assert kit.claim() == []
    known = kit.ledger.health.get(["a"])["a"]
    assert (known.paused_at, known.pause_note) == (kit.now, "holiday")
    (due,) = kit.ledger.claims.due(kit.now)
    assert due.health.paused_at is not None
    kit.ledger.health.resume(["a"], kit.now)
    assert len(kit.claim()) == 1


def _blocked(kit: Any, until: int | None) -> None:
    kit.worker()
    for _ in range(3):
        kit.submit("a")
    block = Block(BlockReason.QUOTA, until, 1, "full")
    kit.record(kit.report(kit.one(limit=1), Status.PENDING, next_attempt_at=kit.now, block=block))


def test_a_blocked_destination_lets_one_probe_through_when_its_time_has_come(kit: Any) -> None:
    _blocked(kit, kit.now + 10 * SECOND)
    assert kit.claim(probe=True) == []
    kit.clock.advance(10)
    assert kit.claim() == [], "only a claim that knows it is a probe may pass"
    probe = kit.one(probe=True)
    assert probe.probe
    assert kit.claim(probe=True) == [], "one at a time"
    kit.record(kit.report(probe, clears_block=True))
    assert len(kit.claim()) == 2


def test_a_block_without_end_needs_a_person(kit: Any) -> None:
    _blocked(kit, None)
    kit.clock.advance(10**6)
    assert kit.claim(probe=True) == []
    kit.ledger.health.release("a", kit.now)
    assert len(kit.claim()) == 3


def test_release_ends_a_block_but_not_a_pause(kit: Any) -> None:
    _blocked(kit, None)
    kit.ledger.health.pause(["a"], None, kit.now)
    kit.ledger.health.release("a", kit.now)
    known = kit.ledger.health.get()["a"]
    assert known.block is None
    assert known.paused_at is not None


def test_given_back_work_is_due_at_once_and_uncharged(kit: Any) -> None:
    kit.worker()
    (ident,) = kit.submit("a")
    claimed = kit.one()
    kit.clock.advance(5)
    kit.ledger.claims.give_back([(ident, claimed.fence + 1)], kit.now)
    assert kit.status(ident) is Status.DELIVERING, "another fence is left alone"
    kit.ledger.claims.give_back([(ident, claimed.fence)], kit.now, look_first=True)
    record = kit.ledger.deliveries.get(ident)
    assert (record.status, record.next_attempt_at, record.failures) == (Status.PENDING, kit.now, 0)
    (attempt,) = kit.ledger.deliveries.attempts(ident)
    assert (attempt.outcome, attempt.charged) == (AttemptOutcome.GIVEN_BACK, False)
    again = kit.one()
    assert (again.attempt, again.fence, again.look_first) == (2, claimed.fence + 1, True)


def test_due_lists_every_destination_once_least_recently_served_first(kit: Any) -> None:
    kit.worker()
    assert kit.ledger.claims.due(kit.now) == []
    for _ in range(3):
        kit.submit("a", "b", "c")
    kit.clock.advance(1)
    kit.claim("b", limit=1)
    kit.clock.advance(1)
    kit.claim("a", limit=1)
    assert [due.destination for due in kit.ledger.claims.due(kit.now)] == ["c", "b", "a"]
    assert len(kit.ledger.claims.due(kit.now, limit=2)) == 2


def test_no_destination_starves_behind_a_clock_set_back(kit: Any) -> None:
    kit.worker()
    kit.submit("a")
    kit.submit("a")
    kit.claim("a", limit=1)
    kit.clock.set_wall(kit.now / SECOND - 3600)
    (due,) = kit.ledger.claims.due(kit.now)
    assert due.health.last_served == 0


@pytest.mark.parametrize("known", [("a", "s3", "s3"), ("b", "s3", "s3")])
def test_a_destination_keeps_its_type(kit: Any, known: tuple[str, str, str]) -> None:
    name, kind, expected = known
    assert kit.ledger.health.known_type(name, kind) == expected
    assert kit.ledger.health.known_type(name, kind) == expected


def test_a_changed_type_is_a_conflict_only_while_its_work_waits(kit: Any) -> None:
    kit.worker()
    assert kit.ledger.health.known_types({"a": "memory", "b": "s3"}) == {}
    kit.submit("a")
    assert kit.ledger.health.known_types({"a": "s3", "b": "sftp"}) == {"a": "memory"}
    kit.record(kit.report(kit.one()))
    assert kit.ledger.health.known_type("a", "s3") == "s3"
    assert kit.ledger.health.known_type("b", "sftp") == "sftp"
