from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conveyor.clock import SECOND, SystemClock
from conveyor.contract import Capabilities
from conveyor.errors import (
    Exit,
    IdempotencyError,
    LedgerError,
    LedgerUnavailable,
    PayloadError,
    SubmissionError,
    UsageError,
)
from conveyor.ledger import open_ledger
from conveyor.ledger.facade import Ledger
from conveyor.payloads import LocalStore
from conveyor.payloads.local import MARKER
from conveyor.submission import BatchError, Item, Submitter


def destination(identifier: str, max_size: int | None = None, limit: int | None = None, *digests: str) -> Any:
    return SimpleNamespace(
        id=identifier,
        type="memory",
        spec=SimpleNamespace(capabilities=Capabilities(max_size=max_size, digests=digests)),
        limits=SimpleNamespace(max_size=limit),
        expire_after=3600.0,
    )


class Destinations:
    """As much of a DestinationSource as submission asks for."""

    def __init__(self, *known: Any) -> None:
        self.known = {each.id: each for each in known}

    def revision(self) -> str:
        return "1"

    def get(self, identifier: str) -> Any:
        return self.known.get(identifier)

    def list(self) -> Sequence[Any]:
        return list(self.known.values())


class Bench:
    def __init__(self, folder: Path) -> None:
        self.clock = SystemClock()
        self.ledger: Ledger = open_ledger(f"sqlite:///{folder / 'ledger.db'}", clock=self.clock)
        self.store = LocalStore(folder / "payloads")
        self.destinations = Destinations(
            destination("a"),
            destination("b", None, None, "sha1"),
            destination("small", 10),
            destination("capped", 100, 5),
        )
        self.submitter = Submitter(
            self.ledger, self.store, self.destinations, self.clock, default_destinations=("a",)
        )

    def files(self) -> list[Path]:
        return [path for path in self.store.root.rglob("*") if path.is_file() and path.name != MARKER]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.ledger.close()


def test_a_file_becomes_a_job_with_its_deliveries(bench: Bench, tmp_path: Path) -> None:
    photo = tmp_path / "photo.heic"
    photo.write_bytes(b"bytes")
    before = bench.clock.now()
    seen: list[int] = []
    answer = bench.submitter.submit(
        photo,
        to=["b", "a", "b"],
        session_id="ses_1",
        image_id="img_1",
        image_index=0,
        tags=["order:7", "vip", "order:8"],
        meta={"camera": "X", "iso": 100, "flash": True, "none": None},
        source_name="kiosk",
        key="k1",
        progress=seen.append,
    )
    assert answer.created
    assert list(answer.deliveries) == ["b", "a"]
    job = bench.ledger.deliveries.job(answer.job_id)
    assert job is not None
    assert (job.filename, job.media_type, job.session_id, job.image_index) == (
        "photo.heic",
        "image/heic",
        "ses_1",
        0,
    )
    assert (job.source, job.key, job.image_id) == ("kiosk", "k1", "img_1")
    assert job.tags == ("order:7", "vip", "order:8")
    assert job.meta == {"camera": "X", "iso": "100", "flash": "true"}
    assert set(job.payload.digests) == {"sha256", "md5", "sha1"}
    assert sum(seen) == job.payload.size == 5
    with bench.store.open(job.payload) as stream:
        assert stream.read() == b"bytes"
    for delivery in bench.ledger.deliveries.of_job(answer.job_id):
        assert delivery.status == "pending"
        assert before <= (delivery.next_attempt_at or 0) <= bench.clock.now()
        assert delivery.expires_at - delivery.created_at == 3600 * SECOND


def test_default_destinations_and_names(bench: Bench) -> None:
    answer = bench.submitter.submit(b"x", filename="we\0ird\ud800.png", media_type="Image/PNG; a=b")
    job = bench.ledger.deliveries.job(answer.job_id)
    assert job is not None
    assert list(answer.deliveries) == ["a"]
    assert (job.filename, job.media_type) == ("we\ufffdird\ufffd.png", "image/png")
    unnamed = bench.ledger.deliveries.job(bench.submitter.submit(io.BytesIO(b"y")).job_id)
    assert unnamed is not None
    assert (unnamed.filename, unnamed.media_type) == ("file", "application/octet-stream")


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"to": "smal"}, UsageError, "did you mean 'small'"),
        ({"to": []}, UsageError, "no destination is named"),
        ({"to": "small"}, SubmissionError, "larger than the 10 bytes that destination 'small'"),
        ({"to": ["a", "capped"]}, SubmissionError, "larger than the 5 bytes that destination 'capped'"),
        ({"image_index": -1}, SubmissionError, "from 0"),
        ({"image_index": True}, SubmissionError, "from 0"),
        ({"priority": 10}, SubmissionError, "from 0 to 9"),
        ({"priority": -1}, SubmissionError, "from 0 to 9"),
        ({"priority": "high"}, SubmissionError, "from 0 to 9"),
        ({"tags": "vip"}, SubmissionError, "tags must be a list"),
        ({"tags": ["x"] * 300}, SubmissionError, "300 tags"),
        ({"tags": [7]}, SubmissionError, "must be text"),
        ({"meta": {"k": "x" * 9000}}, SubmissionError, "9000 characters"),
        ({"meta": {"k": ["x"]}}, SubmissionError, "must be text"),
        ({"session_id": "x" * 2000}, SubmissionError, "2000 characters"),
        ({"media_type": "picture"}, SubmissionError, "no media type"),
        ({"in_place": True}, SubmissionError, "only a file"),
    ],
)
@pytest.mark.parametrize("sized", [True, False])
def test_what_is_refused_leaves_nothing(
    bench: Bench, fields: dict[str, Any], error: type[Exception], said: str, sized: bool
) -> None:
    class Unsized(io.BytesIO):
        def seekable(self) -> bool:
            return False

    with pytest.raises(error, match=said):
        bench.submitter.submit(bytes(11) if sized else Unsized(bytes(11)), **fields)
    assert bench.files() == []
    assert bench.ledger.deliveries.open_count() == 0


