"""Forgetting: nothing that was submitted or answered stays in the ledger, but a tombstone."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from conveyor.contract import ErrorKind
from conveyor.ledger import bulk, forgetting, rows
from conveyor.ledger.records import Filter, PayloadState, Status, Transformed
from conveyor.ledger.schema import metadata

MARK = "mark-of-a-stranger"


@pytest.fixture(autouse=True)
def _worker(kit: Any) -> None:
    kit.worker()


def everything(kit: Any) -> str:
    """All that the ledger holds, by another route."""
    with kit.ledger.database.read() as connection:
        return "\n".join(
            str(tuple(row))
            for table in metadata.sorted_tables
            for row in connection.execute(sa.select(table))
        )


def marked(kit: Any, *, session: str = MARK) -> tuple[str, list[str]]:
    """One job, delivered to a, failed at b, being delivered to c, waiting for d."""
    ids = kit.submit(
        "a", "b", "c", "d",
        filename=f"{MARK}.jpg", session_id=session, image_id=MARK, key=MARK + session, source=MARK,
        tags=(f"tag:{MARK}",), meta={"who": MARK}, trace={"traceparent": MARK},
    )  # fmt: skip
    kit.record(kit.report(kit.one("a"), receipt={"reference": MARK, "path": MARK}, response=MARK))
    failed = {"kind": ErrorKind.CONFLICT, "message": MARK, "hint": MARK, "response": MARK}
    kit.record(kit.report(kit.one("b"), Status.FAILED, **failed))
    kit.one("c")
    return kit.ledger.deliveries.get(ids[0]).job_id, ids


def test_what_is_forgotten_is_nowhere_and_leaves_a_tombstone(kit: Any) -> None:
    job, ids = marked(kit)
    (kept,) = kit.submit("a", filename="other.jpg", session_id="other")
    kit.ledger.bulk.begin(Filter(sessions=frozenset({MARK, "other"})), kit.now)
    assert MARK in everything(kit)
    (payload,) = kit.ledger.forgetting.forget([job], kit.now)
    assert MARK not in everything(kit)
    digest = f"{int(payload.id[4:]):064x}"
    assert digest not in everything(kit), "the digest of a photo tells which one it was"
    record = kit.ledger.deliveries.get(ids[0])
    assert (record.job.filename, record.job.forgotten_at) == ("forgotten", kit.now)
    assert [kit.status(ident) for ident in ids] == ["delivered", "failed", "cancelled", "cancelled"]
    assert kit.ledger.deliveries.get(kept).job.filename == "other.jpg"
    assert kit.status(kept) is Status.PENDING
    (replay,) = kit.ledger.bulk.all()
    assert replay.wanted.sessions == {"forgotten", "other"}


def test_who_is_delivering_meanwhile_writes_nothing_more(kit: Any) -> None:
    ids = kit.submit("a")
    claimed = kit.one("a")
    kit.ledger.forgetting.forget([claimed.job.id], kit.now)
    kit.record(kit.report(claimed, receipt={"reference": MARK}, response=MARK))
    assert MARK not in everything(kit)
    assert kit.status(ids[0]) is Status.CANCELLED


def test_a_death_before_the_bytes_are_gone_is_made_good(kit: Any) -> None:
    job, _ = marked(kit)
    (payload,) = kit.ledger.forgetting.forget([job], kit.now)
    assert kit.ledger.payloads.removing() == [payload], "what the next engine goes on with"
    assert kit.ledger.forgetting.forget([job], kit.now + 1) == [payload], "or the next order"
    kit.ledger.payloads.finish_removal([payload.id])
    record = kit.ledger.deliveries.job(job)
    assert record.payload.state is PayloadState.REMOVED
    assert record.forgotten_at == kit.now
    assert kit.ledger.forgetting.forget([job], kit.now) == []


def test_the_way_to_a_file_in_place_is_erased(kit: Any) -> None:
    payload = replace(kit.job().payload, location=f"/home/{MARK}/a.jpg", in_place=True, fingerprint=MARK)
    (ident,) = kit.deliver("a", payload=payload)
    kit.ledger.forgetting.forget([kit.ledger.deliveries.get(ident).job_id], kit.now)
    assert MARK not in everything(kit)


def test_a_replay_of_what_is_forgotten_is_refused(kit: Any) -> None:
    job, ids = marked(kit)
    kit.ledger.forgetting.forget([job], kit.now)
    assert kit.replay(ids[1]).done == ()


def test_jobs_are_found_by_id_session_and_whole_tag(kit: Any) -> None:
    first, _ = marked(kit)
    second, _ = marked(kit, session="two")
    kit.submit("a", tags=("tag:mark", "x"))
    find = kit.ledger.forgetting.find
    assert find([first]) == [first]
    assert find(sessions=["two"]) == [second]
    assert find(tags=[f"tag:{MARK}"]) == sorted([first, second])
    assert find(tags=["tag:%"]) == []
    kit.ledger.forgetting.forget([first], kit.now)
    assert find([first], tags=[f"tag:{MARK}"]) == [second], "nothing is left to find it by"


def failed(kit: Any) -> str:
    """A failed delivery of the session."""
    (ident,) = kit.submit("a", session_id=MARK)
    kit.record(kit.report(kit.one("a"), Status.FAILED, kind=ErrorKind.CONFLICT))
    return str(ident)


def replayed(kit: Any, ident: str) -> int:
    return int(kit.ledger.bulk.feed(ident, kit.now, lambda _: kit.now + 10**12))


def test_a_replay_goes_on_with_the_rest_of_a_session(kit: Any) -> None:
    first, second = failed(kit), failed(kit)
    jobs = [kit.ledger.deliveries.get(ident).job_id for ident in (first, second)]
    replay = kit.ledger.bulk.begin(Filter(sessions=frozenset({MARK})), kit.now)
    kit.ledger.forgetting.forget(jobs[:1], kit.now)
    assert replayed(kit, replay) == 1
    assert kit.status(second) is Status.PENDING
    kit.ledger.forgetting.forget(jobs[1:], kit.now)
    assert MARK not in everything(kit), "the last of the session takes its name along"


def test_forgetting_and_a_replay_that_is_fed_wait_for_each_other_in_one_order(
    kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = kit.ledger.deliveries.get(failed(kit)).job_id
    replay = kit.ledger.bulk.begin(Filter(sessions=frozenset({MARK})), kit.now, rate=100.0)
    cancel, bucket = forgetting.cancel, bulk._bucket
    payloads_locked = threading.Event()
    forgotten: list[Future[Any]] = []

    def noted(*given: Any) -> None:
        payloads_locked.set()
        cancel(*given)

    def meanwhile(*given: Any) -> Any:
        forgotten.append(pool.submit(kit.ledger.forgetting.forget, [job], kit.now))
        payloads_locked.wait(0.5)
        return bucket(*given)

    monkeypatch.setattr(forgetting, "cancel", noted)
    monkeypatch.setattr(bulk, "_bucket", meanwhile)
    with ThreadPoolExecutor(1) as pool:
        assert replayed(kit, replay) == 1
        assert len(forgotten[0].result(60)) == 1
    assert MARK not in everything(kit)


def test_forgetting_and_a_new_result_of_transforms_wait_for_each_other_in_one_order(
    kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.submit("a")
    claimed = kit.one("a")
    results = [Transformed(by=("upper",), payload=kit.job().payload) for _ in range(2)]
    assert kit.ledger.transformed.record(claimed.delivery_id, claimed.fence, results[0])
    payload_row = rows.payload_row
    forgotten: list[Future[Any]] = []

    def meanwhile(payload: Any) -> Any:
        if not forgotten:
            forgotten.append(pool.submit(kit.ledger.forgetting.forget, [claimed.job.id], kit.now))
            time.sleep(0.5)  # it waits by now, with the locks that it has
        return payload_row(payload)

    monkeypatch.setattr(rows, "payload_row", meanwhile)
    with ThreadPoolExecutor(1) as pool:
        assert kit.ledger.transformed.record(claimed.delivery_id, claimed.fence, results[1])
        forgotten[0].result(60)
    going = {payload.id for payload in kit.ledger.payloads.removing()}
    assert going > {result.payload.id for result in results if result.payload is not None}


def test_a_result_that_another_has_taken_the_place_of_is_nowhere(kit: Any) -> None:
    kit.submit("a")
    claimed = kit.one("a")
    for _ in range(2):
        made = Transformed(by=("upper",), payload=replace(kit.job().payload, digests={"sha256": MARK}))
        assert kit.ledger.transformed.record(claimed.delivery_id, claimed.fence, made)
        kit.ledger.payloads.finish_removal([payload.id for payload in kit.ledger.payloads.removing()])
    assert everything(kit).count(MARK) == 2, "its row, and what its delivery knows of it"
    kit.ledger.forgetting.forget([claimed.job.id], kit.now)
    assert MARK not in everything(kit)
