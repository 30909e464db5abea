from __future__ import annotations

import re
import threading

import pytest

from conveyor import ids
from conveyor.clock import SystemClock


class StoppedClock:
    def __init__(self, moment: int = 1_763_800_000_000_000) -> None:
        self.moment = moment

    def now(self) -> int:
        return self.moment

    def monotonic(self) -> float:
        return 0.0


def test_shape_is_prefix_and_22_safe_characters() -> None:
    assert re.fullmatch(r"job_[0-9a-hjkmnp-tv-z]{22}", ids.new("job", SystemClock()))


def test_ids_sort_by_time_and_tell_it() -> None:
    clock = StoppedClock()
    made = []
    for moment in (1, 10**15, 1_763_800_000_000_000, 1_763_800_000_000_001, 4 * 10**15):
        clock.moment = moment
        made.append(ids.new("dlv", clock))
    assert made == sorted(made)
    assert [ids.created_at(identifier) for identifier in made][2:4] == [
        1_763_800_000_000_000,
        1_763_800_000_000_001,
    ]


def test_ids_of_one_microsecond_differ_also_from_many_threads() -> None:
    clock = StoppedClock()
    made: list[str] = []

    def work() -> None:
        made.extend([ids.new("job", clock) for _ in range(2_000)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8_000


@pytest.mark.parametrize(
    "text", ["", "job", "job_", "job_short", "job_1k0vd91ncm1000p376f68", "job_" + "u" * 22]
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        ids.created_at(text)
