"""What only Cloud Storage can do: resumable uploads, generations, tokens, billing, refusals by reason."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from conveyor.contract import (
    AttemptCancelled,
    ConflictPolicy,
    DeliveryError,
    ErrorKind,
    FoundKind,
    Parcel,
    Receipt,
    Target,
)
from conveyor.testing import HarnessContext, make_env, make_parcel
from conveyor_gcs.connector import GcsConnector
from conveyor_gcs.errors import refused
from conveyor_gcs.options import GcsOptions

from .fake_server import FakeObjects, fake_server
from .rules import BUCKET, UNIT, CloudStorage, Refused, serving

K = ErrorKind
PATH = "in/photo.jpg"
BYTES = b"a photo"
LARGE = 3 * UNIT + 5
KMS = "projects/p/locations/eu/keyRings/r/cryptoKeys/k"


@pytest.fixture(scope="module")
def running() -> Iterator[CloudStorage]:
    with serving() as storage:
        yield storage


@pytest.fixture
def storage(running: CloudStorage) -> CloudStorage:
    """Empty, and keeping to every rule."""
    for held in (running.objects, running.sessions, running.requests, running.bearers):
        held.clear()
    running.spoil, running.checks_md5, running.requester_pays = bytes, True, False
    running.elsewhere = ""
    return running


class At:
    """Deliveries to one service."""

    def __init__(self, storage: CloudStorage, **options: Any) -> None:
        given = {"bucket": BUCKET, "endpoint": storage.url, "credentials": storage.account()}
        pieces = {"resumable_above": UNIT, "chunk_size": UNIT}
        self.options = GcsOptions.model_validate({**given, **pieces, **options})
        self.connector = GcsConnector(self.options, make_env())

    def deliver(
        self,
        parcel: Parcel,
        conflict: ConflictPolicy = ConflictPolicy.RENAME,
        context: HarnessContext | None = None,
        path: str = PATH,
    ) -> Receipt:
        try:
            return self.connector.deliver(parcel, Target(path, conflict), context or HarnessContext())
        finally:
            self.connector.close()

    def refused(self, *args: Any, **options: Any) -> DeliveryError:
        with pytest.raises(DeliveryError) as told:
            self.deliver(*args, **options)
        return told.value


def queries(storage: CloudStorage, method: str = "POST") -> list[dict[str, list[str]]]:
    asked = [path for verb, path in storage.requests if verb == method and path != "/token"]
    return [parse_qs(urlsplit(path).query) for path in asked]


def cut(
    parcel: Parcel,
    at: int,
    where: At,
    conflict: ConflictPolicy = ConflictPolicy.RENAME,
    *,
    arrived: CloudStorage | None = None,
) -> HarnessContext:
    """An attempt that ends there; its context has what it saved. ``arrived``: once it has kept a unit.

    A connection that is cut takes with it what nobody has read.
    """

    def wait(sent: int) -> None:
        end = time.monotonic() + 30
        while arrived is not None and sent >= at and not any(s.content for s in arrived.sessions.values()):
            assert time.monotonic() < end, "nothing has arrived"
            time.sleep(0.005)

    context = HarnessContext(cancel_at=at, on_progress=wait)
    with pytest.raises(AttemptCancelled):
        where.deliver(parcel, conflict, context)
    return context


def next_attempt(before: HarnessContext) -> HarnessContext:
    return HarnessContext(before.state, attempt=before.attempt + 1, fence=before.fence + 1)


# --- what is sent ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [5, LARGE])
def test_what_is_asked_for_is_kept_with_the_file(storage: CloudStorage, size: int) -> None:
    storage.requester_pays = True
    where = At(
        storage,
        prefix="incoming",
        storage_class="NEARLINE",
        cache_control="private, max-age=60",
        content_disposition="attachment",
        metadata={"team": "zürich"},
        kms_key=KMS,
        user_project="acme-billing",
    )
    parcel = make_parcel(size, delivery_id="dlv_1")
    receipt = where.deliver(parcel)
    there = storage.objects["incoming/in/photo.jpg"]
    assert (receipt.reference, receipt.path) == (f"gs://{BUCKET}/incoming/{PATH}", PATH)
    assert (receipt.version, receipt.digest) == (str(there.generation), f"md5:{parcel.digests['md5']}")
    assert there.about["metadata"] == {
        "team": "zürich", "conveyor-delivery": "dlv_1", "conveyor-sha256": parcel.digests["sha256"],
    }  # fmt: skip
    told = {name: there.about[name] for name in ("contentType", "storageClass", "cacheControl")}
    assert told == {
        "contentType": "image/jpeg", "storageClass": "NEARLINE", "cacheControl": "private, max-age=60",
    }  # fmt: skip
    assert there.about["md5Hash"] == base64.b64encode(bytes.fromhex(parcel.digests["md5"])).decode()
    (asked,) = queries(storage)
    assert (asked["kmsKeyName"], asked["userProject"]) == ([KMS], ["acme-billing"])


def test_a_media_type_puts_no_header_into_the_request(storage: CloudStorage) -> None:
    At(storage).deliver(make_parcel(BYTES, media_type="image/jpeg\r\n\r\nX"))
    assert storage.objects[PATH].content == BYTES
    assert storage.objects[PATH].about["contentType"] == "application/octet-stream"


def test_the_address_of_an_upload_is_kept_with_the_delivery_and_nowhere_else(storage: CloudStorage) -> None:
    """It is all that it takes to write there; so that no token goes there either."""
    parcel, where = make_parcel(LARGE), At(storage)
    context = cut(parcel, UNIT + 1, where)
    assert "upload-secret" in json.dumps(context.state)
    later = next_attempt(context)
    receipt = where.deliver(parcel, context=later)
    assert "upload-secret" not in repr((receipt, context.log.lines, later.log.lines))
    sent = zip(storage.requests, storage.bearers, strict=True)
    assert {bearer for (verb, _), bearer in sent if verb == "PUT"} == {None}
    with storage.refusing(Refused(403, "forbidden", f"{storage.url}/x?upload_id=upload-secret-1"), "/upload"):
        told = where.refused(parcel, path="other.jpg")
    assert "upload-secret" not in repr((told.message, told.hint, told.response, told.args))


# --- resumable uploads ------------------------------------------------------------------------------


def test_an_upload_goes_on_where_the_service_says_in_whole_pieces(storage: CloudStorage) -> None:
    parcel, where = make_parcel(LARGE), At(storage, chunk_size=2 * UNIT)
    context = cut(parcel, UNIT + 1, where, arrived=storage)  # within the first piece
    later = next_attempt(context)
    assert where.deliver(parcel, context=later).verified == "md5"
    assert later.sent < LARGE
    assert len(storage.sessions) == 1


def test_an_upload_that_has_ended_begins_again_within_the_attempt(storage: CloudStorage) -> None:
    parcel, where = make_parcel(LARGE), At(storage)
    context = cut(parcel, UNIT + 1, where)
    storage.sessions.clear()  # a week has passed
    later = next_attempt(context)
    assert where.deliver(parcel, context=later).path == PATH
    assert later.sent == LARGE


@pytest.mark.parametrize("conflict", [ConflictPolicy.RENAME, ConflictPolicy.OVERWRITE])
def test_an_upload_that_ended_with_its_last_piece_is_not_sent_again(
    storage: CloudStorage, conflict: ConflictPolicy
) -> None:
    parcel, where = make_parcel(LARGE), At(storage)
    context = HarnessContext()
    where.deliver(parcel, conflict, context)
    for _ in range(2):
        later = next_attempt(context)
        assert where.deliver(parcel, conflict, later).path == PATH
        assert later.sent == 0
        storage.sessions.clear()  # the service forgets an upload that has become an object


def test_an_upload_that_would_replace_is_not_continued_by_a_policy_that_does_not(
    storage: CloudStorage,
) -> None:
    parcel, where = make_parcel(LARGE), At(storage)
    context = cut(parcel, UNIT + 1, where, ConflictPolicy.OVERWRITE)
    storage.insert({"name": PATH}, b"theirs", None)
    told = where.refused(parcel, ConflictPolicy.FAIL, next_attempt(context))
    assert (told.kind, storage.objects[PATH].content) == (K.CONFLICT, b"theirs")
    assert storage.open_sessions() == set()


@pytest.mark.parametrize(
    ("conflict", "path"), [(ConflictPolicy.RENAME, "in/photo (1).jpg"), (ConflictPolicy.SKIP, PATH)]
)
def test_a_name_that_is_taken_while_the_file_is_sent_is_left_alone(
    storage: CloudStorage, conflict: ConflictPolicy, path: str
) -> None:
    parcel, where = make_parcel(LARGE), At(storage)

    def stranger(sent: int) -> None:
        if sent == 2 * UNIT:
            storage.insert({"name": PATH}, b"theirs", None)

    receipt = where.deliver(parcel, conflict, HarnessContext(on_progress=stranger))
    assert (receipt.path, receipt.skipped) == (path, conflict is ConflictPolicy.SKIP)
    assert storage.objects[PATH].content == b"theirs"
    assert storage.open_sessions() == set()


def test_a_taken_name_costs_no_byte_of_a_large_file(storage: CloudStorage) -> None:
    storage.insert({"name": PATH}, b"theirs", None)
    context = HarnessContext()
    told = At(storage).refused(make_parcel(LARGE), ConflictPolicy.FAIL, context)
    assert (told.kind, context.sent) == (K.CONFLICT, 0)


def test_an_upload_under_another_name_is_ended_before_the_next_begins(storage: CloudStorage) -> None:
    parcel, where = make_parcel(LARGE), At(storage)
    context = cut(parcel, UNIT + 1, where)
    storage.insert({"name": PATH}, b"theirs", None)
    assert where.deliver(parcel, context=next_attempt(context)).path == "in/photo (1).jpg"
    assert storage.open_sessions() == set()


def test_an_upload_address_elsewhere_gets_no_byte(storage: CloudStorage) -> None:
    storage.elsewhere = "http://127.0.0.1:1"
    context = HarnessContext()
    told = At(storage).refused(make_parcel(LARGE), context=context)
    assert (told.kind, context.sent) == (K.CONFIG, 0)
    assert "outside its domain" in told.message


# --- bytes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [70_001, LARGE])
def test_the_service_refuses_bytes_that_differ(storage: CloudStorage, size: int) -> None:
    storage.spoil = lambda data: b"?" + data[1:]
    context = HarnessContext()
    assert At(storage).refused(make_parcel(size), context=context).kind is K.INTEGRITY
    assert storage.objects == {}
    assert storage.open_sessions() == set()
    assert "upload" not in context.state


@pytest.mark.parametrize("size", [70_001, LARGE])
def test_bytes_that_differ_are_noticed_where_the_service_compares_nothing(
    storage: CloudStorage, size: int
) -> None:
    storage.spoil, storage.checks_md5 = (lambda data: b"?" + data[1:]), False
    context = HarnessContext()
    assert At(storage).refused(make_parcel(size), context=context).kind is K.INTEGRITY
    assert storage.objects == {}
    assert "upload" not in context.state


def test_only_the_generation_that_is_wrong_is_removed(storage: CloudStorage) -> None:
    """Somebody else's file has replaced it in between."""
    storage.spoil, storage.checks_md5 = (lambda data: b"?" + data[1:]), False

    def replaced(method: str, path: str) -> None:
        if method == "DELETE":
            storage.spoil = bytes
            storage.insert({"name": PATH}, b"theirs", None)

    storage.refuse = replaced
    try:
        assert At(storage).refused(make_parcel(BYTES), ConflictPolicy.OVERWRITE).kind is K.INTEGRITY
    finally:
        storage.refuse = lambda method, path: None
    assert storage.objects[PATH].content == b"theirs"


