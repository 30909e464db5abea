"""Ages, times, sizes and shares as people read them."""

from __future__ import annotations

import pytest

from conveyor.cli import words
from conveyor.clock import SECOND

NOON = "2027-01-15T12:00:00.000Z"
NOW = words.instant(NOON)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 ms"),
        (0, "0 ms"),
        (0.0001, "<1 ms"),
        (0.42, "420 ms"),
        (0.9999, "1 s"),
        (59.4, "59 s"),
        (59.7, "1 min"),
        (119, "1 min"),
        (180, "3 min"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (86399.9, "1 d"),
        (100_000, "1 d 3 h"),
        (40 * 86400, "40 d"),
    ],
)
def test_spans(seconds: float, text: str) -> None:
    assert words.span(seconds) == text


def test_times_seen_from_now() -> None:
    assert words.when(NOON, NOW) == "now"
    assert words.when(NOON, NOW + 180 * SECOND) == "3 min ago"
    assert words.when(NOON, NOW - 20 * SECOND) == "in 20 s"
    assert words.due(NOON, NOW + 180 * SECOND) == "due"
    assert words.due(NOON, NOW - 20 * SECOND) == "in 20 s"
    assert words.since(NOON, NOW + 180 * SECOND) == "3 min"
    assert words.moment(NOON) == "2027-01-15 12:00:00Z"
    none = [words.when(None, NOW), words.due(None, NOW), words.since(None, NOW), words.moment(None)]
    assert [*none, words.age(None), words.share(None)] == ["-"] * 6


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (12_345, "12.3 kB"),
        (999_600, "1.0 MB"),
        (256_000_000, "256 MB"),
        (4_000_000_000, "4.0 GB"),
        (50_000_000_000_000, "50000 GB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert words.size(count) == text


def test_shares_are_never_rounded_up_to_all() -> None:
    assert [words.share(rate) for rate in (1, 0.99999, 0.5, 0)] == ["100 %", "99.9 %", "50.0 %", "0.0 %"]


def test_counts_and_pairs() -> None:
    assert words.count(1, "delivery", "deliveries") == "1 delivery"
    assert words.count(1200, "thread") == "1,200 threads"
    assert words.pairs({"a": 1, "b": 2}) == "a=1 b=2"
