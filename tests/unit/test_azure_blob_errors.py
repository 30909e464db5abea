"""Every error of the SDK and of the service has its kind; nothing of the SDK gets out."""

from __future__ import annotations

import ssl

import azure.core.exceptions as sdk
import pytest
import requests.exceptions
import urllib3.exceptions
from azure.storage.blob import StorageErrorCode
from servers.azure_errors import answer, classes, make, modules

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.kit.waits import stated_delay
from conveyor_connectors.azure_blob.codes import CODES, STATUSES
from conveyor_connectors.azure_blob.errors import TRANSPORT, classify, forbidden

K = ErrorKind

CONFIG = {
    "InvalidHeader", "InvalidProxyURL", "InvalidSchema", "InvalidURL", "LocationParseError",
    "LocationValueError", "MissingSchema", "ProxySchemeUnknown", "ProxySchemeUnsupported",
    "ResponseNotReadError", "SerializationError", "StreamClosedError", "StreamConsumedError",
    "TooManyRedirects", "TooManyRedirectsError", "URLRequired", "URLSchemeUnknown", "UnrewindableBodyError",
}  # fmt: skip
"""Classes that can only mean the address, the options or a defect of ours."""

LOGIN = {"ClientAuthenticationError", "AzureSigningError"}

OTHER_SERVICES = (
    "Copy", "Directory", "File", "Filesystem", "IncrementalCopy", "Lease", "Message", "Page", "Parent", "Pop",
    "Queue", "Rename", "Sequence", "Share", "Snapshot", "Source", "TotalShares", "Append", "Previous",
    "Account", "ContainerAlreadyExists", "ContainerQuota", "CannotChange", "CannotDelete", "CannotVerify",
    "ClientCache", "DeletePending", "InfiniteLease", "InvalidFlush", "InvalidMarker", "InvalidPage",
    "InvalidProperty", "InvalidRange", "InvalidRename", "InvalidSource", "InvalidVersion", "InvalidXml",
    "InvalidDestination", "InvalidOperation", "MaxBlobSize", "MissingRequired", "MultipleCondition",
    "NoPending", "OperationNotAllowed", "OutOfRangeQuery", "PathNotFound", "ReadOnly", "Sharing",
    "UnsupportedQuery", "UnsupportedXml", "BlobNot", "BlobOverwritten", "ContentLengthMustBeZero",
)  # fmt: skip
"""Beginnings of codes for operations that the connector never asks for, or whose status says enough."""

KINDS = sorted(classes(*modules()), key=lambda kind: (kind.__module__, kind.__name__))
SECRET = "sig=very-secret"


@pytest.mark.parametrize("kind", KINDS)
def test_each_class_is_sorted_by_hand(kind: type[Exception]) -> None:
    """A class that a new SDK brings, and that is no network failure, fails here until somebody decides."""
    told = classify(make(kind), "try")
    wanted = (
        K.CONFIG if kind.__name__ in CONFIG else K.AUTH_REVOKED if kind.__name__ in LOGIN else K.TRANSIENT
    )
    assert told.kind is wanted
    assert any(issubclass(kind, group) for group, _, _ in TRANSPORT)


def test_the_lists_hold_no_dead_names() -> None:
    assert {kind.__name__ for kind in KINDS} >= CONFIG | LOGIN


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_the_sdk_is_passed_on(kind: type[Exception]) -> None:
    error = make(kind)
    error.args = (f"https://x/?{SECRET}",)
    told = classify(error, "try")
    assert isinstance(told, DeliveryError)
    assert told.__cause__ is None
    assert not any(value is error for value in vars(told).values())
    assert told.message
    assert SECRET not in f"{told.message} {told.hint} {told.code}"


@pytest.mark.parametrize("code", sorted(one.value for one in StorageErrorCode))
def test_each_code_that_the_sdk_knows_is_decided(code: str) -> None:
    assert code in CODES or code.startswith(OTHER_SERVICES) or code in ("BlobNotFound",)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (500, "InternalError", K.TRANSIENT),
        (500, "OperationTimedOut", K.TRANSIENT),
        (502, "", K.TRANSIENT),
        (503, "ServerBusy", K.THROTTLED),
        (503, "", K.TRANSIENT),
        (429, "", K.THROTTLED),
        (408, "", K.TRANSIENT),
        (409, "ContainerBeingDeleted", K.TRANSIENT),
        (409, "AccountBeingCreated", K.TRANSIENT),
        (412, "LeaseIdMissing", K.TRANSIENT),
        (400, "Md5Mismatch", K.INTEGRITY),
        (400, "InvalidBlockList", K.SESSION_LOST),
        (400, "InvalidBlobOrBlock", K.SESSION_LOST),
        (403, "AuthenticationFailed", K.AUTH_REVOKED),
        (401, "InvalidAuthenticationInfo", K.AUTH_REVOKED),
        (403, "AccountIsDisabled", K.AUTH_REVOKED),
        (403, "KeyBasedAuthenticationNotPermitted", K.AUTH_REVOKED),
        (403, "AuthorizationFailure", K.CONFIG),
        (403, "AuthorizationPermissionMismatch", K.CONFIG),
        (404, "ContainerNotFound", K.CONFIG),
        (409, "BlobAlreadyExists", K.CONFLICT),
        (412, "ConditionNotMet", K.CONFLICT),
        (409, "BlobImmutableDueToPolicy", K.REJECTED),
        (409, "InvalidBlobType", K.REJECTED),
        (400, "InvalidResourceName", K.NAME),
        (409, "PathConflict", K.NAME),
        (413, "RequestBodyTooLarge", K.TOO_LARGE),
        (507, "", K.QUOTA),
        (418, "Teapot", K.CONFIG),
        (599, "Strange", K.TRANSIENT),
    ],
)
def test_answers_of_the_service(status: int, code: str, kind: ErrorKind) -> None:
    assert classify(answer(status, code), "put the blob").kind is kind


