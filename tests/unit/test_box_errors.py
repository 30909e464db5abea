"""Every code and status of Box has its kind; nothing but the contract's errors comes out of any answer."""

from __future__ import annotations

from typing import Any

import pytest
from box_sdk_gen.box.errors import BoxSDKError
from hypothesis import given
from hypothesis import strategies as st
from servers.box_errors import api_error, sdk_exceptions
from servers.standins.box.errors import CODES as ANSWERED
from servers.standins.box.errors import document

from conveyor.contract import DeliveryError, ErrorKind, Scope
from conveyor_connectors.box.codes import CODES, STATUSES
from conveyor_connectors.box.errors import classify, conflict, status_of

K = ErrorKind


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "bad_digest", K.INTEGRITY),
        (400, "invalid_grant", K.AUTH_REVOKED),
        (400, "unauthorized_client", K.AUTH_REVOKED),
        (400, "item_name_invalid", K.NAME),
        (400, "item_name_too_long", K.NAME),
        (400, "parts_mismatch", K.TRANSIENT),
        (400, "invalid_upload_session_id", K.SESSION_LOST),
        (400, "file_size_too_small", K.CONFIG),
        (400, "somethingNew", K.CONFIG),
        (400, "terms_of_service_required", K.AUTH_REVOKED),
        (401, "unauthorized", K.AUTH_EXPIRED),
        (401, "", K.AUTH_EXPIRED),
        (403, "password_reset_required", K.AUTH_REVOKED),
        (403, "insufficient_scope", K.AUTH_REVOKED),
        (403, "storage_limit_exceeded", K.QUOTA),
        (403, "file_size_limit_exceeded", K.TOO_LARGE),
        (403, "access_denied_insufficient_permissions", K.CONFIG),
        (403, "access_denied_item_locked", K.REJECTED),
        (403, "", K.CONFIG),
        (404, "not_found", K.CONFIG),
        (404, "trashed", K.CONFIG),
        (409, "item_name_in_use", K.CONFLICT),
        (409, "name_temporarily_reserved", K.TRANSIENT),
        (409, "operation_blocked_temporary", K.TRANSIENT),
        (410, "session_expired", K.SESSION_LOST),
        (410, "upload_failed", K.SESSION_LOST),
        (412, "precondition_failed", K.CONFLICT),
        (413, "", K.TOO_LARGE),
        (429, "rate_limit_exceeded", K.THROTTLED),
        (429, "", K.THROTTLED),
        (500, "internal_server_error", K.TRANSIENT),
        (502, "bad_gateway", K.TRANSIENT),
        (503, "", K.TRANSIENT),
        (504, "", K.TRANSIENT),
        (507, "", K.QUOTA),
    ],
)
def test_what_a_refusal_means(status: int, code: str, kind: ErrorKind) -> None:
    assert classify(api_error(status, {"code": code} if code else None), "try").kind is kind


def test_codes_without_a_line_are_mistakes_of_a_client_or_say_it_by_their_status() -> None:
    assert {status for code, (status, _) in ANSWERED.items() if code not in CODES} == {400, 416, 503}
    for code in ("bad_request", "requested_range_not_satisfiable", "invalid_file_size"):
        assert classify(api_error(ANSWERED[code][0], document(code)), "try").kind is K.CONFIG


def test_a_server_error_after_the_last_byte_leaves_the_outcome_open() -> None:
    for status in (500, 502, 503, 504):
        assert classify(api_error(status), "try", sent=True).kind is K.UNKNOWN_OUTCOME
    busy = api_error(503, None, Retry_After="5")
    assert classify(busy, "try", sent=True).kind is K.UNKNOWN_OUTCOME
    assert classify(busy, "try").kind is K.THROTTLED
    assert classify(api_error(403, document("storage_limit_exceeded")), "try", sent=True).kind is K.QUOTA


def test_delays_are_taken_in_each_of_their_forms() -> None:
    for text, seconds in (("123", 123.0), ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0), ("soon", None)):
        error = classify(api_error(429, document("rate_limit_exceeded"), Retry_After=text), "try")
        assert (error.kind, error.retry_after, error.scope) == (K.THROTTLED, seconds, Scope.CONNECTION)


def test_trouble_of_the_account_concerns_all_its_destinations() -> None:
    for status, code in ((401, "unauthorized"), (429, "rate_limit_exceeded"), (400, "invalid_grant")):
        assert classify(api_error(status, {"code": code}), "try").scope is Scope.CONNECTION
    for status, code in ((404, "not_found"), (403, "storage_limit_exceeded"), (500, "internal_server_error")):
        assert classify(api_error(status, {"code": code}), "try").scope is Scope.DESTINATION


IN_THE_WAY = {"type": "file", "id": 7, "name": "a.jpg", "etag": 0, "sha1": "ab"}


def in_use(conflicts: Any) -> Any:
    """409 with something in the way."""
    return api_error(409, {"code": "item_name_in_use", "context_info": {"conflicts": conflicts}})


def test_what_is_in_the_way_is_read_from_either_shape() -> None:
    for conflicts in (IN_THE_WAY, [IN_THE_WAY], [IN_THE_WAY, {"type": "folder", "id": "8"}]):
        taken = conflict(in_use(conflicts))
        assert taken is not None
        assert taken.item is not None
        found = taken.item
        assert (found.id, found.folder, found.etag, found.sha1) == ("7", False, "0", "ab")
    for conflicts in (None, [], {}, "x", [None], [[]], {"type": "file"}):
        taken = conflict(in_use(conflicts))
        assert taken is not None
        assert taken.item is None
    assert conflict(api_error(409, document("name_temporarily_reserved"))) is None
    assert conflict(OSError("x")) is None


def test_the_status_of_an_answer() -> None:
    assert status_of(api_error(401)) == 401
    assert status_of(BoxSDKError("x")) is None


def test_each_hint_and_kind_is_useful() -> None:
    for kind, hint in (*CODES.values(), *STATUSES.values()):
        if kind in (K.QUOTA, K.AUTH_REVOKED, K.NAME):
            assert hint
        assert hint is None or hint.endswith(".")


def test_every_exception_class_of_the_sdk_is_sorted_and_tells_no_token() -> None:
    for error in sdk_exceptions():
        told = classify(error, "test")
        assert isinstance(told, DeliveryError)
        assert "at-secret-9f2c" not in f"{told!r}{told.message}{told.hint}{told.__dict__}"


JUNK = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.lists(st.text(max_size=3), max_size=2)
)


@given(
    st.sampled_from([*range(300, 310), *range(400, 432), 451, *range(500, 512), 599]),
    st.dictionaries(st.sampled_from(["code", "message", "context_info", "x"]), JUNK, max_size=4),
    st.none() | st.text("019.:- Manut", max_size=12),
    st.booleans(),
)
def test_junk_becomes_one_of_the_contracts_errors(
    status: int, body: dict[str, Any], delay: str | None, sent: bool
) -> None:
    error = api_error(status, body, **({} if delay is None else {"Retry_After": delay}))
    conflict(error)
    told = classify(error, "try", sent=sent)
    assert isinstance(told.kind, ErrorKind)
    assert told.retry_after is None or 0 <= told.retry_after <= 3600
    assert len(told.message) < 500
