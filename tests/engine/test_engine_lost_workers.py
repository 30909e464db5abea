"""Workers that die, freeze or lose their lease: nothing is lost, nothing is published twice."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from conveyor.clock import SECOND
from conveyor.contract import (
    AttemptContext,
    DeliveryError,
    ErrorKind,
    Found,
    FoundKind,
    Parcel,
    Receipt,
    Target,
)
from conveyor.delivery import identity
from conveyor.delivery.keeper import Contact
from conveyor.delivery.parts import Parts
from conveyor.errors import LedgerUnavailable
from conveyor.ledger.records import AttemptOutcome, Claimed, Status, WorkerRecord
from conveyor.testing.clock import FakeClock
from conveyor.testing.scripted import Script
from conveyor.testing.simulation import Simulation

LEASE = 60.0


def lose(sim: Simulation) -> None:
    """Claim what is due in a process that is then gone, and have it reaped."""
    doomed = sim.process()
    assert doomed.dispatcher.claim(1)
    sim.ledger.workers.retire(doomed.me.id)
    assert sim.parts.keeper.reap() == 1


def test_lost_workers_wait_5_30_120_120_seconds_and_the_fifth_in_a_row_is_final(
    sim: Simulation, here: Script
) -> None:
    ident = sim.submit()["here"]
    for wait in (5, 30, 120, 120):
        lost_at = sim.clock.now()
        lose(sim)
        delivery = sim.delivery(ident)
        assert delivery.status is Status.PENDING
        assert delivery.next_attempt_at == lost_at + wait * SECOND
        sim.clock.advance(wait)
    lose(sim)
    delivery = sim.delivery(ident)
    assert (delivery.status, delivery.last_error_kind) == (Status.FAILED, ErrorKind.WORKER_LOST)
    assert delivery.failures == 0
    attempts = sim.attempts(ident)
    assert [a.outcome for a in attempts] == [AttemptOutcome.LOST] * 5
    assert not any(a.charged for a in attempts)
    assert here.deliveries() == 0


def test_a_normal_end_starts_the_count_of_lost_workers_anew(sim: Simulation, here: Script) -> None:
    ident = sim.submit()["here"]
    for wait in (5, 30, 120, 120):
        lose(sim)
        sim.clock.advance(wait)
    here.then(DeliveryError(ErrorKind.TRANSIENT, "no"))
    assert sim.step() == 1
    assert sim.delivery(ident).lost_in_a_row == 0
    sim.clock.advance(5)
    lose(sim)
    delivery = sim.delivery(ident)
    assert (delivery.status, delivery.lost_in_a_row, delivery.failures) == (Status.PENDING, 1, 1)


def test_a_claim_given_back_is_no_end_and_keeps_the_count(sim: Simulation, here: Script) -> None:
    ident = sim.submit()["here"]
    lose(sim)
    sim.clock.advance(5)
    sim.parts.give_back(sim.parts.dispatcher.claim(1))
    sim.parts.completions.flush()
    delivery = sim.delivery(ident)
    assert (delivery.status, delivery.lost_in_a_row, delivery.failures) == (Status.PENDING, 1, 0)


def test_after_a_lost_worker_the_next_attempt_looks_first(sim: Simulation, here: Script) -> None:
    ident = sim.submit()["here"]
    lose(sim)
    here.finds.append(Found(FoundKind.MINE, Receipt("there", size=5)))
    sim.clock.advance(5)
    assert sim.step() == 1
    assert [call[0] for call in here.calls] == ["find"]
    assert sim.delivery(ident).status is Status.DELIVERED


# --- the reaper ------------------------------------------------------------------------------------


def test_the_reaper_believes_leases_only_after_a_lease_of_unbroken_contact(sim: Simulation) -> None:
    ident = sim.submit()["here"]
    silent = sim.process(lease=LEASE)
    assert silent.dispatcher.claim(1)
    fresh = sim.process(lease=LEASE)
    sim.clock.advance(LEASE)  # the silent one's lease is over; the fresh one has seen nothing of that
    for _ in range(5):
        fresh.heartbeat.beat()
        fresh.keeper.step()
        assert sim.delivery(ident).status is Status.DELIVERING
        sim.clock.advance(LEASE / 5)
    fresh.heartbeat.beat()
    fresh.keeper.step()
    assert sim.delivery(ident).status is Status.PENDING


@pytest.mark.parametrize("trouble", ["frozen", "ledger away", "clock set forward"])
def test_contact_begins_anew_after_trouble(
    sim: Simulation, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ident = sim.submit()["here"]
    silent = sim.process(lease=LEASE)
    assert silent.dispatcher.claim(1)
    for _ in range(5):
        sim.parts.heartbeat.beat()
        sim.parts.keeper.step()
        sim.clock.advance(LEASE / 5.5)
    if trouble == "frozen":
        sim.clock.advance(LEASE)
    elif trouble == "ledger away":
        with monkeypatch.context() as broken:
            broken.setattr(sim.ledger.workers, "reap", _away)
            sim.parts.keeper.step()
        sim.clock.advance(LEASE / 5.5)
    else:
        sim.clock.set_wall(sim.clock.time() + 3600)
    sim.parts.heartbeat.beat()
    sim.parts.keeper.step()
    assert sim.delivery(ident).status is Status.DELIVERING
    for _ in range(7):
        sim.clock.advance(LEASE / 6)
        sim.parts.heartbeat.beat()
        sim.parts.keeper.step()
    assert sim.delivery(ident).status is Status.PENDING


def _away(*_: object, **__: object) -> None:
    raise LedgerUnavailable("gone fishing")


def test_contact_survives_ordinary_pauses() -> None:
    clock = FakeClock()
    contact = Contact(clock, patience=30)
    contact.made()
    for _ in range(10):
        clock.advance(29)
        contact.look()
    assert contact.unbroken(290)
    clock.set_wall(clock.time() - 29)
    contact.look()
    assert contact.unbroken(290)
    clock.set_wall(clock.time() - 31)
    contact.look()
    assert not contact.unbroken(0)


def test_a_failing_step_of_housekeeping_does_not_keep_the_others_from_their_turn(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sim.ledger.deliveries, "expire", _away)
    ident = sim.submit()["here"]
    doomed = sim.process()
    assert doomed.dispatcher.claim(1)
    sim.ledger.workers.retire(doomed.me.id)
    sim.parts.keeper.step()
    assert sim.delivery(ident).status is Status.PENDING


# --- dead processes on this machine ----------------------------------------------------------------


def worker_of(process: subprocess.Popen[bytes], template: WorkerRecord) -> WorkerRecord:
    start = identity.process_start(process.pid)
    assert start is not None
    return replace(template, id="wrk_other", pid=process.pid, pid_start=start)


@pytest.fixture
def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)


def test_a_killed_process_frees_its_claims_at_once(sim: Simulation, sleeper: subprocess.Popen[bytes]) -> None:
    ident = sim.submit()["here"]
    with sleeper:
        other = worker_of(sleeper, sim.parts.me)
        far = sim.clock.now() + 3600 * SECOND
        sim.ledger.workers.register(replace(other, lease_until=far))
        parts = sim.process()
        parts.dispatcher._worker_id = other.id
        assert parts.dispatcher.claim(1)
        assert sim.parts.keeper.reap() == 0
        sleeper.kill()
        sleeper.wait()
        assert sim.parts.keeper.reap() == 1
    assert sim.delivery(ident).next_attempt_at == sim.clock.now() + 5 * SECOND


def test_a_zombie_and_a_reused_pid_are_dead(sim: Simulation, sleeper: subprocess.Popen[bytes]) -> None:
    with sleeper:
        other = worker_of(sleeper, sim.parts.me)
        assert not identity.is_dead(other)
        assert identity.is_dead(replace(other, pid_start="1"))
        sleeper.kill()
        os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet waited for
        assert identity.is_dead(other)


def test_what_cannot_be_seen_is_not_called_dead(
    sim: Simulation, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with sleeper:
        other = worker_of(sleeper, sim.parts.me)
        for unknown in (
            replace(other, host="elsewhere"),
            replace(other, boot_id="of another boot"),
            replace(other, pid_namespace="pid:[1]"),
        ):
            assert not identity.is_dead(replace(unknown, pid_start="1"))
        # Mounted with hidepid, /proc does not show other users' processes; they exist all the same.
        monkeypatch.setattr("conveyor.processes._read", lambda path: "")
        assert not identity.is_dead(other)
        sleeper.kill()
        sleeper.wait()
        assert identity.is_dead(other)


# --- frozen, then awake ----------------------------------------------------------------------------


def test_a_frozen_worker_that_wakes_up_publishes_nothing_and_its_result_is_discarded(
    sim: Simulation, here: Script
) -> None:
    ident = sim.submit()["here"]
    frozen, other = sim.process(lease=LEASE), sim.process(lease=LEASE)
    published: list[str] = []

    def freezes(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        context.progress(parcel.size)
        _let_others_take_over(sim, other)
        context.before_commit()
        published.append(target.path)
        return Receipt(target.path)

    here.then(freezes)
    sim.serve(frozen)
    assert published == []
    delivery = sim.delivery(ident)
    assert (delivery.status, delivery.attempt) == (Status.DELIVERED, 2)
    outcomes = [(a.outcome, a.worker) for a in sim.attempts(ident)]
    assert outcomes == [(AttemptOutcome.LOST, frozen.me.id), (AttemptOutcome.DELIVERED, other.me.id)]


def _let_others_take_over(sim: Simulation, other: Parts) -> None:
    for _ in range(9):
        sim.clock.advance(LEASE / 6)
        sim.step(other)


def test_a_result_that_comes_too_late_changes_nothing(sim: Simulation, here: Script) -> None:
    ident = sim.submit()["here"]
    frozen, other = sim.process(lease=LEASE), sim.process(lease=LEASE)

    def publishes_in_spite(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        _let_others_take_over(sim, other)
        return Receipt("of the frozen one")

    here.then(publishes_in_spite)
    sim.serve(frozen)
    receipt = sim.delivery(ident).receipt
    assert receipt is not None
    assert receipt["reference"] != "of the frozen one"
    assert sim.attempts(ident)[0].outcome is AttemptOutcome.LOST


def test_a_reaped_worker_stops_its_attempts_and_registers_anew(sim: Simulation, here: Script) -> None:
    sim.submit()
    frozen, other = sim.process(lease=LEASE), sim.process(lease=LEASE)
    seen: list[bool] = []

    def beats_again(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        _let_others_take_over(sim, other)
        frozen.heartbeat.beat()
        seen.append(frozen.heartbeat.confirmed())
        context.check()
        raise AssertionError("the attempt was not stopped")

    here.then(beats_again)
    sim.serve(frozen)
    assert seen == [True]
    ident = sim.submit()["here"]
    frozen.dispatcher.ring()
    assert sim.serve(frozen) == 1
    assert sim.attempts(ident)[0].worker == frozen.me.id


def test_a_cancelled_delivery_is_stopped_by_the_next_beat_and_not_others(
    sim: Simulation, here: Script
) -> None:
    from conveyor.ledger.records import Filter

    ident = sim.submit()["here"]
    reached: list[str] = []

    def is_cancelled(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        sim.parts.heartbeat.beat()
        context.check()
        reached.append("still ours")
        sim.ledger.orders.cancel(Filter(ids=(ident,)), now=sim.clock.now())
        sim.parts.heartbeat.beat()
        context.check()
        raise AssertionError("the attempt was not stopped")

    here.then(is_cancelled)
    assert sim.step() == 1
    assert reached == ["still ours"]
    assert sim.delivery(ident).status is Status.CANCELLED


def test_a_beat_survives_a_ledger_that_fails_midway(
    sim: Simulation, here: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    ident = sim.submit()["here"]

    def goes_on(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        with monkeypatch.context() as broken:
            broken.setattr(sim.ledger.workers, "beat", lambda *_: frozenset())
            broken.setattr(sim.ledger.states, "owns", _away)
            sim.parts.heartbeat.beat()
        context.before_commit()
        return Receipt(target.path)

    here.then(goes_on)
    assert sim.step() == 1
    assert sim.delivery(ident).status is Status.DELIVERED
    assert sim.parts.heartbeat.confirmed()


# --- the clock set back ----------------------------------------------------------------------------


def test_the_clock_set_back_breaks_nothing(sim: Simulation, here: Script) -> None:
    here.then(DeliveryError(ErrorKind.TRANSIENT, "no"))
    first = sim.submit()["here"]
    sim.run(2)
    sim.clock.set_wall(sim.clock.time() - 3600)
    second = sim.submit()["here"]
    sim.run(60)
    assert sim.delivery(second).status is Status.DELIVERED
    assert sim.parts.may_claim()
    # What was scheduled by the old clock waits until the clock gets there, and is not lost.
    assert sim.delivery(first).status is Status.PENDING
    sim.run(3600, every=5)
    assert sim.delivery(first).status is Status.DELIVERED
    assert len(sim.ledger.workers.all()) == 1


def test_the_clock_set_back_does_not_keep_a_dead_worker_alive(sim: Simulation, here: Script) -> None:
    ident = sim.submit()["here"]
    silent = sim.process(lease=LEASE)
    claims: list[Claimed] = silent.dispatcher.claim(1)
    assert claims
    sim.clock.set_wall(sim.clock.time() - 3600)
    sim.run(3 * LEASE)
    assert sim.delivery(ident).status is Status.DELIVERED
    assert sim.attempts(ident)[0].outcome is AttemptOutcome.LOST