def test_equal_bytes_are_known_by_both_digests(storage: CloudStorage) -> None:
    where, parcel = At(storage), make_parcel(BYTES)
    target = Target(PATH, ConflictPolicy.OVERWRITE)

    def found(parcel: Parcel) -> FoundKind:
        return where.connector.find(parcel, target, HarnessContext()).kind

    assert found(parcel) is FoundKind.ABSENT
    storage.insert({"name": PATH}, BYTES, None)
    assert found(parcel) is FoundKind.OTHER  # equal MD5s can be made
    where.deliver(parcel, ConflictPolicy.OVERWRITE)
    assert found(parcel) is FoundKind.MINE
    assert found(make_parcel(BYTES)) is FoundKind.SAME_BYTES
    where.connector.close()


# --- what an account may ----------------------------------------------------------------------------


def test_an_account_that_may_create_and_not_look(storage: CloudStorage) -> None:
    """roles/storage.objectCreator."""
    where = At(storage)
    storage.insert({"name": PATH}, b"theirs", None)
    with storage.refusing(Refused(403, "forbidden"), "/storage/"):
        assert where.refused(make_parcel(BYTES), ConflictPolicy.FAIL).kind is K.CONFLICT
        assert where.deliver(make_parcel(BYTES), ConflictPolicy.SKIP).skipped
        assert where.deliver(make_parcel(BYTES)).path == "in/photo (1).jpg"
        target = Target(PATH, ConflictPolicy.RENAME)
        found = where.connector.find(make_parcel(BYTES), target, HarnessContext())
        assert found.kind is FoundKind.UNSURE
        steps = {step.name: step.done for step in where.connector.check(HarnessContext()).steps}
        where.connector.close()
    assert steps == {"write": True, "read back": False, "refuse a taken name": True, "delete": False}


