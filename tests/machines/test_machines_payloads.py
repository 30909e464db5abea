"""Payloads in buckets: SeaweedFS for S3, Azurite for Azure, fake-gcs-server for Google Cloud Storage."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import obstore
import pytest
from cryptography.fernet import Fernet
from e2e.kit import Place
from obstore.exceptions import GenericError
from servers import azurite
from servers.azurite import Azurite
from servers.fake_gcs import FakeGcs
from servers.s3 import S3Server

from conveyor.clock import SystemClock
from conveyor.contract import DeliveryError, ErrorKind
from conveyor.errors import PayloadError, SubmissionError
from conveyor.ids import new
from conveyor.keyring import Keyring
from conveyor.ledger.records import Filter, PayloadRecord
from conveyor.payloads import PayloadKeys, open_store
from conveyor.payloads.remote import CLOCK, PART, RemoteStore
from conveyor.payloads.remote_file import refused
from conveyor.payloads.sealing import sealed_size
from conveyor.receiver import Receiver

pytestmark = pytest.mark.server

MULTIPART = 2 * PART + 12_345


class Bucket:
    """A fresh bucket: what a config says of it, and the store over it."""

    def __init__(self, url: str, options: dict[str, str], *, multipart: bool = True) -> None:
        self.url, self.options, self.multipart = url, options, multipart
        store = open_store(url, options, clock=SystemClock())
        assert isinstance(store, RemoteStore)
        self.store = store

    def names(self) -> list[str]:
        """What lies in it, by obstore's own listing."""
        return sorted(found["path"] for batch in obstore.list(self.store._bucket) for found in batch)


@pytest.fixture(params=["s3", "az", "gs"])
def bucket(request: pytest.FixtureRequest) -> Bucket:
    name = new("b", SystemClock()).replace("_", "")
    if request.param == "s3":
        s3: S3Server = request.getfixturevalue("seaweed_server")
        s3.client().create_bucket(Bucket=name)
        return Bucket(f"s3://{name}/pay", s3_options(s3))
    if request.param == "az":
        azure: Azurite = request.getfixturevalue("azurite_server")
        azure.client(name).create_container()
        options = {
            "account_name": azurite.ACCOUNT,
            "account_key": azurite.KEY,
            "endpoint": azure.url,
        }
        return Bucket(f"az://{name}/pay", options)
    gcs: FakeGcs = request.getfixturevalue("gcs_server")
    gcs.create_bucket(name)
    key = {"gcs_base_url": gcs.url, "disable_oauth": True}
    login = json.dumps({**key, "client_email": "", "private_key": "", "private_key_id": ""})
    # The server does not know the multipart uploads of Google's XML interface.
    return Bucket(f"gs://{name}/pay", {"service_account_key": login, "allow_http": "true"}, multipart=False)


def s3_options(server: S3Server) -> dict[str, str]:
    return {
        "endpoint": server.url,
        "region": server.region,
        "access_key_id": server.access_key,
        "secret_access_key": server.secret_key,
    }


