"""Durations and sizes: what is read, what is refused, and that formatting is read back."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.config.units import (
    format_duration,
    format_rate,
    format_size,
    parse_duration,
    parse_rate,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5),
        ("2m", 120),
        ("1h", 3600),
        ("7d", 604800),
        ("250ms", 0.25),
        ("1h30m", 5400),
        ("2w", 1209600),
        ("1.5h", 5400),
        (" 10 s ", 10),
        ("90", 90),
        (90, 90),
        (0.5, 0.5),
        ("0", 0),
        ("1M", 60),
    ],
)
def test_a_duration_is_read(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "wrong",
    ["", "s", "5x", "-5s", "1h30", "5 5", "1:30", "inf", "nan", "1e3", -1, True, None, float("inf"), [5]],
)
def test_a_wrong_duration_says_what_was_expected(wrong):
    with pytest.raises(ValueError, match="expected a duration such as 30s"):
        parse_duration(wrong)


@pytest.mark.parametrize("wrong", ["36501d", 1e300])
def test_a_duration_that_no_thread_waits_is_refused(wrong):
    with pytest.raises(ValueError, match="of at most 36500d"):
        parse_duration(wrong)


def test_the_longest_duration_from_the_last_day_of_the_calendar_is_a_time_of_the_ledger():
    last = (datetime.max - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    assert last + parse_duration("36500d") * 1_000_000 < 2**63


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("65536", 65536),
        (65536, 65536),
        ("32KiB", 32768),
        ("5MB", 5_000_000),
        ("1.5GiB", 1610612736),
        ("32 kib/s", 32768),
        ("7B", 7),
        ("0", 0),
        ("1TiB", 2**40),
    ],
)
def test_a_size_is_read(text, count):
    assert parse_size(text) == count


@pytest.mark.parametrize("wrong", ["", "KiB", "5 parsecs", "-1", -1, True, 1.5, None, "1,5MB"])
def test_a_wrong_size_says_what_was_expected(wrong):
    with pytest.raises(ValueError, match="expected a size such as"):
        parse_size(wrong)


@pytest.mark.parametrize("read", [parse_duration, parse_size, parse_rate])
@pytest.mark.parametrize("huge", [10**400, "9" * 400, "9" * 400 + "B", "9" * 400 + "/s"])
def test_a_number_beyond_all_is_a_mistake_like_others(read, huge):
    with pytest.raises(ValueError, match="expected a"):
        read(huge)


@given(st.integers(0, 10**9))
def test_a_formatted_size_is_read_back(count):
    assert parse_size(format_size(count)) == count


@given(st.integers(0, 10**12))
def test_a_formatted_duration_is_read_back(milliseconds):
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10/s", 10),
        ("600/m", 10),
        ("1000/h", 1000 / 3600),
        ("2.5 / s", 2.5),
        (5, 5),
        ("5", 5),
        ("1/d", 1 / 86400),
    ],
)
def test_a_rate_is_read(text, rate):
    assert parse_rate(text) == pytest.approx(rate)


@pytest.mark.parametrize(
    "wrong", ["", "0/s", 0, -1, "-1/s", "10/x", "10/5s", "fast", True, None, "inf/s", "1//s"]
)
def test_a_wrong_rate_says_what_was_expected(wrong):
    with pytest.raises(ValueError, match="expected a rate such as 10/s"):
        parse_rate(wrong)


@given(st.floats(1e-4, 1e5))
def test_a_formatted_rate_is_read_back(rate):
    assert parse_rate(format_rate(rate)) == pytest.approx(rate, rel=1e-4)