def test_check_writes_below_the_prefix_and_cleans_up(storage: CloudStorage) -> None:
    where = At(storage, prefix="incoming/")
    report = where.connector.check(HarnessContext())
    where.connector.close()
    assert all(step.done for step in report.steps)
    assert "incoming/.conveyor-test/" in report.steps[0].detail
    assert storage.objects == {}


def test_a_requester_pays_bucket_asks_for_user_project(storage: CloudStorage) -> None:
    storage.requester_pays = True
    told = At(storage).refused(make_parcel(BYTES))
    assert (told.kind, told.code) == (K.CONFIG, "userProjectMissing")
    assert "user_project" in (told.hint or "")


@pytest.mark.parametrize(
    ("status", "reason", "message", "kind"),
    [
        (400, "invalid", 'Provided MD5 hash "a" doesn\'t match calculated MD5 hash "b".', K.INTEGRITY),
        (400, "invalid", "Invalid object name", K.NAME),
        (400, "invalid", "Invalid storage class", K.CONFIG),
        (401, "authError", "Invalid Credentials", K.AUTH_EXPIRED),
        (403, "UserProjectAccountProblem", "billing", K.CONFIG),
        (403, "accountDisabled", "billing", K.CONFIG),
        (403, "forbidden", "no storage.objects.create access", K.CONFIG),
        (403, "rateLimitExceeded", "slow down", K.THROTTLED),
        (403, "quotaExceeded", "used up", K.QUOTA),
        (403, "retentionPolicyNotMet", "kept", K.REJECTED),
        (403, "objectUnderActiveHold", "held", K.REJECTED),
        (404, "notFound", "The specified bucket does not exist.", K.CONFIG),
        (408, "uploadBrokenConnection", "", K.TRANSIENT),
        (411, "required", "", K.CONFIG),
        (412, "orgPolicyConstraintFailed", "", K.CONFIG),
        (413, "uploadTooLarge", "", K.TOO_LARGE),
        (429, "rateLimitExceeded", "", K.THROTTLED),
        (500, "backendError", "", K.TRANSIENT),
        (503, "", "", K.TRANSIENT),
    ],
)
def test_what_an_answer_means(status: int, reason: str, message: str, kind: ErrorKind) -> None:
    document = {"error": {"code": status, "message": message, "errors": [{"reason": reason}]}}
    told = refused(status, {}, json.dumps(document).encode(), "upload the file")
    assert (told.kind, told.code) == (kind, reason or str(status))


