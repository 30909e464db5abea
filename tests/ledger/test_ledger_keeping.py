"""Payload removal, cleanups, memory, destinations in the ledger, retention of attempts."""

from __future__ import annotations

from typing import Any

import pytest

from conveyor.clock import SECOND
from conveyor.errors import LedgerError
from conveyor.keyring import Keyring
from conveyor.ledger import open_ledger
from conveyor.ledger.records import Filter, PayloadState, Status


@pytest.fixture(autouse=True)
def _worker(kit: Any) -> None:
    kit.worker()


def _remove(kit: Any, delivered: float, failed: float) -> list[str]:
    bounds = (kit.now - round(delivered * SECOND), kit.now - round(failed * SECOND))
    return [p.id.replace("pay", "job") for p in kit.ledger.payloads.begin_removal(kit.now, *bounds, 100)]


def test_a_payload_goes_when_the_last_delivery_has_been_final_long_enough(kit: Any) -> None:
    first, second = kit.submit("a", "b")
    job = kit.ledger.deliveries.get(first).job_id
    kit.record(kit.report(kit.one("a")))
    kit.clock.advance(100)
    assert _remove(kit, 10, 10) == [], "one delivery is open"
    kit.record(kit.report(kit.one("b")))
    kit.clock.advance(10)
    assert _remove(kit, 10, 10) == []
    kit.clock.advance(1)
    assert _remove(kit, 10, 10) == [job]
    assert _remove(kit, 10, 10) == [], "once"
    assert kit.ledger.deliveries.get(second).job.payload.state is PayloadState.REMOVING


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
def test_what_was_not_delivered_everywhere_is_kept_for_longer(kit: Any, status: Status) -> None:
    second = kit.submit("a", "b")[1]
    kit.record(kit.report(kit.one("a")))
    if status is Status.FAILED:
        kit.record(kit.report(kit.one("b"), Status.FAILED))
    else:
        kit.ledger.orders.cancel(Filter(ids=(second,)), now=kit.now)
    kit.clock.advance(20)
    assert _remove(kit, 10, 30) == []
    kit.clock.advance(11)
    assert len(_remove(kit, 10, 30)) == 1


def test_removal_survives_a_crash_between_row_and_bytes(kit: Any) -> None:
    kit.deliver("a")
    kit.clock.advance(20)
    (begun,) = kit.ledger.payloads.begin_removal(kit.now, kit.now, kit.now, 1)
    assert kit.ledger.payloads.removing() == [begun]
    assert kit.ledger.payloads.known([begun.location, "orphan"]) == {begun.location}
    kit.ledger.payloads.finish_removal([begun.id])
    assert kit.ledger.payloads.removing() == []
    assert kit.ledger.payloads.known([begun.location]) == set()


def _cleanup(kit: Any) -> str:
    (ident,) = kit.submit("a")
    kit.ledger.states.save(ident, kit.one().fence, b"parts")
    kit.ledger.orders.cancel(Filter(ids=(ident,)), now=kit.now)
    return str(ident)


def test_a_cleanup_comes_back_until_it_is_done(kit: Any) -> None:
    ident = _cleanup(kit)
    cleanups = kit.ledger.cleanups
    assert cleanups.next_due() == kit.now
    (one,) = cleanups.claim(kit.now, 9, kit.now + 60 * SECOND)
    assert (one.delivery_id, one.attempts) == (ident, 1)
    assert cleanups.claim(kit.now, 9, kit.now + 60 * SECOND) == [], "leased"
    kit.clock.advance(60)
    (again,) = cleanups.claim(kit.now, 9, kit.now + 60 * SECOND)
    assert (again.id, again.attempts) == (one.id, 2)
    cleanups.failed(one.id, kit.now + 5 * SECOND, "busy")
    assert cleanups.claim(kit.now, 9, kit.now + SECOND) == []
    kit.clock.advance(5)
    assert len(cleanups.claim(kit.now, 9, kit.now + SECOND)) == 1
    cleanups.done(one.id, kit.now)
    assert cleanups.next_due() is None
    (record,) = cleanups.get(ident)
    assert (record.attempts, record.done_at, record.next_at) == (3, kit.now, None)


