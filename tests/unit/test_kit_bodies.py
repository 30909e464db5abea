"""Bodies, names, turns and waits of the connectors' kit."""

from __future__ import annotations

import hashlib
import io
import threading
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.contract import ConflictPolicy, DeliveryError, ErrorKind, Json, NameRules, Target
from conveyor.kit.bodies import BLOCK, Body, BodyStopped, Counting, Pooled, Publishing, digest_of
from conveyor.kit.checking import canary, read_back
from conveyor.kit.naming import NUMBERED, candidates, length, numbered, saved_candidates, tried_before
from conveyor.kit.turns import Turns
from conveyor.kit.waits import stated_delay
from conveyor.paths.names import LengthUnit
from conveyor.testing import HarnessContext, make_parcel


def test_a_body_is_a_window_and_its_last_byte_waits_for_the_fence() -> None:
    commits: list[int] = []
    context = HarnessContext(on_commit=lambda: commits.append(context.sent))
    data = bytes(range(256)) * (3 * BLOCK // 256)
    body = Body(io.BytesIO(data), 100, 2 * BLOCK, Publishing(context))
    assert len(body) == 2 * BLOCK
    assert b"".join(body) == data[100 : 100 + 2 * BLOCK]
    assert body.finished
    assert commits == [BLOCK]
    assert context.sent == 2 * BLOCK
    body.begin()
    assert body.tell() == 0
    assert not body.finished


def test_a_fence_that_refuses_keeps_the_last_bytes_back() -> None:
    context = HarnessContext(fenced_out=True)
    body = Body(io.BytesIO(b"abc"), 0, 3, Publishing(context))
    with pytest.raises(BaseException, match="fence"):
        body.read()
    assert not body.finished


def test_a_body_that_is_read_to_be_signed_reports_nothing_before_it_begins() -> None:
    context = HarnessContext()
    body = Body(io.BytesIO(b"abc"), 0, 3, Counting(context), sending=False)
    assert body.read() == b"abc"
    assert context.sent == 0
    body.begin()
    assert body.read() == b"abc"
    assert context.sent == 3


def test_a_short_payload_is_the_sources_fault() -> None:
    body = Body(io.BytesIO(b"abc"), 0, 5, Counting(HarnessContext()))
    assert body.read() == b"abc"
    with pytest.raises(DeliveryError) as caught:
        body.read()
    assert caught.value.kind is ErrorKind.SOURCE


def test_helper_threads_are_stopped_by_their_meter() -> None:
    meter = Pooled()
    body = Body(io.BytesIO(b"abcdef"), 0, 6, meter)
    body.read(2)
    assert meter.drain() == 2
    meter.stop()
    with pytest.raises(BodyStopped):
        body.read(2)


def test_the_digest_of_a_window() -> None:
    assert digest_of(io.BytesIO(b"xxabcxx"), 2, 3, "sha1") == hashlib.sha1(b"abc").digest()


@given(
    st.text(min_size=1, max_size=80).filter(lambda text: "/" not in text and text.isprintable()),
    st.integers(1, 10**9),
    st.sampled_from(list(LengthUnit)),
)
def test_a_numbered_name_keeps_the_limits_and_the_extension(stem: str, number: int, unit: LengthUnit) -> None:
    rules = NameRules(segment_max=40, path_max=60, unit=unit)
    path = numbered(Target(f"a/{stem}.jpg", ConflictPolicy.RENAME), number, rules)
    assert path.endswith(f" ({number}).jpg")
    name = path.rpartition("/")[2]
    whole = length(f"{stem} ({number}).jpg", unit) <= 40
    assert length(name, unit) <= 40 or length(name, unit) <= length(f"{stem[0]} ({number}).jpg", unit)
    assert (name == f"{stem} ({number}).jpg") or not whole


def test_rename_begins_with_the_name_that_was_saved_and_ends_with_one_of_its_own() -> None:
    target = Target("a/photo.jpg", ConflictPolicy.RENAME)
    context = HarnessContext({"path": "a/photo (2).jpg"})
    names = list(candidates(make_parcel(b""), target, context, NameRules()))
    assert names[:2] == ["a/photo (2).jpg", "a/photo.jpg"]
    assert len(names) == len(set(names)) == NUMBERED + 1
    fail = Target("a/photo.jpg", ConflictPolicy.FAIL)
    assert list(candidates(make_parcel(b""), fail, context, NameRules())) == ["a/photo.jpg"]


def test_one_at_a_time_for_a_key_and_the_pulse_may_give_up() -> None:
    turns = Turns()
    entered = threading.Event()

    def give_up() -> None:
        entered.set()
        raise TimeoutError

    with turns.take("a", lambda: None):
        with turns.take("b", lambda: None):
            pass
        with pytest.raises(TimeoutError), turns.take("a", give_up):
            pass
    assert entered.is_set()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": "999999"}, 3600.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "\u00b2", "retry-after": "\u00b2"}, None),
        ({"x-amz-retry-after": "x", "Retry-After": "7"}, 7.0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 -1400"}, None),
        ({"X-Amz-Retry-After": "1500"}, 1.5),
        ({"retry-after": formatdate(1000, usegmt=True), "date": formatdate(940, usegmt=True)}, 60.0),
        ({"retry-after": formatdate(900, usegmt=True), "date": formatdate(940, usegmt=True)}, 0.0),
    ],
)
def test_a_stated_delay_in_either_form(headers: dict[str, str], seconds: float | None) -> None:
    assert stated_delay(headers) == seconds


def test_the_canary_is_told_from_other_bytes() -> None:
    parcel = canary(1.0, ["sha1"])
    with parcel.open() as stream:
        data = stream.read()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (parcel.size, parcel.digests["sha256"])
    assert parcel.digests["sha1"] == hashlib.sha1(data, usedforsecurity=False).hexdigest()
    assert read_back(parcel.digests["sha256"]).done
    with pytest.raises(DeliveryError) as failed:
        read_back("0" * 64)
    assert failed.value.kind is ErrorKind.INTEGRITY
    assert canary(1.0).filename != parcel.filename


def test_a_name_is_saved_before_it_is_tried() -> None:
    context, target = HarnessContext(), Target("a/b.txt", ConflictPolicy.RENAME)
    names = saved_candidates(make_parcel(b""), target, context, NameRules())
    for expected in ("a/b.txt", "a/b (1).txt", "a/b (2).txt"):
        assert next(names) == expected == context.state["path"]
    again = saved_candidates(make_parcel(b""), target, context, NameRules())
    assert [next(again), next(again)] == ["a/b (2).txt", "a/b.txt"]
    fresh = HarnessContext()
    marked = saved_candidates(make_parcel(b""), target, fresh, NameRules(), marked=True)
    assert (next(marked), dict(fresh.state)) == ("a/b.txt", {})
    assert next(marked) == "a/b (1).txt" == fresh.state["path"]


@pytest.mark.parametrize(
    ("state", "attempt", "conflict", "expected"),
    [
        ({}, 1, ConflictPolicy.RENAME, None),
        ({}, 2, ConflictPolicy.RENAME, "a/b.txt"),
        ({}, 2, ConflictPolicy.OVERWRITE, None),
        ({"path": "a/b (1).txt"}, 2, ConflictPolicy.RENAME, "a/b (1).txt"),
    ],
)
def test_what_an_earlier_attempt_was_about_to_take(
    state: dict[str, Json], attempt: int, conflict: ConflictPolicy, expected: str | None
) -> None:
    assert tried_before(Target("a/b.txt", conflict), HarnessContext(state, attempt=attempt)) == expected
