"""Every reason and status of Drive has its kind; any answer makes one of the contract's errors."""

from __future__ import annotations

import json

import googleapiclient.errors as sdk
import httplib2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers.google_drive_errors import http_error, sdk_exceptions
from servers.standins.google_drive import DOCUMENTED

from conveyor.contract import DeliveryError, ErrorKind, Scope
from conveyor_connectors.google_drive.errors import REASONS, STATUSES, classify
from conveyor_connectors.google_drive.service import Stored, stored

K = ErrorKind


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (400, "badRequest", K.CONFIG),
        (401, "authError", K.AUTH_EXPIRED),
        (401, "somethingNew", K.AUTH_EXPIRED),
        (403, "userRateLimitExceeded", K.THROTTLED),
        (403, "rateLimitExceeded", K.THROTTLED),
        (429, "rateLimitExceeded", K.THROTTLED),
        (429, "", K.THROTTLED),
        (403, "dailyLimitExceeded", K.QUOTA),
        (403, "quotaExceeded", K.QUOTA),
        (403, "storageQuotaExceeded", K.QUOTA),
        (403, "teamDriveFileLimitExceeded", K.QUOTA),
        (403, "numChildrenInNonRootLimitExceeded", K.QUOTA),
        (403, "activeItemCreationLimitExceeded", K.QUOTA),
        (403, "insufficientFilePermissions", K.CONFIG),
        (403, "domainPolicy", K.CONFIG),
        (403, "appNotAuthorizedToFile", K.CONFIG),
        (403, "insufficientPermissions", K.AUTH_REVOKED),
        (403, "accessNotConfigured", K.AUTH_REVOKED),
        (403, "myDriveHierarchyDepthLimitExceeded", K.NAME),
        (403, "teamDriveHierarchyTooDeep", K.NAME),
        (403, "somethingNew", K.CONFIG),
        (404, "notFound", K.CONFIG),
        (409, "fileIdInUse", K.CONFLICT),
        (410, "", K.SESSION_LOST),
        (413, "uploadTooLarge", K.TOO_LARGE),
        (499, "", K.SESSION_LOST),
        (500, "backendError", K.TRANSIENT),
        (502, "", K.TRANSIENT),
        (503, "backendError", K.TRANSIENT),
        (500, "storageQuotaExceeded", K.TRANSIENT),
    ],
)
def test_what_a_refusal_means(status: int, reason: str, kind: ErrorKind) -> None:
    assert classify(http_error(status, reason), "try").kind is kind


def test_each_documented_error_is_known_by_its_reason() -> None:
    unknown = {known.reason or name for name, known in DOCUMENTED.items()} - set(REASONS)
    assert unknown == {"cannotAddParent"}  # of moves alone, and by the status what it should be


def test_a_server_error_after_the_last_byte_leaves_the_outcome_open() -> None:
    for status in (500, 502, 503, 504):
        assert classify(http_error(status, "backendError"), "try", sent=True).kind is K.UNKNOWN_OUTCOME
    assert classify(http_error(403, "storageQuotaExceeded"), "try", sent=True).kind is K.QUOTA
    assert classify(ValueError("no JSON"), "try", sent=True).kind is K.UNKNOWN_OUTCOME


@pytest.mark.parametrize(("status", "reason"), [(429, "x"), (403, "userRateLimitExceeded"), (503, "")])
def test_delays_are_taken_exactly(status: int, reason: str) -> None:
    error = classify(http_error(status, reason, Retry_After="123"), "try")
    assert (error.kind, error.retry_after, error.scope) == (K.THROTTLED, 123.0, Scope.CONNECTION)


def test_the_words_of_the_daily_limit() -> None:
    used_up = classify(http_error(403, "userRateLimitExceeded", "User rate limit exceeded."), "try")
    assert (used_up.kind, used_up.scope) == (K.QUOTA, Scope.CONNECTION)
    slower = "User Rate Limit Exceeded. Rate of requests for user exceed configured project quota"
    assert classify(http_error(403, "userRateLimitExceeded", slower), "try").kind is K.THROTTLED