class Endless(io.RawIOBase):
    """So many bytes that nobody has to hold."""

    def __init__(self, size: int, fails_at: int | None = None) -> None:
        self.size, self.given, self.fails_at = size, 0, fails_at

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.fails_at is not None and self.given >= self.fails_at:
            raise OSError(5, "Input/output error")
        count = min(len(buffer), self.size - self.given)
        buffer[:count] = self.bytes(self.given, count)
        self.given += count
        return count

    @staticmethod
    def bytes(start: int, count: int) -> bytes:
        pattern = b"0123456789abcdef" * (count // 16 + 2)
        return pattern[start % 16 : start % 16 + count]


def digest(stream: Any) -> str:
    found = hashlib.sha256()
    while chunk := stream.read(1 << 20):
        found.update(chunk)
    return found.hexdigest()


def source(error: pytest.ExceptionInfo[DeliveryError]) -> bool:
    return error.value.kind is ErrorKind.SOURCE


@pytest.mark.parametrize("size", [0, 1, 5_000, PART - 1, PART, MULTIPART])
def test_what_was_put_is_read(bucket: Bucket, size: int) -> None:
    if size >= PART and not bucket.multipart:
        pytest.skip("this server takes no multipart uploads")
    seen: list[int] = []
    record = bucket.store.put(Endless(size), progress=seen.append)
    assert (record.size, sum(seen)) == (size, size)
    bucket.store.verify(record)
    with bucket.store.open(record) as stream:
        assert digest(stream) == record.digests["sha256"] == digest(Endless(size))
        assert stream.read(1) == b""
    assert bucket.names() == [record.location]


@pytest.mark.parametrize("size", [0, 1, 200_000, MULTIPART])
def test_what_is_encrypted_is_read_and_lies_there_in_no_form_that_tells(bucket: Bucket, size: int) -> None:
    if size >= PART and not bucket.multipart:
        pytest.skip("this server takes no multipart uploads")
    keys = PayloadKeys(Keyring([Fernet.generate_key()]), encrypts=True)
    store = open_store(bucket.url, bucket.options, clock=SystemClock(), keys=keys)
    record = store.put(Endless(size), size_hint=size)
    assert (record.size, record.digests["sha256"]) == (size, digest(Endless(size)))
    stored = bytes(obstore.get(bucket.store._bucket, record.location).bytes())
    assert len(stored) == sealed_size(size)
    assert Endless.bytes(0, 16) not in stored
    store.verify(record)
    with store.open(record) as stream:
        assert digest(stream) == record.digests["sha256"]
        for start in (size // 2, 0, size // 3, max(0, size - 7)):
            stream.seek(start)
            assert stream.read(70_000) == Endless.bytes(start, min(70_000, size - start))
    with pytest.raises(PayloadError, match="no key here"):
        bucket.store.verify(record)
    if size:
        obstore.put(bucket.store._bucket, record.location, stored[:-1] + bytes([stored[-1] ^ 1]))
        with pytest.raises(DeliveryError) as told, store.open(replace(record, fingerprint=None)) as stream:
            digest(stream)
        assert source(told)
    store.remove(record)
    assert bucket.names() == []


def test_it_is_read_in_any_order(bucket: Bucket) -> None:
    data = bytes(range(256)) * 4_000
    record = bucket.store.put(io.BytesIO(data))
    with bucket.store.open(record) as stream:
        assert stream.seekable()
        assert stream.read(10) == data[:10]
        assert stream.seek(-5, io.SEEK_END) == len(data) - 5
        assert stream.read() == data[-5:]
        assert stream.seek(500_000) == 500_000
        assert stream.read(7) == data[500_000:500_007]
        stream.seek(0)
        assert stream.read() == data
        stream.seek(len(data) + 3)
        assert stream.read() == b""
        with pytest.raises(ValueError, match="negative"):
            stream.seek(-1)


def test_large_ones_are_streamed(bucket: Bucket) -> None:
    """Python's side of it: the parts that travel together, never the whole."""
    if not bucket.multipart:
        pytest.skip("this server takes no multipart uploads")
    tracemalloc.start()
    try:
        record = bucket.store.put(Endless(100 << 20), size_hint=100 << 20)
        with bucket.store.open(record) as stream:
            while stream.read(1 << 20):
                pass
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("fails_at", [3_000, 2 * PART])
def test_a_source_that_breaks_leaves_nothing(bucket: Bucket, fails_at: int) -> None:
    if fails_at > PART and not bucket.multipart:
        pytest.skip("this server takes no multipart uploads")
    with pytest.raises(SubmissionError, match="Input/output error"):
        bucket.store.put(Endless(10 * PART, fails_at=fails_at))
    assert bucket.names() == []


def test_no_parts_are_left_on_s3(seaweed_server: S3Server) -> None:
    client = seaweed_server.client()
    client.create_bucket(Bucket="broken-uploads")
    store = open_store("s3://broken-uploads", s3_options(seaweed_server), clock=SystemClock())
    with pytest.raises(SubmissionError):
        store.put(Endless(10 * PART, fails_at=3 * PART))
    assert not client.list_multipart_uploads(Bucket="broken-uploads").get("Uploads")


def test_a_staged_one_that_is_discarded_is_gone(bucket: Bucket) -> None:
    staged = bucket.store.stage(io.BytesIO(b"photo"))
    bucket.store.publish([staged])
    staged.discard()
    staged.discard()
    assert bucket.names() == []


def test_one_that_is_gone_or_was_overwritten_is_never_delivered(bucket: Bucket) -> None:
    record = bucket.store.put(io.BytesIO(b"photo"))
    obstore.put(bucket.store._bucket, record.location, b"other")  # as long as it
    with pytest.raises(DeliveryError) as told:
        bucket.store.verify(record)
    assert source(told)
    with pytest.raises(DeliveryError) as told, bucket.store.open(record) as stream:
        stream.read()
    assert source(told)
    obstore.delete(bucket.store._bucket, record.location)
    with pytest.raises(DeliveryError, match="gone") as told:
        bucket.store.verify(record)
    assert source(told)
    with pytest.raises(DeliveryError) as told, bucket.store.open(record) as stream:
        stream.read()
    assert source(told)


def test_the_last_byte_comes_only_with_the_right_digest(bucket: Bucket) -> None:
    """Where a service knows no version of an object, its bytes themselves are held against the digest."""
    record = replace(bucket.store.put(io.BytesIO(b"photo")), fingerprint=None)
    obstore.put(bucket.store._bucket, record.location, b"other")
    with bucket.store.open(record) as stream, pytest.raises(DeliveryError, match="not what was submitted"):
        stream.read()
    obstore.put(bucket.store._bucket, record.location, b"pho")
    with pytest.raises(DeliveryError, match="has 3 bytes"):
        bucket.store.verify(record)
    with pytest.raises((DeliveryError, PayloadError)), bucket.store.open(record) as stream:
        stream.read()


def test_removal_and_sweep(bucket: Bucket) -> None:
    kept, removed, orphan = (bucket.store.put(io.BytesIO(b"photo")) for _ in range(3))
    obstore.put(bucket.store._bucket, "somebody/elses.txt", b"x")
    bucket.store.remove(removed)
    bucket.store.remove(removed)
    asked: list[str] = []

    def known(locations: list[str]) -> set[str]:
        asked.extend(locations)
        return {kept.location}

    assert bucket.store.sweep(known, 3600) == 0  # too young
    assert bucket.store.sweep(known, -60) == 1
    assert sorted(asked) == sorted([kept.location, orphan.location])
    assert bucket.names() == sorted([CLOCK, kept.location, "somebody/elses.txt"])


class Ahead(datetime):
    """The clock of a machine that is days ahead."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Ahead:
        return cls.fromtimestamp((datetime.now(UTC) + timedelta(days=3)).timestamp(), tz)


def test_a_machine_whose_clock_is_days_ahead_sweeps_nothing_young(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conveyor.payloads.remote.datetime", Ahead)
    staged = bucket.store.stage(io.BytesIO(b"not committed yet"))
    assert bucket.store.sweep(lambda _: set(), 86_400) == 0
    assert staged.record.location in bucket.names()


def test_a_file_in_place_stays_where_it_is(bucket: Bucket, tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(b"photo")
    record = bucket.store.adopt(file)
    bucket.store.verify(record)
    with bucket.store.open(record) as stream:
        assert stream.read() == b"photo"
    bucket.store.remove(record)
    assert file.exists()
    assert bucket.names() == []


def test_a_store_that_cannot_be_used_says_why(seaweed_server: S3Server) -> None:
    options = s3_options(seaweed_server)

    def store(name: str = "no-such-bucket", **changes: str) -> Any:
        return open_store(f"s3://{name}", {**options, **changes}, clock=SystemClock())

    record = PayloadRecord("pay_1", "a/pay_1", False, 5, {"sha256": "", "md5": ""})
    calls: list[Callable[[Any], Any]] = [
        lambda s: s.check(),
        lambda s: s.put(io.BytesIO(b"photo")),
        lambda s: s.verify(record),
    ]
    for call in calls:
        with pytest.raises(PayloadError, match="no-such-bucket"):
            call(store())
    seaweed_server.client().create_bucket(Bucket="wrong-login")
    for call in calls:
        with pytest.raises(PayloadError, match="403") as told:
            call(store("wrong-login", secret_access_key="wrong-secret-9"))
        assert "wrong-secret-9" not in str(told.value)
    for call in calls:
        with pytest.raises(PayloadError, match="could not"):
            call(store("wrong-login", endpoint="http://127.0.0.1:1"))
    with pytest.raises(PayloadError, match="payload_options"):
        store(colour="red")


@pytest.fixture
def settings(bucket: Bucket) -> dict[str, Any]:
    return {"payloads": bucket.url, "payload_options": bucket.options}


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_a_backup_of_it_is_restored_there_and_elsewhere(
    place: Callable[..., Place], bucket: Bucket, tmp_path: Path, encrypted: bool
) -> None:
    key = {"key": {"value": Fernet.generate_key().decode()}, "payload_encryption": encrypted}
    to = {"type": "webhook", "url": "http://127.0.0.1:9/"}

    def stored_in(prefix: str) -> dict[str, Any]:
        return {**key, "payloads": bucket.url.replace("/pay", prefix), "payload_options": bucket.options}

    sizes = [0, 5_000, MULTIPART if bucket.multipart else PART // 2]
    here = place(hook=to, settings=stored_in("/pay"))
    with here.open() as installation:
        for size in sizes:
            installation.submitter().submit(Endless(size), to=["hook"], filename=f"{size}.jpg")
    made = json.loads(here.cli("backup", str(tmp_path / "backup"), "--json").stdout)
    assert (made["payloads"]["count"], made["payloads"]["damaged"]) == (3, {})
    for settings in (key, stored_in("/again")):
        there = place(hook=to, settings=settings)
        there.cli("restore", str(tmp_path / "backup"))
        with there.open() as installation:
            found = [each.job.payload for each in installation.ledger.deliveries.find(Filter(), limit=10)]
            assert sorted(payload.size for payload in found) == sizes
            for payload in found:
                installation.payloads.verify(payload)
                with installation.payloads.open(payload) as stream:
                    assert digest(stream) == digest(Endless(payload.size))


def test_an_engine_delivers_from_a_bucket_and_cleans_up(
    place: Callable[..., Place],
    hook: dict[str, Any],
    settings: dict[str, Any],
    bucket: Bucket,
    receiver: Receiver,
) -> None:
    here = place(hook=hook, settings={**settings, "retention": {"payloads": {"delivered": 0}}})
    with here.open() as installation:
        installation.submitter().submit(b"photo", to=["hook"], filename="a.jpg")
        assert len(bucket.names()) == 1
    assert here.start("--until-idle").wait(60) == 0
    assert [r.path.read_bytes() for r in receiver.received] == [b"photo"]
    with here.open() as installation:
        from conveyor.delivery.keeper import Keeper

        keeper = Keeper(
            installation.ledger,
            installation.payloads,
            lease=5,
            retention=installation.workshop().retention,
            clock=installation.clock,
            log=_quiet(),
            changed=lambda: None,
            close_idle=lambda: None,
        )
        keeper.remove_payloads()
        assert bucket.names() == [CLOCK]
    for option in ("secret_access_key", "account_key"):
        assert bucket.options.get(option, "-no-such-") not in here.log()


def _quiet() -> Any:
    from conveyor import log

    return log.get()


@pytest.mark.parametrize(
    ("said", "is_the_object"),
    [
        ("Error performing GET http://127.0.0.1:4160/b/a in 2.4168ms - Connection refused", False),
        ("Server returned non-2xx status code: 403 Forbidden: <RequestId>416A416</RequestId>", False),
        ("Server returned non-2xx status code: 416 Range Not Satisfiable: <?xml version", True),
    ],
)
def test_only_the_services_own_code_makes_a_payload_too_short(said: str, is_the_object: bool) -> None:
    """A store that is away costs no delivery its payload."""
    record = PayloadRecord("pay_1", "a/pay_1", False, 5, {"sha256": "", "md5": ""})
    expected = pytest.raises(DeliveryError, match="shorter") if is_the_object else contextlib.nullcontext()
    with expected:
        refused(GenericError(f"Generic S3 error: {said}"), record)
