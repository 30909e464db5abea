"""Conflict policies and parts against a bucket in memory that misbehaves on order."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from conveyor.contract import AttemptCancelled, ConflictPolicy, DeliveryError, ErrorKind, Parcel, Target
from conveyor.kit.bodies import Body
from conveyor.kit.naming import NUMBERED, numbered
from conveyor.testing.harness import HarnessContext, SimpleMemory, make_parcel
from conveyor_connectors.s3.multipart import part_size
from conveyor_connectors.s3.objects import (
    DELIVERY,
    SHA256,
    Bucket,
    Head,
    NoPreconditions,
    Part,
    Stored,
    Taken,
)
from conveyor_connectors.s3.options import S3Options
from conveyor_connectors.s3.placing import KEY_MAX, Placer, check_key
from conveyor_connectors.s3.preconditions import Preconditions
from conveyor_connectors.s3.spec import NAMES

MIB = 1 << 20
RENAME, FAIL, SKIP = ConflictPolicy.RENAME, ConflictPolicy.FAIL, ConflictPolicy.SKIP


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class FakeBucket:
    """A bucket; ``honours``: True, False (ignores) or None (501)."""

    def __init__(self, honours: bool | None = True, complete: bool | None = True) -> None:
        self.honours, self.complete_honours = honours, complete
        self.objects: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.calls: list[str] = []
        self.metadata = True
        self.opaque = False
        self.blind = False
        self.before_complete: Callable[[], None] = lambda: None
        self.after_complete: Callable[[], None] = lambda: None
        self.damage: list[int] = []

    def head(self, key: str, _: Any) -> Head | None:
        self.calls.append("head")
        if self.blind:
            raise DeliveryError(ErrorKind.CONFIG, "forbidden", code=403)
        if key not in self.objects:
            return None
        data, metadata = self.objects[key]
        return Head(len(data), f'"{md5(data)}"', metadata if self.metadata else {}, None, None)

    def put(self, parcel: Parcel, key: str, context: Any, *, create: bool) -> Stored:
        self.calls.append("put" if not create else "put-if-none")
        self._condition(key, create, self.honours)
        data = parcel.open().read()
        self._store(key, data, parcel)
        return Stored(f'"{md5(data)}"', None, "md5", None)

    def create_upload(self, parcel: Parcel, key: str, _: Any) -> str:
        self.calls.append("create")
        name = f"{key}#{len(self.calls)}#{parcel.delivery_id}#{parcel.digests['sha256']}"
        self.uploads[name] = {}
        return name

    def parts(self, key: str, upload: str, _: Any) -> Iterator[Part]:
        self.calls.append("list")
        for number, data in self._upload(upload).items():
            yield Part(number, len(data), self._etag(data), None)

    def put_part(self, key: str, upload: str, number: int, body: Body, digest: str, _: Any) -> Part:
        self.calls.append(f"part {number}")
        body.begin()
        data = b"".join(iter(body.read, b""))
        if number in self.damage:
            self.damage.remove(number)
            data = b"?" + data[1:]
        self._upload(upload)[number] = data
        return Part(number, len(data), self._etag(data), None)

    def complete(self, key: str, upload: str, parts: list[Part], _: Any, *, create: bool) -> tuple[str, None]:
        self.calls.append("complete-if-none" if create else "complete")
        self.before_complete()
        held = self._upload(upload)
        self._condition(key, create, self.complete_honours)
        data = b"".join(held[part.number] for part in parts)
        _, _, delivery, sha256 = upload.split("#")
        self.objects[key] = data, {DELIVERY: delivery, SHA256: sha256}
        del self.uploads[upload]
        self.after_complete()
        return "opaque-etag", None

    def abort(self, key: str, upload: str, _: Any) -> None:
        self.calls.append("abort")
        self.uploads.pop(upload, None)

    def stranger(self, key: str, data: bytes = b"somebody else's") -> None:
        self.objects[key] = data, {}

    def _store(self, key: str, data: bytes, parcel: Parcel) -> None:
        self.objects[key] = data, {DELIVERY: parcel.delivery_id, SHA256: parcel.digests["sha256"]}

    def _condition(self, key: str, create: bool, honours: bool | None) -> None:
        if create and honours is None:
            raise NoPreconditions
        if create and honours and key in self.objects:
            raise Taken

    def _upload(self, upload: str) -> dict[int, bytes]:
        if upload not in self.uploads:
            raise DeliveryError(ErrorKind.SESSION_LOST, "no such upload", code="NoSuchUpload")
        return self.uploads[upload]

    def _etag(self, data: bytes) -> str:
        return f'"{"f" * 32}"' if self.opaque else f'"{md5(data)}"'


def placer(bucket: FakeBucket, memory: SimpleMemory | None = None, **more: Any) -> Placer:
    given = {"bucket": "b", "endpoint": "https://s3.example.com", "parallel_parts": 1, **more}
    options = S3Options.model_validate(given)
    return Placer(cast(Bucket, bucket), options, Preconditions(options, memory or SimpleMemory()))


SMALL: dict[str, Any] = {}
LARGE = {"multipart_threshold": 1, "part_size": 5 * MIB}
WAYS = pytest.mark.parametrize("honours", [True, False, None], ids=["honours", "ignores", "501"])
SIZES = pytest.mark.parametrize("way", [SMALL, LARGE], ids=["one request", "parts"])


@WAYS
@SIZES
@pytest.mark.parametrize("policy", [RENAME, FAIL, SKIP])
def test_nobodys_file_is_overwritten(
    honours: bool | None, way: dict[str, Any], policy: ConflictPolicy
) -> None:
    bucket = FakeBucket(honours, honours)
    bucket.stranger("a/p.jpg")
    parcel = make_parcel(5_000)
    target = Target("a/p.jpg", policy)
    if policy is FAIL:
        with pytest.raises(DeliveryError) as taken:
            placer(bucket, **way).place(parcel, target, HarnessContext())
        assert taken.value.kind is ErrorKind.CONFLICT
    else:
        receipt = placer(bucket, **way).place(parcel, target, HarnessContext())
        assert receipt.skipped is (policy is SKIP)
        assert receipt.path == ("a/p.jpg" if policy is SKIP else "a/p (1).jpg")
    assert bucket.objects["a/p.jpg"][0] == b"somebody else's"
    assert not bucket.uploads


@WAYS
@SIZES
@pytest.mark.parametrize("policy", list(ConflictPolicy))
def test_the_same_delivery_again_is_the_same_object(
    honours: bool | None, way: dict[str, Any], policy: ConflictPolicy
) -> None:
    bucket, parcel, first = FakeBucket(honours, honours), make_parcel(5_000), HarnessContext()
    one = placer(bucket, **way).place(parcel, Target("a/p.jpg", policy), first)
    again = HarnessContext(first.state, attempt=2)
    two = placer(bucket, **way).place(parcel, Target("a/p.jpg", policy), again)
    assert one.path == two.path == "a/p.jpg"
    assert not two.skipped
    assert set(bucket.objects) == {"a/p.jpg"}


def test_a_proved_endpoint_is_asked_once_per_object() -> None:
    bucket, memory = FakeBucket(True), SimpleMemory()
    placer(bucket, memory).place(make_parcel(10), Target("one.jpg", RENAME), HarnessContext())
    assert bucket.calls == ["head", "put-if-none", "put-if-none"], "looked first, stored, tried out"
    bucket.calls.clear()
    placer(bucket, memory).place(make_parcel(11), Target("two.jpg", RENAME), HarnessContext())
    assert bucket.calls == ["put-if-none"]


@pytest.mark.parametrize("honours", [False, None], ids=["ignores", "501"])
def test_an_endpoint_without_preconditions_is_looked_at_first(honours: bool | None) -> None:
    bucket, memory = FakeBucket(honours), SimpleMemory()
    placer(bucket, memory).place(make_parcel(10), Target("one.jpg", RENAME), HarnessContext())
    bucket.calls.clear()
    placer(bucket, memory).place(make_parcel(11), Target("two.jpg", RENAME), HarnessContext())
    assert bucket.calls == ["head", "put", "head"], "looked, stored, made sure"


def test_options_overrule_what_could_be_learnt() -> None:
    bucket = FakeBucket(True)
    made = placer(bucket, conditional_writes="yes")
    made.place(make_parcel(10), Target("one.jpg", RENAME), HarnessContext())
    assert bucket.calls == ["put-if-none"]
    bucket.calls.clear()
    placer(bucket, conditional_writes="no").place(make_parcel(11), Target("2.jpg", RENAME), HarnessContext())
    assert "put-if-none" not in bucket.calls


def test_a_change_of_the_endpoint_is_learnt_anew() -> None:
    options = S3Options.model_validate({"bucket": "b", "endpoint": "https://s3.example.com"})
    memory = SimpleMemory()
    Preconditions(options, memory).learn(False)
    assert Preconditions(options, memory).known() is False
    Preconditions(options, memory).learn(True)
    assert Preconditions(options, memory).known() is True
    other = S3Options.model_validate({"bucket": "c", "endpoint": "https://s3.example.com"})
    assert Preconditions(other, memory).known() is None


def test_who_waits_for_another_upload_of_the_name_can_be_cancelled() -> None:
    bucket, waiting = FakeBucket(False), HarnessContext()
    options = S3Options.model_validate({"bucket": "b", "endpoint": "https://s3.example.com"})
    another = Preconditions(options, SimpleMemory())
    with ThreadPoolExecutor(1) as pool, another.alone("p.jpg", lambda: None):
        started = pool.submit(placer(bucket).place, make_parcel(10), Target("p.jpg", RENAME), waiting)
        waiting.cancel()
        with pytest.raises(AttemptCancelled):
            started.result(5)
    assert bucket.calls == []


def test_credentials_that_may_not_look_still_create() -> None:
    bucket = FakeBucket(True)
    bucket.blind = True
    made = placer(bucket, conditional_writes="yes")
    assert made.place(make_parcel(10), Target("p.jpg", FAIL), HarnessContext()).path == "p.jpg"
    with pytest.raises(DeliveryError) as taken:
        made.place(make_parcel(11), Target("p.jpg", FAIL), HarnessContext())
    assert taken.value.kind is ErrorKind.CONFLICT
    with pytest.raises(DeliveryError) as unsafe:
        placer(bucket, conditional_writes="no").place(make_parcel(1), Target("q.jpg", FAIL), HarnessContext())
    assert unsafe.value.kind is ErrorKind.CONFIG, "neither precondition nor looking: nothing may be written"


def test_a_gateway_that_drops_metadata_is_recognised_by_the_digest_on_a_retry() -> None:
    bucket, parcel, target = FakeBucket(False), make_parcel(5_000), Target("p.jpg", RENAME)
    bucket.metadata = False
    first = HarnessContext()
    placer(bucket).place(parcel, target, first)
    again = placer(bucket).place(parcel, target, HarnessContext(first.state, attempt=2))
    assert again.path == "p.jpg"
    other = dataclasses.replace(parcel, delivery_id="dlv_other")
    assert placer(bucket).place(other, target, HarnessContext()).path == "p (1).jpg"


def test_another_name_is_saved_before_it_is_used() -> None:
    bucket = FakeBucket(True)
    bucket.stranger("p.jpg")
    seen: list[set[str]] = []
    context = HarnessContext(on_save=lambda _: seen.append(set(bucket.objects)))
    placer(bucket, conditional_writes="yes").place(make_parcel(10), Target("p.jpg", RENAME), context)
    assert context.state["path"] == "p (1).jpg"
    assert seen == [{"p.jpg"}], "the first name costs no durable write: the object itself says whose it is"


def test_the_thousandth_name_does_not_ask_a_thousand_times() -> None:
    bucket = FakeBucket(True)
    for number in range(1_000):
        bucket.stranger(Target("p.jpg", RENAME).numbered(number))
    receipt = placer(bucket, conditional_writes="yes").place(
        make_parcel(10), Target("p.jpg", RENAME), HarnessContext()
    )
    assert receipt.renamed
    assert len(bucket.calls) <= 2 * NUMBERED + 1


@pytest.mark.parametrize("stem", ["x", "é", "🏔"])
def test_a_numbered_name_still_fits(stem: str) -> None:
    longest = stem * ((KEY_MAX - 6) // len(stem.encode()))
    target = Target(f"a/{longest}.jpg", RENAME)
    check_key(target.path)
    for number in (1, 40, 4_294_967_295):
        key = numbered(target, number, NAMES)
        check_key(key)
        assert key.endswith(f" ({number}).jpg")


@pytest.mark.parametrize("key", ["a" * 1_025, "é" * 513, "a//b", "/a", "a/", "a/../b", "./a", ""])
def test_keys_that_are_refused(key: str) -> None:
    with pytest.raises(DeliveryError) as refused:
        check_key(key)
    assert refused.value.kind is ErrorKind.NAME


# --- parts -------------------------------------------------------------------------------------------


def send(bucket: FakeBucket, parcel: Parcel, context: HarnessContext) -> Any:
    target = Target("big.bin", ConflictPolicy.OVERWRITE)
    return placer(bucket, **LARGE).place(parcel, target, context)


def test_a_half_sent_file_is_continued_with_the_missing_parts() -> None:
    bucket, parcel, first = FakeBucket(), make_parcel(12 * MIB), HarnessContext()
    bucket.before_complete = lambda: (_ for _ in ()).throw(DeliveryError(ErrorKind.TRANSIENT, "cut"))
    with pytest.raises(DeliveryError):
        send(bucket, parcel, first)
    (upload,) = bucket.uploads
    del bucket.uploads[upload][2]
    bucket.uploads[upload][3] = b"other bytes of another length"
    bucket.before_complete, bucket.calls = lambda: None, []
    second = HarnessContext(first.state, attempt=2)
    receipt = send(bucket, parcel, second)
    assert [call for call in bucket.calls if call.startswith("part")] == ["part 2", "part 3"]
    assert second.sent == 7 * MIB
    assert bucket.objects["big.bin"][0] == parcel.open().read()
    assert receipt.extra["parts"] == 3


def test_a_lost_completion_is_not_sent_again() -> None:
    """The answer was lost, the next attempt finds no upload: what stands there is its own."""
    bucket, parcel, first = FakeBucket(), make_parcel(6 * MIB), HarnessContext()
    bucket.after_complete = lambda: (_ for _ in ()).throw(DeliveryError(ErrorKind.UNKNOWN_OUTCOME, "lost"))
    with pytest.raises(DeliveryError):
        send(bucket, parcel, first)
    bucket.after_complete, bucket.calls = lambda: None, []
    receipt = send(bucket, parcel, HarnessContext(first.state, attempt=2))
    assert receipt.path == "big.bin"
    assert not [call for call in bucket.calls if call.startswith(("part", "create"))]


def test_a_damaged_part_is_sent_again() -> None:
    bucket, parcel = FakeBucket(), make_parcel(12 * MIB)
    bucket.damage = [2]
    send(bucket, parcel, HarnessContext())
    assert bucket.calls.count("part 2") == 2
    assert bucket.objects["big.bin"][0] == parcel.open().read()


def test_etags_that_mean_nothing_are_no_damage() -> None:
    bucket, parcel, context = FakeBucket(), make_parcel(22 * MIB), HarnessContext()
    bucket.opaque = True
    receipt = send(bucket, parcel, context)
    assert receipt.verified == "size"
    assert [bucket.calls.count(f"part {number}") for number in range(1, 6)] == [2, 1, 1, 1, 1]


@pytest.mark.parametrize("kind", [ErrorKind.SOURCE, ErrorKind.TRANSIENT])
def test_a_final_failure_removes_the_parts_and_a_passing_one_keeps_them(kind: ErrorKind) -> None:
    bucket, context = FakeBucket(), HarnessContext()
    error = DeliveryError(kind, "made up")
    with pytest.raises(DeliveryError):
        send(bucket, make_parcel(12 * MIB, raises_at=8 * MIB, error=lambda: error), context)
    assert bool(bucket.uploads) is (kind is ErrorKind.TRANSIENT)
    assert ("upload" in context.state) is (kind is ErrorKind.TRANSIENT)


def test_two_completions_at_once_begin_anew() -> None:
    bucket, context = FakeBucket(), HarnessContext()
    conflict = DeliveryError(ErrorKind.TRANSIENT, "conflict", code="ConditionalRequestConflict")
    bucket.before_complete = lambda: (_ for _ in ()).throw(conflict)
    with pytest.raises(DeliveryError) as raced:
        send(bucket, make_parcel(6 * MIB), context)
    assert raced.value.kind is ErrorKind.SESSION_LOST
    assert not bucket.uploads
    assert "upload" not in context.state


def test_a_stranger_who_comes_during_the_upload_keeps_the_name() -> None:
    bucket, parcel = FakeBucket(), make_parcel(6 * MIB)
    bucket.before_complete = lambda: bucket.objects.setdefault("big.bin", (b"stranger", {}))
    receipt = placer(bucket, **LARGE).place(parcel, Target("big.bin", RENAME), HarnessContext())
    assert receipt.path == "big (1).bin"
    assert bucket.objects["big.bin"][0] == b"stranger"
    assert not bucket.uploads


def test_fenced_out_before_the_completion_nothing_is_published() -> None:
    bucket = FakeBucket()
    context = HarnessContext(on_commit=lambda: setattr(context, "fenced_out", True))
    with pytest.raises(BaseException, match="fenced out"):
        send(bucket, make_parcel(6 * MIB), context)
    assert not bucket.objects
    assert not [call for call in bucket.calls if call.startswith("complete")]


@pytest.mark.parametrize(
    ("size", "maximum", "expected"),
    [
        (1, 10_000, 16 * MIB),
        (10_000 * 16 * MIB, 10_000, 16 * MIB),
        (10_000 * 16 * MIB + 1, 10_000, 32 * MIB),
        (5 << 40, 10_000, 1024 * MIB),
        (17 << 30, 1_000, 32 * MIB),
    ],
)
def test_part_sizes(size: int, maximum: int, expected: int) -> None:
    options = S3Options.model_validate({"bucket": "b", "max_parts": maximum})
    assert part_size(size, options) == expected
    assert -(-size // expected) <= maximum


def test_more_than_the_parts_can_hold() -> None:
    with pytest.raises(DeliveryError) as refused:
        part_size(100 << 40, S3Options.model_validate({"bucket": "b"}))
    assert refused.value.kind is ErrorKind.TOO_LARGE
