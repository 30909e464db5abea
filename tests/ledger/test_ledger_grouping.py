"""Group commit: one write for all that wait, each with its own answer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from conveyor.ledger.grouping import Grouped
from conveyor.ledger.records import Status


class Slow:
    """A write that holds the first group until it is let go."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.begun = threading.Event()
        self.go = threading.Event()

    def __call__(self, group: Sequence[int]) -> list[int]:
        self.groups.append(list(group))
        self.begun.set()
        assert self.go.wait(30)
        if 13 in group:
            raise ValueError("unlucky")
        return [item * 10 for item in group]


def _grouped(items: Sequence[int]) -> tuple[Slow, list[Any]]:
    """Item 0 is being written while the others arrive."""
    write = Slow()
    grouped = Grouped(write)
    with ThreadPoolExecutor(1 + len(items)) as pool:
        first = pool.submit(grouped, 0)
        assert write.begun.wait(30)
        calls = [pool.submit(grouped, item) for item in items]
        while len(grouped._waiting) < len(items):
            threading.Event().wait(0.001)
        write.go.set()
        assert first.result(30) == 0
        return write, [call.exception(30) or call.result() for call in calls]


def test_what_waits_is_written_together_and_everybody_gets_his_answer() -> None:
    write, answers = _grouped(range(1, 9))
    assert answers == [10, 20, 30, 40, 50, 60, 70, 80]
    assert [len(group) for group in write.groups] == [1, 8]


def test_the_error_of_a_group_reaches_all_of_it_and_nobody_else() -> None:
    write, answers = _grouped([12, 13])
    assert [str(answer) for answer in answers] == ["unlucky", "unlucky"]
    assert Grouped(write)(5) == 50


def test_states_saved_at_once_are_all_saved_and_fenced_one_by_one(kit: Any) -> None:
    kit.worker()
    for _ in range(8):
        kit.submit("a")
    claims = kit.claim()
    saves = [(c.delivery_id, c.fence + index % 2, b"state") for index, c in enumerate(claims)]
    with ThreadPoolExecutor(8) as pool:
        saved = list(pool.map(lambda save: kit.ledger.states.save(*save), saves))
    assert saved == [True, False] * 4


def test_the_last_of_two_states_in_one_group_counts(kit: Any) -> None:
    kit.worker()
    kit.submit("a")
    held = kit.one()
    same = (held.delivery_id, held.fence)
    assert kit.ledger.states._save_all([(*same, b"one"), (*same, b"two")]) == [True, True]
    kit.record(kit.report(held, Status.PENDING, next_attempt_at=kit.now))
    assert kit.one().state == b"two"