def test_trouble_of_a_place_is_no_trouble_of_the_account() -> None:
    for reason in (
        "notFound",
        "insufficientFilePermissions",
        "teamDriveFileLimitExceeded",
        "numChildrenInNonRootLimitExceeded",
    ):
        assert classify(http_error(403, reason), "try").scope is Scope.DESTINATION
    for reason in ("authError", "storageQuotaExceeded", "rateLimitExceeded"):
        assert classify(http_error(403, reason), "try").scope is Scope.CONNECTION


def test_a_service_account_without_space_is_told_what_to_do() -> None:
    text = "Service Accounts do not have storage quota. Leverage shared drives, or use OAuth delegation."
    assert "shared drive" in str(classify(http_error(403, "storageQuotaExceeded", text), "try").hint)


def test_addresses_are_not_repeated() -> None:
    secret = "https://www.googleapis.com/upload/drive/v3/files?upload_id=fe6987415"
    error = classify(http_error(400, "badRequest", f"bad {secret}"), "try")
    assert "fe6987415" not in f"{error!r}{error.message}"
    assert "secret-7f3a" not in f"{error!r}{error.message}{error.__dict__}"


def test_each_hint_is_a_sentence_and_holds_say_what_to_do() -> None:
    for reason, (kind, hint) in (*REASONS.items(), *STATUSES.items()):
        assert hint is None or hint.endswith("."), reason
        assert hint or kind not in (K.QUOTA, K.AUTH_REVOKED, K.AUTH_EXPIRED, K.NAME), reason


def test_every_exception_class_is_sorted() -> None:
    for error in sdk_exceptions():
        told = classify(error, "test")
        assert isinstance(told, DeliveryError)
        assert told.message.startswith("could not test")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "errors", "reason", "message", "code", "id", "size", "parents",
                             "appProperties", "x"]), inner, max_size=5,
        )
    ),
    max_leaves=12,
)  # fmt: skip


@given(
    st.sampled_from([*range(300, 310), *range(400, 432), 451, 499, *range(500, 512), 599]),
    JSON.map(json.dumps).map(str.encode) | st.binary(max_size=50),
    st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12),
    st.booleans(),
)
def test_junk_becomes_one_of_the_contracts_errors(
    status: int, body: bytes, delay: str | None, sent: bool
) -> None:
    headers = {"status": str(status), **({} if delay is None else {"retry-after": delay})}
    raised: Exception
    try:
        raised = sdk.HttpError(httplib2.Response(headers), body)
    except AttributeError as error:  # what the SDK makes of a message that is no text
        raised = error
    told = classify(raised, "try", sent=sent)
    assert isinstance(told.kind, ErrorKind)
    assert told.retry_after is None or 0 <= told.retry_after <= 3600
    assert len(told.message) < 500


def test_a_message_that_is_no_text_is_not_of_drive() -> None:
    with pytest.raises(AttributeError) as broken:
        sdk.HttpError(httplib2.Response({"status": "500"}), b'{"error": {"message": []}}')
    assert classify(broken.value, "try").kind is K.TRANSIENT
    assert classify(broken.value, "try", sent=True).kind is K.UNKNOWN_OUTCOME


@given(st.dictionaries(st.sampled_from(["id", "size", "parents", "appProperties", "trashed"]), JSON))
def test_junk_is_a_file_or_an_unclear_answer(document: dict[str, object]) -> None:
    outcome: object
    try:
        outcome = stored(document)
    except DeliveryError as error:
        outcome = error.kind
    if isinstance(outcome, Stored):
        assert isinstance(outcome.size, int)
        assert all(isinstance(each, str) for each in outcome.parents)
    else:
        assert outcome is K.UNKNOWN_OUTCOME
