"""What the suite does not ask: blocks beside other programs', races, sign-ins, what is stored with a blob."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from servers.azure_bench import MIB, BlobObserver, token
from servers.azurite import Azurite

from conveyor.contract import ConflictPolicy, DeliveryError, ErrorKind, FoundKind, Parcel, Receipt, Target
from conveyor.testing.content import Pattern, read_all
from conveyor.testing.harness import HarnessContext, make_env, make_parcel
from conveyor_connectors.azure_blob.connector import AzureBlobConnector
from conveyor_connectors.azure_blob.options import AzureBlobOptions

pytestmark = pytest.mark.server

CONTAINER = "behaviour"
PATH = "inbox/photo.jpg"
SIZE = 3 * MIB + 4_711
OVERWRITE = Target(PATH, ConflictPolicy.OVERWRITE)
RENAME = Target(PATH, ConflictPolicy.RENAME)
FAIL = Target(PATH, ConflictPolicy.FAIL)


@pytest.fixture(scope="module")
def observed(azurite_server: Azurite) -> Iterator[BlobObserver]:
    made = BlobObserver(azurite_server, CONTAINER)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _empty(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "observed" in request.fixturenames:
        request.getfixturevalue("observed").wipe()


@contextmanager
def connector(server: Azurite, **given: Any) -> Iterator[AzureBlobConnector]:
    sign_in = {"connection_string", "sas_url", "account_url"} & given.keys()
    base = {"container": CONTAINER, "single_put": MIB, "block_size": MIB, "parallel_blocks": 2}
    if not sign_in:
        base["connection_string"] = server.connection_string()
    made = AzureBlobConnector(AzureBlobOptions.model_validate({**base, **given}), make_env())
    try:
        yield made
    finally:
        made.close()


def deliver(
    server: Azurite,
    parcel: Parcel,
    target: Target = OVERWRITE,
    context: HarnessContext | None = None,
    **given: Any,
) -> Receipt:
    with connector(server, **given) as made:
        return made.deliver(parcel, target, context or HarnessContext())


def half_sent(server: Azurite, parcel: Parcel, target: Target = OVERWRITE) -> HarnessContext:
    """An attempt that stops in the middle of the file."""
    context = HarnessContext()

    def refuse() -> None:
        context.fenced_out = True

    context = HarnessContext(on_commit=refuse)
    with connector(server) as made, pytest.raises(BaseException, match="fenced out"):
        made.deliver(parcel, target, context)
    return context


def held(observed: BlobObserver, parcel: Parcel, path: str = PATH) -> bool:
    return observed.sha256(path) == parcel.digests["sha256"]


@pytest.mark.parametrize("size", [0, 100, SIZE])
def test_the_digest_is_stored_with_every_blob(
    azurite_server: Azurite, observed: BlobObserver, size: int
) -> None:
    parcel = make_parcel(size)
    receipt = deliver(azurite_server, parcel, metadata={"note": "x"}, cache_control="no-store", tier="Cool")
    found = observed.client.get_blob_client(PATH).get_blob_properties()
    assert bytes(found.content_settings.content_md5).hex() == parcel.digests["md5"]
    assert found.content_settings.cache_control == "no-store"
    assert found.content_settings.content_type == parcel.media_type
    assert found.blob_tier == "Cool"
    assert found.metadata["note"] == "x"
    assert found.metadata["conveyor_delivery"] == parcel.delivery_id
    assert found.metadata["conveyor_sha256"] == parcel.digests["sha256"]
    assert (receipt.verified, receipt.digest) == ("md5", f"md5:{parcel.digests['md5']}")
    assert receipt.version == found.etag.strip('"')
    assert not observed.waiting(PATH)


def test_another_worker_sends_only_what_is_missing(azurite_server: Azurite, observed: BlobObserver) -> None:
    parcel = make_parcel(SIZE)
    first = half_sent(azurite_server, parcel)
    assert len(observed.waiting(PATH)) == 4
    second = HarnessContext(first.state, attempt=2, fence=2)
    receipt = deliver(azurite_server, parcel, OVERWRITE, second)
    assert second.sent == 0
    assert receipt.extra["blocks"] == 4
    assert held(observed, parcel)


def test_a_saved_upload_whose_blocks_are_gone_begins_anew(
    azurite_server: Azurite, observed: BlobObserver
) -> None:
    parcel = make_parcel(SIZE)
    first = half_sent(azurite_server, parcel)
    observed.drop_waiting(PATH)
    second = HarnessContext(first.state, attempt=2, fence=2)
    deliver(azurite_server, parcel, OVERWRITE, second)
    assert second.sent == SIZE
    assert held(observed, parcel)


def test_blocks_lost_before_the_commit_end_the_session(
    azurite_server: Azurite, observed: BlobObserver
) -> None:
    parcel = make_parcel(SIZE)
    context = HarnessContext(on_commit=lambda: observed.drop_waiting(PATH))
    with connector(azurite_server) as made:
        with pytest.raises(DeliveryError) as lost:
            made.deliver(parcel, OVERWRITE, context)
        assert lost.value.kind is ErrorKind.SESSION_LOST
        assert observed.read(PATH) == b""
        again = HarnessContext(context.state, attempt=2, fence=2)
        made.deliver(parcel, OVERWRITE, again)
    assert held(observed, parcel)


def test_a_commit_whose_answer_was_lost_is_recognised(
    azurite_server: Azurite, observed: BlobObserver
) -> None:
    parcel = make_parcel(SIZE)
    first = half_sent(azurite_server, parcel, RENAME)
    sent = HarnessContext(first.state, attempt=2, fence=2)
    deliver(azurite_server, parcel, RENAME, sent)
    etag = observed.client.get_blob_client(PATH).get_blob_properties().etag
    for target in (OVERWRITE, RENAME, FAIL):
        late = HarnessContext(first.state, attempt=3, fence=3)
        assert deliver(azurite_server, parcel, target, late).path == PATH
        assert late.sent == 0
    assert observed.client.get_blob_client(PATH).get_blob_properties().etag == etag


@pytest.mark.parametrize("length", [16, 36, 48, 64])
def test_other_programs_unfinished_blocks_do_no_harm_and_come_to_none(
    azurite_server: Azurite, observed: BlobObserver, length: int
) -> None:
    """All waiting blocks of a name must have ids of one length; theirs stay until somebody commits."""
    blob = observed.client.get_blob_client(PATH)
    blob.stage_block("x" * length, b"foreign")
    parcel = make_parcel(SIZE)
    stopped = half_sent(azurite_server, parcel)
    assert len(observed.waiting(PATH)) == 5, "theirs was removed"
    deliver(azurite_server, parcel, OVERWRITE, HarnessContext(stopped.state, attempt=2, fence=2))
    assert held(observed, parcel)


def test_ids_of_any_bytes_are_measured(azurite_server: Azurite, observed: BlobObserver) -> None:
    raw = observed.client.get_blob_client(PATH)._client.block_blob
    raw.stage_block(block_id="/" * 21 + "w==", content_length=7, body=b"foreign")  # 16 bytes, no UTF-8
    parcel = make_parcel(SIZE)
    deliver(azurite_server, parcel)
    assert held(observed, parcel)


def test_ids_too_short_to_stand_beside_are_a_matter_of_time(
    azurite_server: Azurite, observed: BlobObserver
) -> None:
    observed.client.get_blob_client(PATH).stage_block("short", b"foreign")
    with pytest.raises(DeliveryError) as waits:
        deliver(azurite_server, make_parcel(SIZE))
    assert waits.value.kind is ErrorKind.TRANSIENT
    assert "week" in str(waits.value.hint)
    assert PATH not in observed.names()


def test_two_uploads_of_one_name_never_mix(azurite_server: Azurite, observed: BlobObserver) -> None:
    """Both stage their blocks before either commits: with ids made of offsets the blob would hold both."""
    meet = threading.Barrier(2, timeout=30)
    parcels = [make_parcel(Pattern(SIZE, seed)) for seed in (1, 2)]
    ended: list[object] = []

    def work(parcel: Parcel) -> None:
        try:
            ended.append(deliver(azurite_server, parcel, context=HarnessContext(on_commit=meet.wait)))
        except DeliveryError as error:
            ended.append(error.kind)

    threads = [threading.Thread(target=work, args=(parcel,)) for parcel in parcels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(isinstance(one, Receipt) for one in ended) >= 1
    assert all(isinstance(one, Receipt) or one is ErrorKind.SESSION_LOST for one in ended)
    assert observed.read(PATH) in [read_all(Pattern(SIZE, seed)) for seed in (1, 2)]


@pytest.mark.parametrize("size", [1_000, SIZE])
def test_only_one_of_many_creates_a_name(azurite_server: Azurite, observed: BlobObserver, size: int) -> None:
    start = threading.Barrier(4, timeout=30)
    parcels = [make_parcel(Pattern(size, seed)) for seed in range(4)]
    paths: dict[str, Parcel] = {}

    def work(parcel: Parcel) -> None:
        start.wait()
        for attempt in range(1, 5):
            context = HarnessContext({}, attempt=attempt, fence=attempt)
            with suppress(DeliveryError):  # another's commit may drop its blocks, once for each of them
                paths[str(deliver(azurite_server, parcel, RENAME, context).path)] = parcel
                return

    threads = [threading.Thread(target=work, args=(parcel,)) for parcel in parcels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(paths) == 4
    assert observed.names() == set(paths)
    assert all(held(observed, parcel, path) for path, parcel in paths.items())


def test_abandon_shows_nobody_anything(azurite_server: Azurite, observed: BlobObserver) -> None:
    stopped = half_sent(azurite_server, make_parcel(SIZE))
    with connector(azurite_server) as made:
        made.abandon(stopped.state, HarnessContext())
    assert observed.names() == set()


def test_a_blob_of_another_type_is_left_alone(azurite_server: Azurite, observed: BlobObserver) -> None:
    observed.client.get_blob_client(PATH).create_append_blob()
    assert deliver(azurite_server, make_parcel(100), RENAME).renamed
    with pytest.raises(DeliveryError) as taken:
        deliver(azurite_server, make_parcel(100), FAIL)
    assert taken.value.kind is ErrorKind.CONFLICT


def test_a_lease_is_a_matter_of_time(azurite_server: Azurite, observed: BlobObserver) -> None:
    observed.put(PATH, b"leased")
    lease = observed.client.get_blob_client(PATH).acquire_lease()
    with pytest.raises(DeliveryError) as refused:
        deliver(azurite_server, make_parcel(100))
    lease.release()
    assert refused.value.kind is ErrorKind.TRANSIENT
    assert "lease" in str(refused.value.hint)


@pytest.mark.parametrize("size", [100, SIZE])
@pytest.mark.parametrize("form", ["sas_url", "connection_string", "sas_token"])
def test_a_sas_that_may_create_write_and_read_suffices(
    azurite_server: Azurite, observed: BlobObserver, form: str, size: int
) -> None:
    sas = azurite_server.sas(CONTAINER, "racw")
    given: dict[str, Any] = {
        "sas_url": {"sas_url": f"{azurite_server.url}/{CONTAINER}?{sas}", "container": None},
        "connection_string": {
            "connection_string": f"BlobEndpoint={azurite_server.url};SharedAccessSignature={sas}"
        },
        "sas_token": {"account_url": azurite_server.url, "sas_token": sas},
    }[form]
    parcel = make_parcel(size)
    observed.put(PATH, b"a stranger")
    receipt = deliver(azurite_server, parcel, RENAME, **given)
    assert receipt.path == "inbox/photo (1).jpg"
    assert held(observed, parcel, str(receipt.path))
    assert "sig" not in receipt.reference
    with connector(azurite_server, **given) as made:
        report = made.check(HarnessContext())
        undone = {step.name for step in report.steps if not step.done}
        assert undone == {"container", "delete"}


@pytest.mark.parametrize("size", [100, SIZE])
def test_a_sas_that_may_not_read_still_creates(
    azurite_server: Azurite, observed: BlobObserver, size: int
) -> None:
    given = {"account_url": azurite_server.url, "sas_token": azurite_server.sas(CONTAINER, "cw")}
    observed.put(PATH, b"a stranger")
    parcel = make_parcel(size)
    assert deliver(azurite_server, parcel, RENAME, **given).path == "inbox/photo (1).jpg"
    with pytest.raises(DeliveryError) as taken:
        deliver(azurite_server, parcel, FAIL, **given)
    assert taken.value.kind is ErrorKind.CONFLICT
    with connector(azurite_server, **given) as made:
        assert made.find(parcel, FAIL, HarnessContext()).kind is FoundKind.UNSURE
    assert observed.read(PATH) == b"a stranger"


def test_the_machines_identity_signs_in(azurite_tls_server: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    fake = ModuleType("azure.identity")

    class DefaultAzureCredential:
        def __init__(self, **_: Any) -> None:
            self.closed = False

        def get_token(self, *scopes: str, **_: Any) -> AccessToken:
            asked.extend(scopes)
            return AccessToken(token(), int(time.time()) + 3600)

        def close(self) -> None:
            asked.append("closed")

    fake.DefaultAzureCredential = DefaultAzureCredential  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "azure.identity", fake)
    observed = BlobObserver(azurite_tls_server, "identity")
    assert azurite_tls_server.certificates is not None
    given = {
        "account_url": azurite_tls_server.url,
        "identity": True,
        "container": "identity",
        "ca_bundle": str(azurite_tls_server.certificates.ca),
    }
    parcel = make_parcel(SIZE)
    try:
        deliver(azurite_tls_server, parcel, **given)
        assert held(observed, parcel)
    finally:
        observed.wipe()
        observed.close()
    *scopes, last = asked  # parts that begin at the same instant may each ask for the first token
    assert (set(scopes), last) == ({"https://storage.azure.com/.default"}, "closed")


def test_a_refused_token_is_fetched_anew(
    azurite_tls_server: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = ModuleType("azure.identity")
    made_credentials: list[object] = []

    class DefaultAzureCredential:
        def __init__(self, **_: Any) -> None:
            made_credentials.append(self)

        def get_token(self, *_: str, **__: Any) -> AccessToken:
            text = "expired" if len(made_credentials) == 1 else token()
            return AccessToken(text, int(time.time()) + 3600)

    fake.DefaultAzureCredential = DefaultAzureCredential  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "azure.identity", fake)
    observed = BlobObserver(azurite_tls_server, "refused")
    assert azurite_tls_server.certificates is not None
    given = {
        "account_url": azurite_tls_server.url,
        "identity": True,
        "container": "refused",
        "ca_bundle": str(azurite_tls_server.certificates.ca),
    }
    parcel = make_parcel(100)
    try:
        with connector(azurite_tls_server, **given) as made:
            with pytest.raises(DeliveryError) as first:
                made.deliver(parcel, OVERWRITE, HarnessContext())
            assert first.value.kind is ErrorKind.AUTH_EXPIRED
            made.deliver(parcel, OVERWRITE, HarnessContext())
        assert held(observed, parcel)
    finally:
        observed.wipe()
        observed.close()
    assert len(made_credentials) == 2
