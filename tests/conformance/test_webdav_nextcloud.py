"""What Nextcloud and ownCloud have beside WebDAV: chunks, checksums, times."""

from __future__ import annotations

import pytest
from e2e.kit import until
from servers import nextcloud
from servers.dav import DavServer
from servers.dav_bench import attempt, dav_bench, retry

from conveyor.contract import ConflictPolicy, ErrorKind, Target
from conveyor.testing import Bench
from conveyor.testing.harness import HarnessContext, make_parcel

pytestmark = pytest.mark.server

MIB = 1 << 20
LARGE = 10 * MIB + 4_711


@pytest.fixture
def bench(nextcloud_server: DavServer) -> Bench:
    observer = nextcloud.NextcloudObserver(nextcloud_server.root)
    observer.wipe()
    options = {
        "url": nextcloud_server.url,
        "username": nextcloud_server.username,
        "password": nextcloud_server.password,
        "chunk_size": 5 * MIB,
    }
    return dav_bench(nextcloud_server, observer=observer, options=options)


def asked(server: DavServer, start: int) -> list[tuple[str, str]]:
    return [
        (one["method"], one["path"].removeprefix("/remote.php/dav/"))
        for one in nextcloud.requests(server)[start:]
        if not one["path"].startswith("/control/")
    ]


def test_a_large_file_goes_in_numbered_chunks(bench: Bench, nextcloud_server: DavServer) -> None:
    start = len(nextcloud.requests(nextcloud_server))
    result = attempt(bench, make_parcel(LARGE), bench.target("a/photo.jpg"))
    assert result.receipt is not None, result.describe()
    log = [one for one in nextcloud.requests(nextcloud_server)[start:] if "/uploads/" in one["path"]]
    names = [one["path"].rpartition("/")[2] for one in log]
    assert [one["method"] for one in log] == ["MKCOL", "PUT", "PUT", "PUT", "MOVE"]
    assert names[1:] == ["00001", "00002", "00003", ".file"]
    for one in log:
        assert one["headers"]["Destination"].startswith(nextcloud_server.url)
        assert one["headers"]["OC-Total-Length"] == str(LARGE)


def test_a_small_file_goes_whole_and_the_server_hashes_it(bench: Bench, nextcloud_server: DavServer) -> None:
    start = len(nextcloud.requests(nextcloud_server))
    parcel = make_parcel(70_001, digests=["sha1"])
    result = attempt(bench, parcel, bench.target("photo.jpg"))
    assert result.receipt is not None, result.describe()
    assert result.receipt.verified == "sha256"
    assert result.receipt.digest == f"sha256:{parcel.digests['sha256']}"
    put = next(one for one in nextcloud.requests(nextcloud_server)[start:] if one["method"] == "PUT")
    assert put["headers"]["OC-Checksum"] == f"SHA1:{parcel.digests['sha1']}"
    assert put["headers"]["Content-Length"] == "70001"


@pytest.mark.parametrize("size", [1_000, LARGE])
def test_the_time_of_submission_is_kept(bench: Bench, nextcloud_server: DavServer, size: int) -> None:
    parcel = make_parcel(size, submitted_at=1_700_000_000.0)
    result = attempt(bench, parcel, bench.target("photo.jpg"), overrides={"keep_time": True})
    assert result.receipt is not None, result.describe()
    assert (nextcloud_server.root / "photo.jpg").stat().st_mtime == 1_700_000_000.0


def test_a_slow_assembly_is_waited_for(bench: Bench, nextcloud_server: DavServer) -> None:
    nextcloud.busy(nextcloud_server, 3)
    start = len(nextcloud.requests(nextcloud_server))
    parcel = make_parcel(LARGE)
    result = attempt(bench, parcel, bench.target("photo.jpg"))
    assert result.receipt is not None, result.describe()
    orders = [one for one in asked(nextcloud_server, start) if one[1].endswith("/.file")]
    assert len(orders) == 4  # 504, 423, 423, 404: done
    assert bench.eyes.sha256("photo.jpg") == parcel.digests["sha256"]


def test_an_assembly_that_outlasts_the_attempt_is_settled_by_the_next(
    bench: Bench, nextcloud_server: DavServer
) -> None:
    nextcloud.busy(nextcloud_server, 1_000)
    parcel, target = make_parcel(LARGE), bench.target("photo.jpg")
    first = attempt(bench, parcel, target, context=HarnessContext(deadline=1.5))
    assert first.receipt is None
    assert first.cancelled or first.kind is ErrorKind.TRANSIENT, first.describe()
    assert bench.eyes.names() == set()
    nextcloud.finish(nextcloud_server)
    second = retry(bench, parcel, target, first)
    assert second.receipt is not None, second.describe()
    assert second.context.sent == 0
    assert bench.eyes.names() == {"photo.jpg"}


def test_what_lies_there_is_not_sent_again(bench: Bench, nextcloud_server: DavServer) -> None:
    parcel, target = make_parcel(LARGE), bench.target("photo.jpg")
    start = len(nextcloud.requests(nextcloud_server))

    def puts() -> list[str]:
        return [path.rpartition("/")[2] for method, path in asked(nextcloud_server, start) if method == "PUT"]

    first = attempt(bench, parcel, target, context=HarnessContext(cancel_at=10 * MIB + 1))
    assert first.cancelled
    # The server may note the request that was cancelled only after the client has gone.
    until(lambda: puts() == ["00001", "00002", "00003"], "all requests of the first attempt are noted")
    second = retry(bench, parcel, target, first)
    assert second.receipt is not None, second.describe()
    assert puts()[3:] == ["00003"]


def test_a_server_without_chunks_gets_the_file_whole(bench: Bench, nextcloud_server: DavServer) -> None:
    """ownCloud Infinite Scale has the address and no such uploads; here the user has none."""
    nextcloud.forbid_uploads(nextcloud_server)
    result = attempt(bench, make_parcel(LARGE), bench.target("photo.jpg"))
    assert result.receipt is not None, result.describe()
    nextcloud.forbid_uploads(nextcloud_server)
    insisting = attempt(bench, make_parcel(LARGE), bench.target("b.jpg"), overrides={"chunked_upload": "on"})
    assert insisting.kind is ErrorKind.CONFIG


def test_a_forbidden_name_is_final(bench: Bench) -> None:
    result = attempt(bench, make_parcel(10), Target("a/movie.part", ConflictPolicy.RENAME))
    assert result.kind is ErrorKind.NAME, result.describe()
    assert bench.eyes.names() == set()
