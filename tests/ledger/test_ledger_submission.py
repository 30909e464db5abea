"""Submission: all or nothing, and one job per key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from conveyor.errors import IdempotencyError
from conveyor.ledger.records import Filter, PayloadRecord, PayloadState, Status


def test_what_was_submitted_is_read_back(kit: Any) -> None:
    payload = PayloadRecord("pay_x", "/abs/ö.jpg", True, 2**40, {"sha256": "ab", "md5": "cd"}, "1:2:3")
    job = kit.job(
        payload=payload,
        filename="Ünïcode 'quote'.jpg",
        key="k",
        session_id="s",
        image_id="i",
        image_index=3,
        source="phone",
        tags=("order:7", "vip", "order:8"),
        meta={"a": "ä"},
    )
    (answer,) = kit.ledger.submissions.submit([kit.submission("a", "b", job=job)])
    assert answer.created
    assert set(answer.deliveries) == {"a", "b"}
    record = kit.ledger.deliveries.get(answer.deliveries["a"])
    assert record.job == job
    assert kit.ledger.deliveries.job(job.id) == job
    assert record.status is Status.PENDING
    assert (record.attempt, record.cycle, record.fence, record.failures) == (0, 1, 0, 0)
    assert record.next_attempt_at == record.created_at == kit.now


def test_same_key_same_bytes_answers_with_the_first_job(kit: Any) -> None:
    first = kit.job(key="k")
    (one,) = kit.ledger.submissions.submit([kit.submission("a", "b", job=first)])
    again = kit.job(key="k", payload=replace(first.payload, id="pay_again"))
    (two,) = kit.ledger.submissions.submit([kit.submission("b", "a", job=again)])
    assert (two.job_id, two.created, two.deliveries) == (first.id, False, one.deliveries)
    assert kit.ledger.deliveries.job(again.id) is None


def test_same_key_twice_in_one_batch_is_one_job(kit: Any) -> None:
    first = kit.job(key="k")
    again = kit.job(key="k", payload=replace(first.payload, id="pay_again"))
    one, two = kit.ledger.submissions.submit([kit.submission("a", job=first), kit.submission("a", job=again)])
    assert (one.created, two.created) == (True, False)
    assert one.job_id == two.job_id == first.id


@pytest.mark.parametrize(
    ("destinations", "same_bytes"), [(("a",), False), (("a", "b"), True), (("b",), True)]
)
def test_same_key_for_something_else_is_an_error_and_stores_nothing(
    kit: Any, destinations: tuple[str, ...], same_bytes: bool
) -> None:
    first = kit.job(key="k")
    kit.ledger.submissions.submit([kit.submission("a", job=first)])
    other = kit.job(key="k")
    if same_bytes:
        other = replace(other, payload=replace(first.payload, id=other.payload.id))
    bystander = kit.submission("a")
    with pytest.raises(IdempotencyError, match="'k' was used before"):
        kit.ledger.submissions.submit([bystander, kit.submission(*destinations, job=other)])
    assert kit.ledger.deliveries.job(bystander.job.id) is None


def test_a_replay_under_a_new_id_does_not_change_what_a_key_means(kit: Any) -> None:
    first = kit.job(key="k")
    kit.ledger.submissions.submit([kit.submission("a", job=first)])
    kit.ledger.orders.replay(
        Filter(ids=(first.id,)), now=kit.now, expires=lambda _: kit.now + 1, to=("b", "memory")
    )
    again = kit.job(key="k", payload=replace(first.payload, id="pay_again"))
    (answer,) = kit.ledger.submissions.submit([kit.submission("a", job=again)])
    assert not answer.created


def test_a_batch_that_fails_midway_leaves_nothing(kit: Any) -> None:
    good = kit.submission("a")
    clash = kit.submission("a", job=replace(kit.job(), id=good.job.id))
    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        kit.ledger.submissions.submit([good, clash])
    assert kit.ledger.deliveries.job(good.job.id) is None
    assert kit.ledger.deliveries.open_count() == 0


def test_nothing_submitted_is_nothing_done(kit: Any) -> None:
    assert kit.ledger.submissions.submit([]) == []


def test_a_job_without_payload_row_cannot_exist(kit: Any) -> None:
    assert kit.job().payload.state is PayloadState.PRESENT
    kit.submit("a")
    assert [r.job.payload.state for r in kit.ledger.deliveries.find(Filter(), limit=9)] == [
        PayloadState.PRESENT
    ]
