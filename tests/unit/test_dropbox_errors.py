"""Every typed error and status of Dropbox has its kind; any answer makes one of the contract's errors."""

from __future__ import annotations

import json
from typing import Any

import dropbox.exceptions as sdk
import pytest
from dropbox import auth, common, files
from dropbox.dropbox_client import BadInputException
from dropbox.stone_validators import ValidationError
from hypothesis import given
from hypothesis import strategies as st
from servers.dropbox_errors import sdk_exceptions, upload_error, write_errors

from conveyor.contract import DeliveryError, ErrorKind, Scope
from conveyor_connectors.dropbox.errors import (
    TAGS,
    classify,
    conflict,
    correct_offset,
    kept_in,
    rejected,
    tags,
)

K = ErrorKind
Write, Lookup = files.WriteError, files.UploadSessionLookupError


def api(error: Any) -> sdk.ApiError:
    """What a call answers."""
    return sdk.ApiError("req-1", error, None, None)


def login(error: Any) -> sdk.AuthError:
    """401."""
    return sdk.AuthError("req-1", error)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Write.insufficient_space, K.QUOTA),
        (Write.disallowed_name, K.NAME),
        (Write.malformed_path(None), K.NAME),
        (Write.no_write_permission, K.CONFIG),
        (Write.access_restricted, K.CONFIG),
        (Write.operation_suppressed, K.CONFIG),
        (Write.team_folder, K.CONFIG),
        (Write.too_many_write_operations, K.THROTTLED),
        (Write.conflict(files.WriteConflictError.file), K.CONFLICT),
        (Write.other, K.TRANSIENT),
    ],
)
def test_what_a_refused_write_means(error: Any, kind: ErrorKind) -> None:
    for made in (upload_error(error), api(files.UploadSessionFinishError.path(error))):
        assert classify(made, "try").kind is kind
        assert classify(made, "try", sent=True).kind is kind, "an answer leaves nothing open"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (files.UploadSessionFinishError.lookup_failed(Lookup.not_found), K.SESSION_LOST),
        (files.UploadSessionFinishError.lookup_failed(Lookup.closed), K.SESSION_LOST),
        (files.UploadSessionFinishError.lookup_failed(Lookup.too_large), K.TOO_LARGE),
        (files.UploadSessionAppendError.not_found, K.SESSION_LOST),
        (files.UploadSessionAppendError.closed, K.SESSION_LOST),
        (files.UploadSessionAppendError.content_hash_mismatch, K.INTEGRITY),
        (files.UploadError.content_hash_mismatch, K.INTEGRITY),
        (files.UploadError.payload_too_large, K.CONFIG),
        (files.GetMetadataError.path(files.LookupError.restricted_content), K.REJECTED),
    ],
)
def test_what_else_a_call_refuses(error: Any, kind: ErrorKind) -> None:
    assert classify(api(error), "try").kind is kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (login(auth.AuthError.expired_access_token), K.AUTH_EXPIRED),
        (login(auth.AuthError.invalid_access_token), K.AUTH_EXPIRED),
        (login(auth.AuthError.user_suspended), K.AUTH_REVOKED),
        (login(auth.AuthError.missing_scope(auth.TokenScopeError("files.content.write"))), K.AUTH_REVOKED),
        (login(auth.AuthError.invalid_select_user), K.CONFIG),
        (sdk.PathRootError("req-1", common.PathRootError.no_permission), K.CONFIG),
        (sdk.BadInputError("req-1", "Error in call"), K.CONFIG),
        (sdk.InternalServerError("req-1", 500, "busy"), K.TRANSIENT),
        (sdk.HttpError("req-1", 404, "<html>"), K.CONFIG),
        (sdk.HttpError("req-1", 408, "<html>"), K.TRANSIENT),
        (BadInputException("no key"), K.CONFIG),
        (AssertionError("text/html"), K.TRANSIENT),
        (json.JSONDecodeError("x", "y", 0), K.TRANSIENT),
        (ValidationError("did not match"), K.TRANSIENT),
    ],
)
def test_what_the_account_and_the_way_there_mean(error: BaseException, kind: ErrorKind) -> None:
    assert classify(error, "try").kind is kind


