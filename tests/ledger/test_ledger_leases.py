"""Who leads: one at a time, until its lease is over or it is known to be dead."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any


def test_one_holds_it_and_renews_it(kit: Any) -> None:
    leases = kit.ledger.leases
    assert leases.holder("dispatcher", kit.now) is None
    assert leases.take("dispatcher", "one", kit.now + 10, kit.now)
    assert not leases.take("dispatcher", "two", kit.now + 10, kit.now)
    assert leases.take("dispatcher", "one", kit.now + 20, kit.now)
    assert leases.holder("dispatcher", kit.now + 19) == "one"
    assert leases.take("other", "two", kit.now + 10, kit.now)


def test_it_is_free_when_it_ends_is_released_or_its_holder_is_dead(kit: Any) -> None:
    leases = kit.ledger.leases
    assert leases.take("dispatcher", "one", kit.now + 10, kit.now)
    assert leases.holder("dispatcher", kit.now + 10) is None
    assert leases.last("dispatcher") == ("one", kit.now + 10)
    assert leases.take("dispatcher", "two", kit.now + 20, kit.now + 10)
    leases.release("dispatcher", "one")  # somebody else's stays
    assert leases.holder("dispatcher", kit.now + 10) == "two"
    leases.release("dispatcher", "two")
    assert leases.take("dispatcher", "three", kit.now + 20, kit.now)
    assert leases.take("dispatcher", "four", kit.now + 20, kit.now, dead="three")
    assert not leases.take("dispatcher", "five", kit.now + 20, kit.now, dead="three")


def test_of_many_that_ask_at_once_one_gets_it(kit: Any) -> None:
    with ThreadPoolExecutor(8) as pool:
        asked = pool.map(lambda n: kit.ledger.leases.take("a", str(n), kit.now + 10, kit.now), range(8))
    assert sum(asked) == 1
