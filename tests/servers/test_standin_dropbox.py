"""The stand-in for Dropbox: by the vendor's own SDK, and what it refuses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import dropbox
import pytest
from dropbox import files
from dropbox.exceptions import ApiError, AuthError, HttpError, PathRootError, RateLimitError

from servers.standins.dropbox import DropboxStandIn
from servers.standins.dropbox.client import client
from servers.standins.kit import Fault
from servers.standins.messages import Answer

MIB = 1 << 20
OVERWRITE = files.WriteMode.overwrite
CONCURRENT = files.UploadSessionType.concurrent


def content_hash(data: bytes) -> str:
    """https://www.dropbox.com/developers/reference/content-hash, in its own words."""
    blocks = (data[at : at + 4 * MIB] for at in range(0, len(data), 4 * MIB))
    return hashlib.sha256(b"".join(hashlib.sha256(block).digest() for block in blocks)).hexdigest()


@pytest.fixture
def sdk(dropbox_standin: DropboxStandIn) -> Iterator[dropbox.Dropbox]:
    with client(dropbox_standin) as made:
        yield made


def test_a_small_file_goes_up_and_comes_back(sdk: dropbox.Dropbox, dropbox_standin: DropboxStandIn) -> None:
    made = sdk.files_upload(b"hello", "/A/b/Photo.jpg")
    assert (made.size, made.path_lower, made.path_display) == (5, "/a/b/photo.jpg", "/A/b/Photo.jpg")
    assert made.content_hash == hashlib.sha256(hashlib.sha256(b"hello").digest()).hexdigest()
    found, answer = sdk.files_download("/a/B/photo.JPG")
    assert (found.id, answer.content) == (made.id, b"hello")
    assert [e.name for e in sdk.files_list_folder("/a").entries] == ["b"]
    assert [name for name, _ in dropbox_standin.files()] == ["A/b/Photo.jpg"]
    sdk.files_delete_v2("/A")
    assert dropbox_standin.files() == []


def test_a_session_takes_its_bytes_in_order_and_commits(sdk: dropbox.Dropbox) -> None:
    data = bytes(range(256)) * 4096 * 5
    session = sdk.files_upload_session_start(data[:MIB]).session_id
    cursor = files.UploadSessionCursor(session, MIB)
    sdk.files_upload_session_append_v2(data[MIB : 2 * MIB], cursor)
    with pytest.raises(ApiError) as caught:
        sdk.files_upload_session_append_v2(data[MIB : 2 * MIB], cursor)
    assert caught.value.error.get_incorrect_offset().correct_offset == 2 * MIB
    end = files.UploadSessionCursor(session, 2 * MIB)
    made = sdk.files_upload_session_finish(data[2 * MIB :], end, files.CommitInfo("/large.bin"))
    assert (made.size, made.content_hash) == (len(data), content_hash(data))
    with pytest.raises(ApiError) as caught:
        sdk.files_upload_session_finish(b"", end, files.CommitInfo("/large.bin"))
    assert caught.value.error.get_lookup_failed().is_not_found()


def test_a_commit_that_failed_keeps_its_data(sdk: dropbox.Dropbox) -> None:
    sdk.files_upload(b"theirs", "/a")
    with pytest.raises(ApiError) as caught:
        sdk.files_upload(b"ours", "/a")
    written = caught.value.error.get_path()
    assert written.reason.get_conflict().is_file()
    cursor = files.UploadSessionCursor(written.upload_session_id, 4)
    made = sdk.files_upload_session_finish(b"", cursor, files.CommitInfo("/b"))
    assert (made.size, made.name) == (4, "b")


def test_write_modes(sdk: dropbox.Dropbox) -> None:
    first = sdk.files_upload(b"one", "/a.jpg")
    assert sdk.files_upload(b"one", "/A.JPG").rev == first.rev, "the same bytes are no conflict"
    with pytest.raises(ApiError):
        sdk.files_upload(b"one", "/a.jpg", strict_conflict=True)
    assert sdk.files_upload(b"two", "/a.jpg", autorename=True).name == "a (1).jpg"
    second = sdk.files_upload(b"three", "/a.jpg", mode=files.WriteMode.update(first.rev))
    with pytest.raises(ApiError):
        sdk.files_upload(b"four", "/a.jpg", mode=files.WriteMode.update(first.rev))
    third = sdk.files_upload(b"five", "/a.jpg", mode=OVERWRITE)
    assert (third.id, third.rev != second.rev) == (first.id, True)


