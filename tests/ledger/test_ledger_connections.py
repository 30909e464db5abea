"""Connections: sealed tokens, and the lease under which they change."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from conveyor.clock import SECOND
from conveyor.ledger.connections import ConnectionState, Tokens

LEASE = 60 * SECOND


def sign_in(kit: Any, tokens: Tokens) -> None:
    kit.ledger.connections.put(
        "drive",
        "vendor",
        tokens,
        expires_at=kit.now + 3600 * SECOND,
        scopes=("files", "offline"),
        account=("u1", "ann@example.org"),
        now=kit.now,
    )


@pytest.fixture
def store(kit: Any) -> Any:
    sign_in(kit, Tokens("access-1", "refresh-1"))
    return kit.ledger.connections


def lock(kit: Any, store: Any, owner: str = "one", *, left: bool = False) -> Any:
    return store.lock("drive", owner, until=kit.now + LEASE, now=kit.now, left=lambda _: left)


def test_a_sign_in_is_kept_with_its_tokens_sealed(kit: Any, store: Any) -> None:
    record = store.get("drive")
    assert store.open(record) == Tokens("access-1", "refresh-1")
    assert (record.account_id, record.account_name) == ("u1", "ann@example.org")
    assert record.scopes == ("files", "offline")
    assert (record.state, record.generation) == (ConnectionState.OK, 1)
    assert b"refresh-1" not in record.sealed
    assert "access-1" not in repr(record) + repr(store.open(record))
    assert store.get("other") is None


def test_one_at_a_time_holds_the_lock(kit: Any, store: Any) -> None:
    first = lock(kit, store)
    assert first.lock_fence == store.get("drive").lock_fence
    assert lock(kit, store, "two") is None
    assert store.unlock(first)
    assert lock(kit, store, "two").lock_owner == "two"


def test_a_lock_ends_with_its_lease_and_with_its_owners_death(kit: Any, store: Any) -> None:
    first = lock(kit, store)
    assert lock(kit, store, "two", left=True).lock_fence == first.lock_fence + 1
    kit.clock.advance(61)
    third = lock(kit, store, "three")
    assert third.lock_fence == first.lock_fence + 2
    assert not store.extend(first, kit.now + LEASE)
    assert store.extend(third, kit.now + 3 * LEASE)
    kit.clock.advance(100)
    assert lock(kit, store, "four") is None


def test_only_the_holder_of_the_newest_fence_stores(kit: Any, store: Any) -> None:
    late = lock(kit, store)
    holder = lock(kit, store, "two", left=True)
    given = {"expires_at": kit.now + SECOND, "scopes": None, "now": kit.now}
    assert not store.renewed(late, Tokens("late", "late"), **given)
    assert not store.refused(late, "gone", ConnectionState.REVOKED)
    assert store.renewed(holder, Tokens("access-2", "refresh-2"), **given)
    record = store.get("drive")
    assert store.open(record) == Tokens("access-2", "refresh-2")
    assert (record.generation, record.lock_owner, record.lock_until) == (2, None, None)
    assert record.scopes == ("files", "offline")
    assert not store.renewed(holder, Tokens("again"), **given)


def test_a_sign_in_fences_out_who_renews_the_old_login(kit: Any, store: Any) -> None:
    renewing = lock(kit, store)
    store.put(
        "drive",
        "vendor",
        Tokens("fresh", "fresh"),
        expires_at=1,
        scopes=(),
        account=("u2", None),
        now=kit.now,
    )
    assert not store.renewed(renewing, Tokens("old", "old"), expires_at=2, scopes=None, now=kit.now)
    record = store.get("drive")
    assert store.open(record).refresh == "fresh"
    assert (record.generation, record.lock_owner, record.account_id) == (2, None, "u2")


def test_a_refusal_is_noted_until_the_next_renewal(kit: Any, store: Any) -> None:
    assert store.refused(lock(kit, store), "revoked by the user", ConnectionState.REVOKED)
    record = store.get("drive")
    assert (record.state, record.error) == (ConnectionState.REVOKED, "revoked by the user")
    assert store.renewed(lock(kit, store), Tokens("b"), expires_at=1, scopes=("x",), now=kit.now)
    record = store.get("drive")
    assert (record.state, record.error, record.scopes) == (ConnectionState.OK, None, ("x",))


def test_a_seed_never_replaces_a_login(kit: Any, store: Any) -> None:
    store.seed("drive", "vendor", Tokens(refresh="from the config"), kit.now)
    assert store.open(store.get("drive")).refresh == "refresh-1"
    store.seed("box", "vendor", Tokens(refresh="from the config", seed="d"), kit.now)
    assert [record.id for record in store.all()] == ["box", "drive"]
    assert store.get("box").generation == 0


def test_forgetting(kit: Any, store: Any) -> None:
    assert store.remove("drive")
    assert not store.remove("drive")
    with pytest.raises(KeyError):
        lock(kit, store)


def test_a_lock_does_not_outlive_its_row(kit: Any, store: Any) -> None:
    late = lock(kit, store)
    store.remove("drive")
    sign_in(kit, Tokens("access-2", "refresh-2"))
    holder = lock(kit, store, "two")
    assert holder.lock_fence == late.lock_fence
    given = {"expires_at": kit.now + SECOND, "scopes": None, "now": kit.now}
    assert not store.renewed(late, Tokens("late", "late"), **given)
    assert not store.unlock(late)
    assert store.renewed(holder, Tokens("access-3", "refresh-3"), **given)


def test_of_many_threads_one_gets_the_lock(kit: Any, store: Any) -> None:
    barrier = threading.Barrier(8)
    got: list[Any] = []

    def work(number: int) -> None:
        barrier.wait()
        got.append(lock(kit, store, f"thread {number}"))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([record for record in got if record is not None]) == 1


def test_a_lost_row_is_not_locked_but_reported(kit: Any, store: Any) -> None:
    held = lock(kit, store)
    store.remove("drive")
    assert not store.unlock(held)
    assert not store.unlock(replace(held, lock_fence=99))
