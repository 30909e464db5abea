"""The stand-in for Dropbox: by the vendor's own SDK, and what it refuses."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import dropbox
import pytest
import requests
from dropbox import files
from dropbox.exceptions import ApiError, AuthError, HttpError, PathRootError, RateLimitError

from servers.oauth_rules import CLIENT
from servers.standins.dropbox import DropboxStandIn
from servers.standins.kit import Fault
from servers.standins.messages import Answer

MIB = 1 << 20
OVERWRITE = files.WriteMode.overwrite


def client(standin: DropboxStandIn, *scopes: str, **known: Any) -> dropbox.Dropbox:
    token, _ = standin.sign_in(" ".join(scopes or standin.scopes))

    class Here(dropbox.Dropbox):
        def _get_route_url(self, hostname: str, route_name: str) -> str:
            return f"{standin.url}/2/{route_name}"

    session = requests.Session()
    session.trust_env = False
    return Here(
        token, session=session, max_retries_on_error=0, max_retries_on_rate_limit=0, timeout=10, **known
    )


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
    assert made.size == len(data)
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
    dropbox_standin.tree.quota = 5
    with pytest.raises(ApiError) as caught:
        sdk.files_upload(b"x" * 6, "/a")
    assert caught.value.error.get_path().reason.is_insufficient_space()
    assert sdk.users_get_space_usage().used == 0


def test_sessions_end(sdk: dropbox.Dropbox, dropbox_standin: DropboxStandIn) -> None:
    session = sdk.files_upload_session_start(b"abc", close=True).session_id
    cursor = files.UploadSessionCursor(session, 3)
    with pytest.raises(ApiError) as caught:
        sdk.files_upload_session_append_v2(b"d", cursor)
    assert caught.value.error.is_closed()
    began = dropbox_standin.now()
    dropbox_standin.now = lambda: began + 8 * 86_400
    with pytest.raises(ApiError) as caught:
        sdk.files_upload_session_finish(b"", cursor, files.CommitInfo("/a"))
    assert caught.value.error.get_lookup_failed().is_not_found()


def test_concurrent_sessions_want_multiples_of_four_mebibytes(sdk: dropbox.Dropbox) -> None:
    kind = files.UploadSessionType.concurrent
    with pytest.raises(ApiError) as caught:
        sdk.files_upload_session_start(b"x", session_type=kind)
    assert caught.value.error.is_concurrent_session_data_not_allowed()
    session = sdk.files_upload_session_start(b"", session_type=kind).session_id
    with pytest.raises(ApiError) as caught:
        sdk.files_upload_session_append_v2(b"x", files.UploadSessionCursor(session, 1))
    assert caught.value.error.is_concurrent_session_invalid_offset()
    sdk.files_upload_session_append_v2(b"end", files.UploadSessionCursor(session, 4 * MIB), close=True)
    made = sdk.files_upload_session_finish(b"", files.UploadSessionCursor(session, 0), files.CommitInfo("/c"))
    assert made.size == 4 * MIB + 3


def test_write_contention(dropbox_standin: DropboxStandIn, sdk: dropbox.Dropbox) -> None:
    dropbox_standin.commits_at_once, dropbox_standin.retry_after = 0, 7
    with pytest.raises(RateLimitError) as caught:
        sdk.files_upload(b"x", "/a")
    assert caught.value.backoff == 7.0


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda s, t: s.refused_tokens.add(t), "expired_access_token"),
        (lambda s, t: s.rules.revoke_all(), "invalid_access_token"),
        (lambda s, t: setattr(s, "suspended", True), "user_suspended"),
    ],
)
def test_logins_that_are_refused(
    dropbox_standin: DropboxStandIn, break_it: Callable[[DropboxStandIn, str], object], says: str
) -> None:
    with client(dropbox_standin) as sdk:
        break_it(dropbox_standin, sdk._oauth2_access_token)
        with pytest.raises((AuthError, Exception)) as caught:
            sdk.files_upload(b"x", "/a")
        assert says in str(caught.value)


def test_a_scope_that_was_not_granted_is_named(dropbox_standin: DropboxStandIn) -> None:
    with client(dropbox_standin, "account_info.read") as sdk, pytest.raises(AuthError) as caught:
        sdk.files_upload(b"x", "/a")
    assert caught.value.error.get_missing_scope().required_scope == "files.content.write"


def test_another_root_needs_permission(dropbox_standin: DropboxStandIn) -> None:
    from dropbox.common import PathRoot

    with client(dropbox_standin) as sdk:
        there = sdk.with_path_root(PathRoot.namespace_id("42"))
        with pytest.raises((PathRootError, HttpError)):
            there.files_upload(b"x", "/a")
        dropbox_standin.namespaces.add("42")
        assert there.files_upload(b"x", "/a").size == 1


def post(standin: DropboxStandIn, route: str, **known: Any) -> requests.Response:
    token, _ = standin.sign_in(" ".join(standin.scopes))
    headers = {"Authorization": f"Bearer {token}", **known.pop("headers", {})}
    with requests.Session() as session:
        session.trust_env = False
        return session.post(f"{standin.url}/2/{route}", headers=headers, timeout=10, **known)


OCTETS = {"Content-Type": "application/octet-stream"}


def arg(text: str) -> dict[str, str]:
    return {**OCTETS, "Dropbox-API-Arg": text}


@pytest.mark.parametrize(
    ("route", "known", "says"),
    [
        ("files/upload", {"data": b"x", "headers": OCTETS}, "Dropbox-API-Arg"),
        ("files/upload", {"data": b"x", "headers": {"Dropbox-API-Arg": '{"path": "/a"}'}}, "Content-Type"),
        (
            "files/upload",
            {"data": b"x", "headers": arg('{"path": "a"}')},
            "pattern",
        ),
        (
            "files/upload",
            {"data": b"x", "headers": arg('{"path": "/a", "x": 1}')},
            "x",
        ),
        ("files/upload", {"data": b"x", "headers": arg("{")}, "Dropbox-API-Arg"),
        ("files/get_metadata", {"json": {"path": 7}}, "path"),
        ("files/get_metadata", {"data": b"{}", "headers": {"Content-Type": "text/xml"}}, "Content-Type"),
        ("files/get_metadata", {"json": {"path": ""}}, "pattern"),
    ],
)
def test_malformed_calls_are_answered_in_text(
    dropbox_standin: DropboxStandIn, route: str, known: dict[str, Any], says: str
) -> None:
    answer = post(dropbox_standin, route, **known)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert says in answer.text


def test_without_a_login_or_a_route(dropbox_standin: DropboxStandIn) -> None:
    assert requests.post(f"{dropbox_standin.url}/2/files/upload", timeout=10).status_code == 400
    assert post(dropbox_standin, "files/nothing").status_code == 404


def test_sign_in_with_pkce_and_a_refresh_token_that_stays(dropbox_standin: DropboxStandIn) -> None:
    verifier = "v" * 64
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "client_id": CLIENT, "response_type": "code", "redirect_uri": "http://127.0.0.1/", "state": "s" * 20,
        "scope": "files.content.write account_info.read", "code_challenge": challenge,
        "code_challenge_method": "S256",
    }  # fmt: skip

    def sign_in(**more: str) -> dict[str, Any]:
        where = f"{dropbox_standin.url}/oauth2/authorize?{urlencode({**asked, **more})}"
        went = requests.get(where, allow_redirects=False, timeout=10).headers["Location"]
        form = {
            "grant_type": "authorization_code", "code": parse_qs(urlsplit(went).query)["code"][0],
            "redirect_uri": asked["redirect_uri"], "client_id": CLIENT, "code_verifier": verifier,
        }  # fmt: skip
        return dict(requests.post(f"{dropbox_standin.url}/oauth2/token", data=form, timeout=10).json())

    assert "refresh_token" not in sign_in()
    granted = sign_in(token_access_type="offline")
    form = {"grant_type": "refresh_token", "refresh_token": granted["refresh_token"], "client_id": CLIENT}
    for _ in range(2):
        renewed = requests.post(f"{dropbox_standin.url}/oauth2/token", data=form, timeout=10).json()
        assert renewed["expires_in"] == 14_400
        assert "refresh_token" not in renewed
    login = {"Authorization": f"Bearer {renewed['access_token']}"}
    revoke = f"{dropbox_standin.url}/2/auth/token/revoke"
    assert requests.post(revoke, headers=login, timeout=10).text == "null"
    refused = requests.post(f"{dropbox_standin.url}/oauth2/token", data=form, timeout=10)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


def test_faults_work_on_its_routes(dropbox_standin: DropboxStandIn, sdk: dropbox.Dropbox) -> None:
    dropbox_standin.faults.append(Fault("upload", Answer(503, body=b"busy", media_type="text/plain")))
    with pytest.raises(HttpError) as caught:
        sdk.files_upload(b"x", "/a")
    assert caught.value.status_code == 503
    assert json.dumps(dropbox_standin.counts()) == '{"upload": 1}'