def test_the_code_of_an_answer_without_a_body_stands_in_a_header() -> None:
    told = classify(answer(404, headers={"x-ms-error-code": "ContainerNotFound"}), "look")
    assert (told.kind, told.code) == (K.CONFIG, "ContainerNotFound")


def test_only_the_first_line_of_a_message_is_told() -> None:
    said = f"Server failed to authenticate the request.\nAuthenticationErrorDetail: {SECRET}"
    told = classify(answer(403, "AuthenticationFailed", said), "put the blob")
    assert "Server failed to authenticate" in told.message
    assert SECRET not in told.message


def test_a_token_that_ran_out_is_told_from_a_key_that_is_wrong() -> None:
    challenge = {"WWW-Authenticate": "Bearer authorization_uri=https://login.example/x"}
    assert classify(answer(401, "InvalidAuthenticationInfo", headers=challenge), "put").kind is K.AUTH_EXPIRED


def test_azurites_word_for_a_wrong_md5() -> None:
    assert classify(answer(400, "InvalidOperation", "Provided contentMD5 doesn't match."), "x").kind is (
        K.INTEGRITY
    )
    assert classify(answer(400, "InvalidOperation", "a snapshot"), "x").kind is K.CONFIG


def test_a_timeout_inside_the_service_leaves_a_publication_open() -> None:
    assert classify(answer(500, "OperationTimedOut"), "put", sent=True).kind is K.UNKNOWN_OUTCOME
    assert classify(answer(500, "InternalError"), "put", sent=True).kind is K.TRANSIENT


@pytest.mark.parametrize(
    "error",
    [
        sdk.ServiceResponseError("x"),
        sdk.ServiceResponseTimeoutError("x"),
        sdk.IncompleteReadError("x"),
        requests.exceptions.ReadTimeout(),
        urllib3.exceptions.ProtocolError("x", ConnectionResetError(104, "Connection reset by peer")),
    ],
)
def test_no_answer_after_the_last_byte_is_unknown(error: Exception) -> None:
    assert classify(error, "put the blob").kind is K.TRANSIENT
    assert classify(error, "put the blob", sent=True).kind is K.UNKNOWN_OUTCOME


def test_what_never_left_is_transient_even_then() -> None:
    lower = urllib3.exceptions.NewConnectionError(None, "no connection: refused")  # type: ignore[arg-type]
    told = classify(sdk.ServiceRequestError(lower, error=lower), "commit", sent=True)
    assert told.kind is K.TRANSIENT


def test_a_certificate_that_is_not_accepted_needs_a_person() -> None:
    under = ssl.SSLCertVerificationError(1, "certificate verify failed")
    under.verify_message = "self-signed certificate"
    wrapped = requests.exceptions.SSLError(urllib3.exceptions.SSLError(under))
    told = classify(sdk.ServiceRequestError(wrapped, error=wrapped), "put the blob")
    assert told.kind is K.CONFIG
    assert "self-signed" in told.message
    assert "ca_bundle" in str(told.hint)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"x-ms-retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:10 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 10.0),
        ({"retry-after": "999999"}, 3600.0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_both_forms_of_a_delay(headers: dict[str, str], seconds: float | None) -> None:
    assert stated_delay(headers) == seconds
    if seconds is not None:
        told = classify(answer(503, "ServerBusy", headers=headers), "put the blob")
        assert (told.kind, told.retry_after) == (K.THROTTLED, seconds)


def test_a_missing_permission_is_told_from_a_missing_container() -> None:
    assert forbidden(classify(answer(403, "AuthorizationPermissionMismatch"), "look"))
    assert forbidden(classify(answer(403), "look"))
    assert not forbidden(classify(answer(404, "ContainerNotFound"), "look"))
    assert not forbidden(classify(answer(403, "AuthenticationFailed"), "look"))


def test_tables_name_known_kinds_and_no_engine_ones() -> None:
    told = {kind for kind, _ in (*CODES.values(), *STATUSES.values())}
    assert not told & {K.WORKER_LOST, K.EXPIRED, K.UNKNOWN_OUTCOME}
