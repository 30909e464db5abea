"""What the suite cannot know of Google Drive: pages of a listing, upload addresses, content that differs."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import Any

import pytest
from servers import google_drive_bench
from servers.google_drive_bench import LARGE, said
from servers.google_drive_errors import http_error
from servers.standins.google_drive import GoogleDrive
from servers.standins.kit import Fault, running
from servers.standins.messages import Answer, Request

from conveyor.contract import (
    ConflictPolicy,
    DeliveryError,
    ErrorKind,
    Parcel,
    Receipt,
    Target,
)
from conveyor.testing import Bench
from conveyor.testing.harness import HarnessContext
from conveyor_connectors.google_drive import placing
from conveyor_connectors.google_drive.errors import classify

pytestmark = pytest.mark.server

PATH = "inbox/a.jpg"


@pytest.fixture(scope="module")
def _running() -> Iterator[GoogleDrive]:
    with running(GoogleDrive()) as made:
        yield made


@pytest.fixture
def standin(_running: GoogleDrive, monkeypatch: pytest.MonkeyPatch) -> GoogleDrive:
    monkeypatch.setattr(placing, "_MADE", {})
    _running.reset()
    return _running


@pytest.fixture
def bench(standin: GoogleDrive) -> Iterator[Bench]:
    with google_drive_bench.bench(standin) as made:
        yield made


def parcel(size: int, delivery: str = "d-1") -> Parcel:
    data = b"x" * size
    return Parcel(
        delivery_id=delivery,
        job_id="j-1",
        filename="a.jpg",
        size=size,
        media_type="image/jpeg",
        digests={name: hashlib.new(name, data).hexdigest() for name in ("md5", "sha256")},
        submitted_at=1_800_000_000.0,
        open=lambda: io.BytesIO(data),
    )


def deliver(
    bench: Bench,
    sent: Parcel,
    policy: ConflictPolicy = ConflictPolicy.FAIL,
    context: HarnessContext | None = None,
) -> Receipt:
    with bench.connector() as made:
        return made.deliver(sent, Target(PATH, policy), context or HarnessContext())


def half_sent(
    standin: GoogleDrive, bench: Bench, policy: ConflictPolicy = ConflictPolicy.FAIL
) -> HarnessContext:
    """An attempt that ended after two chunks."""
    context = HarnessContext()
    standin.faults.append(Fault("chunk", Answer(503, {}), after=2))
    with pytest.raises(DeliveryError) as failed:
        deliver(bench, parcel(LARGE), policy, context)
    assert failed.value.kind is ErrorKind.TRANSIENT
    standin.forget()
    return HarnessContext(context.state, attempt=2, fence=2)


def test_requests_of_a_small_file(standin: GoogleDrive, bench: Bench) -> None:
    with bench.connector() as made:
        made.deliver(parcel(100), Target(PATH, ConflictPolicy.FAIL), HarnessContext())
        standin.forget()
        made.deliver(parcel(100, "d-2"), Target("inbox/b.jpg", ConflictPolicy.FAIL), HarnessContext())
        assert standin.counts() == {"list": 1, "upload": 1}
        standin.forget()
        made.deliver(parcel(0, "d-3"), Target("inbox/c.jpg", ConflictPolicy.FAIL), HarnessContext())
        assert standin.counts() == {"list": 1, "upload": 1}
        standin.forget()
        made.deliver(parcel(LARGE, "d-4"), Target("inbox/d.jpg", ConflictPolicy.FAIL), HarnessContext())
        assert standin.counts() == {"list": 1, "upload": 1, "chunk": 4}


def test_content_that_differs_does_not_cost_the_file_that_was_there(
    standin: GoogleDrive, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bench.observer is not None
    bench.observer.put(PATH, b"precious")
    (before,) = (node.meta["id"] for node in standin.nodes.values() if node.content)
    store = standin._store

    def differing(*args: Any, **given: Any) -> dict[str, Any]:
        return {**store(*args, **given), "md5Checksum": "0" * 32}

    monkeypatch.setattr(standin, "_store", differing)
    with pytest.raises(DeliveryError) as failed:
        deliver(bench, parcel(100), ConflictPolicy.OVERWRITE)
    assert failed.value.kind is ErrorKind.INTEGRITY
    assert standin.count("delete") == 0
    assert len(standin.nodes[before].versions) == 1
    assert bench.observer.read(PATH) == b"precious"


def test_content_that_differs_leaves_no_new_file(
    standin: GoogleDrive, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = standin._store

    def differing(*args: Any, **given: Any) -> dict[str, Any]:
        return {**store(*args, **given), "md5Checksum": "0" * 32}

    monkeypatch.setattr(standin, "_store", differing)
    with pytest.raises(DeliveryError, match="not what was sent"):
        deliver(bench, parcel(100))
    assert standin.files() == []


def test_no_token_for_an_upload_address_outside_google(standin: GoogleDrive, bench: Bench) -> None:
    with running(GoogleDrive()) as other:
        where = f"{other.url}/upload/drive/v3/files?upload_id=x"
        standin.faults.append(Fault("upload", Answer(200, headers={"Location": where})))
        with pytest.raises(DeliveryError, match="outside its domain") as failed:
            deliver(bench, parcel(LARGE))
        assert failed.value.kind is ErrorKind.CONFIG
        state = {"upload": {"url": where, "id": "x"}}
        with bench.connector() as made, pytest.raises(DeliveryError, match="outside its domain"):
            made.abandon(state, HarnessContext(state))
        assert other.seen == []


@pytest.mark.parametrize(
    "where",
    ["https://elsewhere.example\\.googleapis.com/x", "https://googleapis.com.example/x", "http://[/x", ""],
)
def test_no_token_for_an_upload_address_that_parsers_read_differently(
    standin: GoogleDrive, bench: Bench, where: str
) -> None:
    standin.faults.append(Fault("upload", Answer(200, headers={"Location": where})))
    with pytest.raises(DeliveryError, match="outside its domain"):
        deliver(bench, parcel(LARGE))


@pytest.mark.parametrize("policy", [ConflictPolicy.SKIP, ConflictPolicy.FAIL, ConflictPolicy.RENAME])
def test_an_empty_page_is_not_an_empty_folder(
    standin: GoogleDrive, bench: Bench, policy: ConflictPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bench.observer is not None
    bench.observer.put(PATH, b"there")
    listed, token = standin.list, "the-rest"
    # Below the two folders' own listings: the one of the name.
    standin.faults.append(Fault("list", Answer(200, {"files": [], "nextPageToken": token}), after=2))

    def with_the_rest(request: Request) -> Answer:
        if request.query.get("pageToken") == token:
            request.query = {name: each for name, each in request.query.items() if name != "pageToken"}
        return listed(request)

    monkeypatch.setattr(standin, "list", with_the_rest)
    if policy is ConflictPolicy.FAIL:
        with pytest.raises(DeliveryError, match="exists already"):
            deliver(bench, parcel(100), policy)
    else:
        receipt = deliver(bench, parcel(100), policy)
        assert receipt.skipped or receipt.path == "inbox/a (1).jpg"
    assert bench.observer.read(PATH) == b"there"
    assert f"{PATH}#2" not in bench.observer.names()


def test_a_file_is_replaced_by_an_empty_one(standin: GoogleDrive, bench: Bench) -> None:
    assert bench.observer is not None
    bench.observer.put(PATH, b"there")
    receipt = deliver(bench, parcel(0), ConflictPolicy.OVERWRITE)
    assert (receipt.size, bench.observer.read(PATH)) == (0, b"")
    assert bench.observer.names() == {PATH}


def test_an_upload_that_drive_does_not_understand_begins_anew(standin: GoogleDrive, bench: Bench) -> None:
    context = half_sent(standin, bench)
    standin.faults.append(Fault("chunk", said(400, "badRequest")))
    assert deliver(bench, parcel(LARGE), context=context).size == LARGE
    assert standin.count("upload") == 1


def test_an_upload_that_is_full_and_makes_no_file_begins_anew(standin: GoogleDrive, bench: Bench) -> None:
    context = half_sent(standin, bench)
    full = Answer(308, headers={"Range": f"bytes=0-{LARGE - 1}"})
    standin.faults.append(Fault("chunk", full))
    assert deliver(bench, parcel(LARGE), context=context).size == LARGE
    assert standin.count("upload") == 1


def test_an_upload_for_a_name_that_was_taken_meanwhile_is_ended(standin: GoogleDrive, bench: Bench) -> None:
    assert bench.observer is not None
    context = half_sent(standin, bench, ConflictPolicy.RENAME)
    bench.observer.put(PATH, b"a stranger's")
    receipt = deliver(bench, parcel(LARGE), ConflictPolicy.RENAME, context)
    assert receipt.path == "inbox/a (1).jpg"
    assert not standin.unfinished()


@pytest.mark.parametrize(("status", "kind"), [(400, ErrorKind.CONFIG), (401, ErrorKind.AUTH_EXPIRED)])
def test_a_parameter_that_is_required_is_no_login_that_is(status: int, kind: ErrorKind) -> None:
    assert classify(http_error(status, "required"), "test").kind is kind