def test_no_destination_at_all_names_the_cure(bench: Bench) -> None:
    bench.submitter.default_destinations = ()
    with pytest.raises(UsageError, match="default_destinations") as caught:
        bench.submitter.submit(b"x")
    assert caught.value.exit_code is Exit.USAGE


def test_a_key_answers_with_the_first_job_and_keeps_one_file(bench: Bench) -> None:
    first = bench.submitter.submit(b"x", key="k")
    again = bench.submitter.submit(b"x", key="k")
    assert (again.job_id, again.created) == (first.job_id, False)
    assert len(bench.files()) == 1
    for other in ({"source": b"y"}, {"source": b"x", "to": "b"}):
        with pytest.raises(IdempotencyError):
            bench.submitter.submit(key="k", **other)
    assert len(bench.files()) == 1
    assert bench.submitter.submit(b"y", key="k2").created


def test_in_place_copies_nothing(bench: Bench, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"bytes")
    job = bench.ledger.deliveries.job(bench.submitter.submit(photo, in_place=True).job_id)
    assert job is not None
    assert (job.payload.in_place, job.payload.location, job.filename) == (True, str(photo), "photo.jpg")
    assert bench.files() == []
    with pytest.raises(SubmissionError, match="URL"):
        bench.submitter.submit("https://example.com/a", in_place=True)


def failing(error: Exception) -> Any:
    def submit(items: Any) -> Any:
        raise error

    return submit


def test_a_ledger_that_refuses_leaves_no_file(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.ledger.submissions, "submit", failing(LedgerError("read-only")))
    with pytest.raises(LedgerError):
        bench.submitter.submit(b"x")
    assert bench.files() == []


def test_a_commit_whose_answer_was_lost_keeps_its_file(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real = bench.ledger.submissions.submit

    def lost(items: Any) -> Any:
        real(items)
        raise LedgerUnavailable("the connection broke after the commit")

    monkeypatch.setattr(bench.ledger.submissions, "submit", lost)
    with pytest.raises(LedgerUnavailable):
        bench.submitter.submit(b"x")
    assert len(bench.files()) == 1
    assert bench.ledger.deliveries.open_count() == 1


def test_on_a_server_a_failed_commit_leaves_the_file_to_the_sweep(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ledger, "embedded", False)
    monkeypatch.setattr(bench.ledger.submissions, "submit", failing(LedgerUnavailable("gone")))
    with pytest.raises(LedgerUnavailable):
        bench.submitter.submit(b"x")
    assert len(bench.files()) == 1
    assert bench.store.sweep(bench.ledger.payloads.known, -60) == 1


def test_many(bench: Bench) -> None:
    items = [Item(bytes([number % 7]), to=("a", "b"), filename=f"{number}.jpg") for number in range(150)]
    answers = bench.submitter.submit_many(iter(items))
    assert len({answer.job_id for answer in answers}) == 150
    assert [answer.job_id for answer in answers] == sorted(answer.job_id for answer in answers)
    assert len(bench.files()) == 150
    assert bench.ledger.deliveries.open_count() == 300
    assert bench.submitter.submit_many([]) == []


@pytest.mark.parametrize("bad", [Item(b"x", to="nowhere"), Item("missing.jpg"), Item(b"new", key="taken")])
@pytest.mark.parametrize("place", [0, 3, 70])
def test_one_bad_item_of_many_stops_there_and_says_so(bench: Bench, bad: Item, place: int) -> None:
    bench.submitter.submit(b"old", key="taken")
    items = [Item(b"fine")] * place + [bad] + [Item(b"after")] * 10
    with pytest.raises(BatchError) as caught:
        bench.submitter.submit_many(items)
    assert caught.value.index == place
    assert len(caught.value.submitted) == place
    assert f"item {place + 1}" in str(caught.value)
    assert bench.ledger.deliveries.open_count() == place + 1
    assert len(bench.files()) == place + 1


def test_items_that_fail_to_come_leave_nothing(bench: Bench) -> None:
    def items() -> Iterator[Item]:
        yield Item(b"x")
        raise RuntimeError("the application's own")

    with pytest.raises(RuntimeError):
        bench.submitter.submit_many(items())
    assert bench.files() == []


def test_a_full_store_refuses_the_batch_and_leaves_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(staged: Any) -> None:
        for item in staged:
            item.discard()
        raise PayloadError("full")

    monkeypatch.setattr(bench.store, "publish", full)
    with pytest.raises(PayloadError):
        bench.submitter.submit_many([Item(b"x")] * 3)
    assert bench.files() == []
    assert bench.ledger.deliveries.open_count() == 0


def test_importing_submission_brings_no_sdk_and_no_sqlalchemy() -> None:
    code = (
        "import sys, conveyor.submission\n"
        "heavy = {'sqlalchemy', 'pydantic', 'dramatiq', 'boto3', 'paramiko', 'urllib3', 'yaml', 'typer'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert answer.stdout.strip() == "[]"
