"""What any process does beside delivering: payload retention, expiry, forgetting, and leftovers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa

from conveyor.clock import SECOND
from conveyor.contract import AttemptContext, DeliveryError, ErrorKind, Parcel, Receipt, Target
from conveyor.delivery.cleaner import DELAYS, MOST_TRIES
from conveyor.delivery.environment import DestinationMemory
from conveyor.delivery.keeper import UNUSED, Keeper, Retention
from conveyor.errors import PayloadError
from conveyor.kit.folders import Folders
from conveyor.ledger.records import Filter, PayloadState, Status
from conveyor.ledger.schema import memory as table
from conveyor.testing.scripted import Script
from conveyor.testing.simulation import Simulation, destination

DAY = 86400.0


def keeper(sim: Simulation, **retention: float | None) -> Keeper:
    return Keeper(
        sim.ledger,
        sim.payloads,
        lease=60.0,
        retention=Retention(**retention),
        clock=sim.clock,
        log=sim.parts.log,
        changed=lambda: None,
        close_idle=lambda: None,
    )


def states(sim: Simulation, *idents: str) -> list[PayloadState]:
    return [sim.delivery(ident).job.payload.state for ident in idents]


def bytes_of(sim: Simulation, ident: str) -> Path:
    return sim.payloads.root / sim.delivery(ident).job.payload.location


def delivered(sim: Simulation) -> str:
    ident = sim.submit()["here"]
    sim.step()
    assert sim.delivery(ident).status is Status.DELIVERED
    return ident


def failed(sim: Simulation, here: Script) -> str:
    here.then(DeliveryError(ErrorKind.REJECTED, "never"))
    ident = sim.submit()["here"]
    sim.step()
    assert sim.delivery(ident).status is Status.FAILED
    return ident


def test_payloads_go_after_their_retention_and_not_before(sim: Simulation, here: Script) -> None:
    good, bad = delivered(sim), failed(sim, here)
    waiting = sim.submit(to=("nowhere",))["nowhere"]
    house = keeper(sim)
    sim.clock.advance(7 * DAY - 1)
    assert house.remove_payloads() == 0
    sim.clock.advance(1.1)
    assert house.remove_payloads() == 1
    assert states(sim, good, bad) == [PayloadState.REMOVED, PayloadState.PRESENT]
    assert not bytes_of(sim, good).exists()
    sim.clock.advance(23 * DAY)
    assert house.remove_payloads() == 1
    assert states(sim, good, bad, waiting) == [
        PayloadState.REMOVED,
        PayloadState.REMOVED,
        PayloadState.PRESENT,
    ]
    assert bytes_of(sim, waiting).exists()


def test_none_keeps_for_ever(sim: Simulation, here: Script) -> None:
    ident = delivered(sim)
    sim.clock.advance(10_000 * DAY)
    house = keeper(
        sim, payloads_delivered=None, payloads_failed=None, attempts_delivered=None, attempts_failed=None
    )
    assert house.remove_payloads() == 0
    house.forget_attempts()
    house.forget_attempts_by_status()
    assert bytes_of(sim, ident).exists()
    assert len(sim.attempts(ident)) == 1


@pytest.mark.parametrize("dies", ["before the unlink", "after the unlink"])
def test_a_crash_between_the_two_steps_is_settled_by_the_next_process(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch, dies: str
) -> None:
    class Killed(BaseException):
        pass

    def dying(*_: object) -> None:
        raise Killed

    ident = delivered(sim)
    sim.clock.advance(8 * DAY)
    with monkeypatch.context() as crash:
        if dies == "before the unlink":
            crash.setattr(sim.payloads, "remove", dying)
        else:
            crash.setattr(sim.ledger.payloads, "finish_removal", dying)
        with pytest.raises(Killed):
            keeper(sim).remove_payloads()
    assert states(sim, ident) == [PayloadState.REMOVING]
    assert bytes_of(sim, ident).exists() is (dies == "before the unlink")
    # Neither replayed nor read any more.
    result = sim.ledger.orders.replay(
        Filter(ids=(ident,)), now=sim.clock.now(), expires=lambda _: sim.clock.now() + 10**12, force=True
    )
    assert result.done == ()
    assert keeper(sim).remove_payloads() == 1
    assert states(sim, ident) == [PayloadState.REMOVED]
    assert not bytes_of(sim, ident).exists()


def test_one_payload_that_cannot_be_removed_stops_no_other(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = delivered(sim), delivered(sim)
    stuck = sim.delivery(first).job.payload.id
    real = sim.payloads.remove

    def remove(record: Any) -> None:
        if record.id == stuck:
            raise PayloadError("busy")
        real(record)

    sim.clock.advance(8 * DAY)
    with monkeypatch.context() as broken:
        broken.setattr(sim.payloads, "remove", remove)
        assert keeper(sim).remove_payloads() == 1
        assert keeper(sim).remove_payloads() == 0
    assert states(sim, first, second) == [PayloadState.REMOVING, PayloadState.REMOVED]
    assert keeper(sim).remove_payloads() == 1
    assert states(sim, first) == [PayloadState.REMOVED]


def test_more_payloads_than_one_batch(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conveyor.delivery.keeper.BATCH", 2)
    idents = [delivered(sim) for _ in range(5)]
    sim.clock.advance(8 * DAY)
    assert keeper(sim).remove_payloads() == 5
    assert set(states(sim, *idents)) == {PayloadState.REMOVED}


def test_attempts_are_forgotten_after_their_retention(
    sim: Simulation, here: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conveyor.delivery.keeper.BATCH", 2)
    idents = [delivered(sim) for _ in range(3)]
    house = keeper(sim)
    sim.clock.advance(90 * DAY - 1)
    house.forget_attempts()
    assert all(sim.attempts(ident) for ident in idents)
    sim.clock.advance(1.1)
    house.forget_attempts()
    assert not any(sim.attempts(ident) for ident in idents)


@pytest.mark.parametrize("kept", [365 * DAY, None])
def test_attempts_of_what_failed_may_be_kept_for_longer(
    sim: Simulation, here: Script, monkeypatch: pytest.MonkeyPatch, kept: float | None
) -> None:
    monkeypatch.setattr("conveyor.delivery.keeper.BATCH", 2)
    bad = [failed(sim, here) for _ in range(3)]
    good = [delivered(sim) for _ in range(3)]
    house = keeper(sim, attempts_delivered=7 * DAY, attempts_failed=kept)
    sim.clock.advance(8 * DAY)
    house.step()
    assert not any(sim.attempts(ident) for ident in good)
    assert all(sim.attempts(ident) for ident in bad)
    sim.clock.advance(358 * DAY)
    house.step()
    assert any(sim.attempts(ident) for ident in bad) is (kept is None)


def test_expiry_takes_all_there_are_and_rouses_nobody(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conveyor.delivery.keeper.BATCH", 2)
    sim.source.put(destination(is_active=False, expire_after=100.0))
    idents = [sim.submit()["here"] for _ in range(5)]
    house = keeper(sim)
    sim.clock.advance(99)
    assert house.expire() == 0
    sim.clock.advance(1)
    assert house.expire() == 5
    assert {sim.delivery(ident).last_error_kind for ident in idents} == {ErrorKind.EXPIRED}


def test_orphaned_files_go_after_a_day(sim: Simulation) -> None:
    import io

    kept = sim.submit()["here"]
    orphan = sim.payloads.put(io.BytesIO(b"nobody's"), digests=frozenset())
    path = sim.payloads.root / orphan.location
    house = keeper(sim)
    house.sweep()
    assert path.exists()
    yesterday = os.stat(path).st_mtime - 2 * DAY
    for file in (path, bytes_of(sim, kept)):
        os.utime(file, (yesterday, yesterday))
    house.sweep()
    assert not path.exists()
    assert bytes_of(sim, kept).exists()


# --- leftovers -------------------------------------------------------------------------------------


def leaves(parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
    context.save(upload="u1")
    raise DeliveryError(ErrorKind.REJECTED, "never")


def left_behind(sim: Simulation, here: Script) -> str:
    here.then(leaves)
    ident = sim.submit()["here"]
    sim.serve(sim.parts)
    return ident


def test_an_abandon_that_fails_is_tried_again_with_growing_delay_and_given_up_at_last(
    sim: Simulation, here: Script
) -> None:
    here.abandons.extend(DeliveryError(ErrorKind.TRANSIENT, "no") for _ in range(MOST_TRIES))
    ident = left_behind(sim, here)
    for number in range(MOST_TRIES):
        assert sim.parts.cleaner.step()
        assert not sim.parts.cleaner.step()
        (cleanup,) = sim.ledger.cleanups.get(ident)
        assert cleanup.attempts == number + 1
        if number + 1 < MOST_TRIES:
            wait = DELAYS[min(number, len(DELAYS) - 1)]
            assert cleanup.next_at == sim.clock.now() + wait * SECOND
            sim.clock.advance(wait - 1)
            assert not sim.parts.cleaner.step()
            sim.clock.advance(1)
    assert cleanup.done_at is not None
    assert cleanup.message == "given up: no"
    assert here.abandoned == []


def test_an_abandon_succeeds_in_the_end_and_is_recorded(sim: Simulation, here: Script) -> None:
    here.abandons.append(DeliveryError(ErrorKind.TRANSIENT, "no"))
    ident = left_behind(sim, here)
    sim.parts.cleaner.step()
    sim.clock.advance(30)
    sim.parts.cleaner.step()
    assert here.abandoned == [{"upload": "u1"}]
    (cleanup,) = sim.ledger.cleanups.get(ident)
    assert (cleanup.done_at, cleanup.message) == (sim.clock.now(), None)
    sim.clock.advance(10 * DAY)
    assert not sim.parts.cleaner.step()


def test_an_abandon_that_its_process_did_not_survive_is_done_by_another(
    sim: Simulation, here: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def dying(*_: object) -> None:
        raise Killed

    left_behind(sim, here)
    with monkeypatch.context() as crash:
        crash.setattr(sim.parts.pool, "take", dying)
        with pytest.raises(Killed):
            sim.parts.cleaner.step()
    other = sim.process()
    assert not other.cleaner.step()
    sim.clock.advance(300)
    assert other.cleaner.step()
    assert here.abandoned == [{"upload": "u1"}]


def test_what_a_removed_destination_holds_waits_for_it(sim: Simulation, here: Script) -> None:
    ident = left_behind(sim, here)
    known = sim.source.get("here")
    assert known is not None
    sim.source.remove("here")
    assert sim.parts.cleaner.step()
    (cleanup,) = sim.ledger.cleanups.get(ident)
    assert cleanup.done_at is None
    sim.source.put(known)
    sim.clock.advance(30)
    assert sim.parts.cleaner.step()
    assert here.abandoned == [{"upload": "u1"}]


def test_an_undeclared_error_of_abandon_is_redacted_and_retried(sim: Simulation, here: Script) -> None:
    from conveyor.testing.scripted import ScriptedConnector

    ident = left_behind(sim, here)

    def surprise(self: Any, state: Any, context: Any) -> None:
        raise ValueError("https://user:hunter2@example.com said no")

    real = ScriptedConnector.abandon
    try:
        ScriptedConnector.abandon = surprise  # type: ignore[method-assign]
        assert sim.parts.cleaner.step()
    finally:
        ScriptedConnector.abandon = real  # type: ignore[method-assign]
    (cleanup,) = sim.ledger.cleanups.get(ident)
    assert cleanup.message == "ValueError: https://user:***@example.com said no"


def test_a_cleaner_told_to_stop_interrupts_and_leaves_the_rest_for_later(
    sim: Simulation, here: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    from conveyor.testing.scripted import ScriptedConnector

    def slow(self: Any, state: Any, context: AttemptContext) -> None:
        sim.parts.cleaner.stop(0)
        context.check()
        raise AssertionError("not interrupted")

    ident = left_behind(sim, here)
    monkeypatch.setattr(ScriptedConnector, "abandon", slow)
    assert sim.parts.cleaner.step()
    (cleanup,) = sim.ledger.cleanups.get(ident)
    assert (cleanup.done_at, cleanup.message) == (None, "interrupted")


def test_jobs_are_kept_as_long_as_any_payload_and_then_deleted(sim: Simulation, here: Script) -> None:
    ids = sim.submit()
    sim.run(1)
    mine = keeper(sim, payloads_delivered=10.0, payloads_failed=100.0, jobs_delivered=20.0, jobs_failed=20.0)
    sim.clock.advance(50)
    mine.remove_payloads()
    assert mine.forget_jobs() == 0, "an earlier file could still be replayed to the same place"
    sim.clock.advance(60)
    assert keeper(sim, jobs_delivered=None, payloads_failed=1.0, payloads_delivered=1.0).forget_jobs() == 0
    assert keeper(sim, jobs_delivered=1.0, payloads_failed=None).forget_jobs() == 0
    assert mine.forget_jobs() == 1
    assert sim.ledger.deliveries.get(ids["here"]) is None


def test_a_folder_that_was_forgotten_is_found_again(sim: Simulation) -> None:
    class Service:
        def __init__(self) -> None:
            self.made: list[str] = []

        def find(self, parent: str, name: str) -> str | None:
            return name if name in self.made else None

        def create(self, parent: str, name: str, planned: str | None) -> str:
            self.made.append(name)
            return name

        def is_still(self, folder: str, parent: str, name: str) -> bool:
            return folder in self.made

        def plan(self) -> str | None:
            return None

    memory, service = DestinationMemory(sim.ledger, "here"), Service()

    def folder(name: str) -> str:
        return Folders(service, memory, "root", clock=sim.clock.time).ensure(
            [name], cast(AttemptContext, None)
        )

    def known(name: str) -> bool:
        with sim.ledger.database.read() as connection:
            return f"folder:root:{name}" in connection.execute(sa.select(table.c.key)).scalars().all()

    assert (folder("daily"), folder("monday")) == ("daily", "monday")
    for _ in range(3):
        sim.clock.advance(UNUSED / 2)
        assert folder("daily") == "daily"
        keeper(sim).step()
    assert (known("daily"), known("monday")) == (True, False)
    assert folder("monday") == "monday"
    assert service.made == ["daily", "monday"], "none was made twice"