def test_a_stated_delay_counts_and_a_lost_outcome_is_one() -> None:
    told = refused(503, {"Retry-After": "7"}, b"", "upload the file")
    assert (told.kind, told.retry_after) == (K.THROTTLED, 7.0)
    assert refused(503, {}, b"", "upload the file", sent=True).kind is K.UNKNOWN_OUTCOME


def test_a_file_that_may_not_be_replaced_is_refused_for_good(storage: CloudStorage) -> None:
    with storage.refusing(Refused(403, "retentionPolicyNotMet"), "/upload"):
        told = At(storage).refused(make_parcel(BYTES), ConflictPolicy.OVERWRITE)
    assert told.kind is K.REJECTED
    assert "rename" in (told.hint or "")


@pytest.mark.parametrize(
    "path", [".well-known/acme-challenge/x", "a/../b", "a//b", "a\nb", "a\udc80", "x" * 897]
)
def test_a_name_that_the_service_does_not_take_is_not_sent(storage: CloudStorage, path: str) -> None:
    assert At(storage).refused(make_parcel(BYTES), path=path).kind is K.NAME
    assert storage.requests == []


# --- fake-gcs-server ----------------------------------------------------------------------------------


def test_a_large_file_in_pieces_at_another_server() -> None:
    with fake_server() as server:
        options = {"bucket": server.bucket, "endpoint": server.url, "anonymous": True}
        model = GcsOptions.model_validate({**options, "resumable_above": UNIT, "chunk_size": UNIT})
        connector, parcel = GcsConnector(model, make_env()), make_parcel(LARGE, delivery_id="dlv_1")
        receipt = connector.deliver(parcel, Target(PATH, ConflictPolicy.FAIL), HarnessContext())
        connector.close()
        assert receipt.verified == "md5"
        assert FakeObjects(server).sha256(PATH) == parcel.digests["sha256"]
        metadata = server.about(PATH)["metadata"]
        assert metadata == {"conveyor-delivery": "dlv_1", "conveyor-sha256": parcel.digests["sha256"]}