def test_memory_keeps_the_first_value_until_it_is_forgotten(kit: Any) -> None:
    memory = kit.ledger.memory
    assert memory.get("a", "host_key") is None
    assert memory.put_if_absent("a", "host_key", {"key": "one"}) == {"key": "one"}
    assert memory.put_if_absent("a", "host_key", {"key": "two"}) == {"key": "one"}
    assert memory.get("a", "host_key") == {"key": "one"}
    assert memory.get("b", "host_key") is None
    memory.forget("a", "host_key")
    memory.forget("a", "host_key")
    assert memory.put_if_absent("a", "host_key", "two") == "two"
    assert memory.exchange("a", "host_key", "one", "three") == "two"
    assert memory.exchange("a", "host_key", "two", {"n": 3}) == {"n": 3}
    assert memory.exchange("a", "host_key", {"n": 3}, "four") == memory.get("a", "host_key") == "four"
    assert memory.exchange("a", "nothing", None, "five") is None


def test_folders_that_nobody_uses_are_forgotten_in_batches_and_all_else_is_kept(kit: Any) -> None:
    memory, day = kit.ledger.memory, 86400
    memory.put_if_absent("a", "host_key", "pinned")
    for name in ("used", "changed", *map(str, range(5))):
        memory.put_if_absent("a", f"folder:root:{name}", {"id": name})
    kit.clock.advance(2 * day)
    assert memory.get("a", "folder:root:used") == {"id": "used"}
    memory.exchange("a", "folder:root:changed", {"id": "changed"}, {"id": "other"})
    before = kit.now - day * SECOND
    assert [memory.forget_unused(before, 2) for _ in range(4)] == [2, 2, 1, 0]
    assert [memory.get("a", f"folder:root:{n}") for n in range(5)] == [None] * 5
    assert memory.get("a", "folder:root:used") == {"id": "used"}
    assert memory.get("a", "folder:root:changed") == {"id": "other"}
    assert memory.forget_unused(1 << 62, 10) == 2
    assert memory.get("a", "host_key") == "pinned"
    assert memory.put_if_absent("a", "folder:root:used", "again") == "again"


def test_a_use_is_written_down_once_a_day(kit: Any) -> None:
    memory, key = kit.ledger.memory, "folder:root:photos"
    memory.put_if_absent("a", key, "known")
    written = kit.now
    kit.clock.advance(86400)
    assert memory.get("a", key) == "known"
    assert memory.forget_unused(written, 9) == 0
    assert memory.forget_unused(written + 1, 9) == 1, "a day later was no use that counts"
    memory.put_if_absent("a", key, "known")
    written = kit.now
    kit.clock.advance(86401)
    assert memory.get("a", key) == "known"
    assert memory.forget_unused(written + 1, 9) == 0


def test_documents_of_destinations_and_their_revision(kit: Any) -> None:
    table = kit.ledger.destinations
    assert (table.list(), table.revision(), table.get("a")) == ({}, 0, None)
    table.put("b", {"type": "s3", "secret_key": "s3cret"}, kit.now)
    table.put("a", {"type": "ftp"}, kit.now)
    assert table.revision() == 2
    table.put("a", {"type": "sftp"}, kit.now)
    assert list(table.list().items()) == [
        ("a", {"type": "sftp"}),
        ("b", {"type": "s3", "secret_key": "s3cret"}),
    ]
    assert (table.delete("a"), table.delete("a")) == (True, False)
    assert (table.get("a"), table.revision()) == (None, 4)


def test_secrets_need_the_right_key(kit: Any) -> None:
    kit.ledger.memory.put_if_absent("a", "k", "v")
    other = Keyring(["b3RoZXItbGVkZ2VyLWtleS1vdGhlci1sZWRnZXIta2U="])
    with open_ledger(kit.url, clock=kit.clock, keyring=other) as ledger:
        with pytest.raises(LedgerError, match="another key"):
            ledger.memory.get("a", "k")
    with open_ledger(kit.url, clock=kit.clock) as ledger:
        with pytest.raises(LedgerError, match="without its key"):
            ledger.memory.put_if_absent("a", "other", "v")