def _conflict(kind: str) -> Callable[[files.WriteError], bool]:
    return lambda error: error.is_conflict() and getattr(error.get_conflict(), f"is_{kind}")()


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/folder", _conflict("folder")),
        ("/file/below", _conflict("file_ancestor")),
        ("/a//b", files.WriteError.is_malformed_path),
        ("/a/../b", files.WriteError.is_malformed_path),
        ("/Thumbs.db", files.WriteError.is_disallowed_name),
        ("/a\\b", files.WriteError.is_disallowed_name),
        ("/" + "a" * 256, files.WriteError.is_disallowed_name),
        ("/ends with space ", files.WriteError.is_disallowed_name),
    ],
)
def test_paths_that_are_refused(
    sdk: dropbox.Dropbox, path: str, says: Callable[[files.WriteError], bool]
) -> None:
    sdk.files_create_folder_v2("/folder")
    sdk.files_upload(b"x", "/file")
    with pytest.raises(ApiError) as caught:
        sdk.files_upload(b"y", path)
    assert says(caught.value.error.get_path().reason)


def test_what_does_not_arrive_as_it_was_sent_is_refused(sdk: dropbox.Dropbox) -> None:
    with pytest.raises(ApiError) as caught:
        sdk.files_upload(b"x", "/a", content_hash="0" * 64)
    assert caught.value.error.is_content_hash_mismatch()


def test_limits(sdk: dropbox.Dropbox, dropbox_standin: DropboxStandIn) -> None:
    dropbox_standin.upload_limit = 10
    with pytest.raises(ApiError) as caught:
        sdk.files_upload(b"x" * 11, "/a")
    assert caught.value.error.is_payload_too_large()
    dropbox_standin.quota = 5
    with pytest.raises(ApiError) as caught:
        sdk.files_upload(b"x" * 6, "/a")
    assert caught.value.error.get_path().reason.is_insufficient_space()
    assert sdk.users_get_space_usage().used == 0


def test_concurrent_sessions_take_pieces_in_any_order(sdk: dropbox.Dropbox) -> None:
    session = sdk.files_upload_session_start(b"", session_type=CONCURRENT).session_id
    pieces = [bytes([number]) * 4 * MIB for number in range(3)]

    def send(number: int) -> None:
        sdk.files_upload_session_append_v2(
            pieces[number], files.UploadSessionCursor(session, number * 4 * MIB)
        )

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(send, (2, 0, 1)))
    end = files.UploadSessionCursor(session, 12 * MIB)
    sdk.files_upload_session_append_v2(b"end", end, close=True)
    whole = files.UploadSessionCursor(session, 12 * MIB + 3)
    made = sdk.files_upload_session_finish(b"", whole, files.CommitInfo("/c"))
    assert (made.size, made.content_hash) == (12 * MIB + 3, content_hash(b"".join(pieces) + b"end"))


def test_write_contention(dropbox_standin: DropboxStandIn, sdk: dropbox.Dropbox) -> None:
    dropbox_standin.commits_at_once, dropbox_standin.retry_after = 0, 7
    with pytest.raises(RateLimitError) as caught:
        sdk.files_upload(b"x", "/a")
    assert caught.value.backoff == 7.0


def test_a_scope_that_was_not_granted_is_named(dropbox_standin: DropboxStandIn) -> None:
    with client(dropbox_standin, "account_info.read") as sdk, pytest.raises(AuthError) as caught:
        sdk.files_upload(b"x", "/a")
    assert caught.value.error.get_missing_scope().required_scope == "files.content.write"


def test_another_root_needs_permission(dropbox_standin: DropboxStandIn) -> None:
    from dropbox.common import PathRoot

    with client(dropbox_standin) as sdk:
        there = sdk.with_path_root(PathRoot.namespace_id("42"))
        with pytest.raises(PathRootError) as caught:
            there.files_upload(b"x", "/a")
        assert caught.value.error.is_no_permission()
        dropbox_standin.namespaces.add("42")
        assert there.files_upload(b"x", "/a").size == 1


def test_sixteen_at_once(sdk: dropbox.Dropbox, dropbox_standin: DropboxStandIn) -> None:
    data = b"0123456789abcdef" * 4096

    def send(number: int) -> str:
        session = sdk.files_upload_session_start(data).session_id
        end = files.UploadSessionCursor(session, len(data))
        commit = files.CommitInfo(f"/{number % 4}/{number}")
        return str(sdk.files_upload_session_finish(data, end, commit).content_hash)

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(send, range(64))) == {content_hash(data * 2)}
    assert len({name for name, _ in dropbox_standin.files()}) == 64
    assert len(sdk.files_list_folder("").entries) == 4, "each folder was made once"


def test_faults_work_on_its_routes(dropbox_standin: DropboxStandIn, sdk: dropbox.Dropbox) -> None:
    dropbox_standin.faults.append(Fault("upload", Answer(503, body=b"busy", media_type="text/plain")))
    with pytest.raises(HttpError) as caught:
        sdk.files_upload(b"x", "/a")
    assert caught.value.status_code == 503
    assert json.dumps(dropbox_standin.counts()) == '{"upload": 1}'
