"""What to ring for, and what a wake-up may take."""

from __future__ import annotations

from typing import Any

from conveyor.clock import SECOND
from conveyor.ledger.records import Block, BlockReason


def test_the_earliest_due_ones_within_limit_and_cap(kit: Any) -> None:
    kit.worker()
    ids = []
    for _ in range(6):
        ids += kit.submit("a")
        kit.clock.advance(1)
    choose = kit.ledger.wakeups.choose
    assert choose([kit.want(limit=2, cap=5)], {}, kit.now) == {"a": (ids[:2], True)}
    assert choose([kit.want(limit=9, cap=9)], {}, kit.now) == {"a": (ids, False)}
    # What was rung for counts as running, and is not rung for again.
    rung = {ids[0]: "a", ids[1]: "a"}
    assert choose([kit.want(limit=9, cap=5)], rung, kit.now) == {"a": (ids[2:5], True)}
    assert choose([kit.want(limit=9, cap=2)], rung, kit.now) == {"a": ([], True)}
    kit.claim("a", limit=1)
    assert choose([kit.want(limit=9, cap=3)], {ids[1]: "a"}, kit.now) == {"a": ([ids[2]], True)}


def test_a_probe_is_one(kit: Any) -> None:
    (first, _) = [kit.submit("a")[0] for _ in range(2)]
    wanted = [kit.want(probe=True)]
    assert kit.ledger.wakeups.choose(wanted, {}, kit.now) == {"a": ([first], True)}
    assert kit.ledger.wakeups.choose(wanted, {first: "a"}, kit.now) == {"a": ([], True)}


def test_what_is_claimed_or_not_yet_due_is_not_due(kit: Any) -> None:
    kit.worker()
    first, second, third = (kit.submit("a")[0] for _ in range(3))
    claim = kit.one("a", limit=1)
    still = kit.ledger.wakeups.still_due
    assert still([first, second, third, "dlv_unknown"], kit.now) == {second, third}
    assert still([second], kit.now - 1) == set()
    assert claim.delivery_id == first


def test_only_what_somebody_was_woken_for_is_taken(kit: Any) -> None:
    kit.worker()
    first, second, third = (kit.submit("a")[0] for _ in range(3))
    (other,) = kit.submit("b")
    woken = kit.ledger.wakeups.woken([second, other, "dlv_unknown"], kit.now)
    assert {name: ids for name, (_, ids) in woken.items()} == {"a": [second], "b": [other]}
    assert woken["a"][0].health.destination == "a"
    claims = kit.claim("a", only=(second,))
    assert [claim.delivery_id for claim in claims] == [second]
    assert kit.claim("a", only=(second,)) == []  # a wake-up that came twice
    assert kit.claim("a", only=("dlv_unknown",)) == []
    assert {claim.delivery_id for claim in kit.claim("a")} == {first, third}


def test_a_wakeup_obeys_cap_and_block(kit: Any) -> None:
    kit.worker()
    first, second = (kit.submit("a")[0] for _ in range(2))
    assert len(kit.claim("a", only=(first, second), cap=1)) == 1
    kit.ledger.health.hold({"b": "1"}, Block(BlockReason.QUOTA, kit.now + SECOND, 1, "full"), kit.now)
    (held,) = kit.submit("b")
    assert kit.claim("b", only=(held,)) == []
    (due, _) = kit.ledger.wakeups.woken([held], kit.now)["b"]
    assert due.health.block is not None