def test_attempts_go_after_their_delivery_has_been_final_long_enough(kit: Any) -> None:
    (old,) = kit.deliver("a")
    (open_,) = kit.submit("a")
    kit.record(kit.report(kit.one(), Status.PENDING, next_attempt_at=kit.now))
    kit.clock.advance(100)
    (young,) = kit.deliver("b")
    before = kit.now - 50 * SECOND
    assert kit.ledger.retention.attempts(before, before, 10) == (1, None)
    left = [len(kit.ledger.deliveries.attempts(ident)) for ident in (old, open_, young)]
    assert left == [0, 1, 1]
    assert kit.ledger.deliveries.get(old).status is Status.DELIVERED
    kit.deliver("c")
    kit.clock.advance(1)
    gone, after = kit.ledger.retention.attempts(kit.now, kit.now, 1)
    assert (gone, after[1]) == (1, young), "in batches"


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_attempts_go_by_the_status_of_their_delivery(kit: Any, limit: int) -> None:
    retention, idents = kit.ledger.retention, []
    for status in (Status.FAILED, Status.DELIVERED) * 2:
        (ident,) = kit.submit("a")
        kit.record(kit.report(kit.one(), status))
        idents.append(ident)
    (cancelled,) = kit.submit("a")
    kit.record(kit.report(kit.one(), Status.PENDING, next_attempt_at=kit.now))
    kit.ledger.orders.cancel(Filter(ids=(cancelled,)), now=kit.now)
    kit.clock.advance(100)

    def left(delivered: float, failed: float) -> list[int]:
        bounds = [kit.now - round(kept * SECOND) for kept in (delivered, failed)]
        gone, after = retention.attempts(*bounds, limit)
        while after is not None:
            more, after = retention.attempts(*bounds, limit, after)
            gone += more
        counts = [len(kit.ledger.deliveries.attempts(ident)) for ident in (*idents, cancelled)]
        assert gone == before - sum(counts)
        return counts

    before = 5
    assert left(101, 101) == [1, 1, 1, 1, 1]
    assert left(99, 101) == [1, 0, 1, 0, 1]
    before = 3
    assert left(101, 99) == [0, 0, 0, 0, 0]


def _count(kit: Any) -> dict[str, int]:
    tables = ("jobs", "payloads", "deliveries", "attempts", "cleanups")
    with kit.ledger.database.read() as connection:
        return {
            name: connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one() for name in tables
        }


def _forget(kit: Any, delivered: float, failed: float, limit: int = 100) -> int:
    bounds = (kit.now - round(delivered * SECOND), kit.now - round(failed * SECOND))
    total, after = 0, (-1, "")
    while after is not None:
        gone, after = kit.ledger.retention.jobs(*bounds, limit, after)
        total += gone
    return total


def _all_payloads_gone(kit: Any) -> None:
    begun = kit.ledger.payloads.begin_removal(kit.now, kit.now, kit.now, 100)
    kit.ledger.payloads.finish_removal([payload.id for payload in begun])


def test_a_job_goes_with_all_that_belongs_to_it_and_by_its_status(kit: Any) -> None:
    kit.deliver("a", "b", key="once")
    kit.submit("a")
    kit.record(kit.report(kit.one("a"), Status.FAILED))
    (waiting,) = kit.submit("c")
    kit.clock.advance(100)
    assert _forget(kit, 10, 10) == 0, "their payloads are there"
    _all_payloads_gone(kit)
    assert _forget(kit, 200, 200) == 0
    assert _forget(kit, 10, 200, limit=1) == 1, "in batches, past what stays"
    assert _count(kit) == {"jobs": 2, "payloads": 2, "deliveries": 2, "attempts": 1, "cleanups": 0}
    assert _forget(kit, 10, 10) == 1
    assert _count(kit) == {"jobs": 1, "payloads": 1, "deliveries": 1, "attempts": 0, "cleanups": 0}
    assert kit.status(waiting) is Status.PENDING
    kit.submit("a", key="once")
    assert _count(kit)["jobs"] == 2, "its key is free again"


def test_a_job_stays_while_something_of_it_is_to_be_removed_elsewhere(kit: Any) -> None:
    ident = _cleanup(kit)
    kit.clock.advance(100)
    _all_payloads_gone(kit)
    assert _forget(kit, 10, 10) == 0
    (one,) = kit.ledger.cleanups.claim(kit.now, 9, kit.now + SECOND)
    kit.ledger.cleanups.done(one.id, kit.now)
    assert _forget(kit, 10, 10) == 1
    assert kit.ledger.deliveries.get(ident) is None
    assert set(_count(kit).values()) == {0}