def test_a_server_error_after_the_last_byte_leaves_the_outcome_open() -> None:
    for status in (500, 502, 503, 504):
        assert classify(sdk.InternalServerError("r", status, ""), "try", sent=True).kind is K.UNKNOWN_OUTCOME
    for error in (
        AssertionError("x"),
        json.JSONDecodeError("x", "y", 0),
        ValidationError("x"),
        KeyError("x"),
    ):
        assert classify(error, "try", sent=True).kind is K.UNKNOWN_OUTCOME


def test_a_delay_is_the_headers_or_else_the_documents() -> None:
    reason = auth.RateLimitError(auth.RateLimitReason.too_many_requests)
    for body, header, told in ((1.0, 300.0, 300.0), (37.0, None, 37.0), (None, None, None), (None, 9.0, 9.0)):
        error = classify(sdk.RateLimitError("req-1", reason, body), "try", delay=header)
        assert (error.kind, error.retry_after, error.scope) == (K.THROTTLED, told, Scope.CONNECTION)
    busy = upload_error(Write.too_many_write_operations)
    assert classify(busy, "try", delay=5.0).retry_after == 5.0
    assert classify(sdk.InternalServerError("r", 503, ""), "try", delay=5.0).kind is K.THROTTLED


def test_trouble_of_the_account_concerns_all_its_destinations() -> None:
    for error in (login(auth.AuthError.user_suspended), upload_error(Write.insufficient_space)):
        assert classify(error, "try").scope is Scope.CONNECTION
    for error in (upload_error(Write.no_write_permission), sdk.InternalServerError("r", 500, "")):
        assert classify(error, "try").scope is Scope.DESTINATION


def test_what_an_error_says_beside_its_kind() -> None:
    for kind in ("file", "folder", "file_ancestor"):
        error = upload_error(Write.conflict(getattr(files.WriteConflictError, kind)), "pid:7")
        taken = conflict(error)
        assert taken is not None
        assert (taken.kind, kept_in(error)) == (kind, "pid:7")
    assert kept_in(upload_error(Write.insufficient_space, "pid:7")) == "pid:7"
    assert kept_in(api(files.UploadSessionFinishError.path(Write.insufficient_space))) is None
    stands = files.UploadSessionOffsetError(17)
    for wrong in (
        files.UploadSessionAppendError.incorrect_offset(stands),
        files.UploadSessionFinishError.lookup_failed(Lookup.incorrect_offset(stands)),
    ):
        assert correct_offset(api(wrong)) == 17
    assert rejected(login(auth.AuthError.expired_access_token))
    assert not rejected(login(auth.AuthError.user_suspended))
    for other in (OSError("x"), api(files.UploadError.other), login(None)):
        assert (conflict(other), correct_offset(other), kept_in(other), rejected(other)) == (
            None, None, None, False,
        )  # fmt: skip


def test_each_reason_of_a_refused_write_is_known() -> None:
    for reason in write_errors():
        first = next(tags(reason))
        assert first in TAGS or first == "other"


def test_each_hint_and_kind_is_useful() -> None:
    for kind, hint in TAGS.values():
        if kind in (K.QUOTA, K.NAME):
            assert hint
        assert hint is None or hint.endswith(".")


def test_every_exception_class_of_the_sdk_is_sorted_and_tells_no_token() -> None:
    for error in sdk_exceptions():
        told = classify(error, "test")
        assert isinstance(told, DeliveryError)
        assert "at-secret" not in told.message or isinstance(error, sdk.BadInputError)


@given(
    st.sampled_from([sdk.HttpError, sdk.InternalServerError, sdk.BadInputError]),
    st.sampled_from([*range(300, 310), *range(400, 432), 451, *range(500, 512), 599]),
    st.text('a<{"é\n ', max_size=30),
    st.none() | st.floats(0, 3600),
    st.booleans(),
)
def test_junk_becomes_one_of_the_contracts_errors(
    kind: Any, status: int, body: str, delay: float | None, sent: bool
) -> None:
    made = kind("req-1", body) if kind is sdk.BadInputError else kind("req-1", status, body)
    told = classify(made, "try", sent=sent, delay=delay)
    assert isinstance(told.kind, ErrorKind)
    assert len(told.message) < 500
