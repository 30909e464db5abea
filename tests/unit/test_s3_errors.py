"""Every error of the SDK and of the service has its kind; nothing of the SDK gets out."""

from __future__ import annotations

import ssl
from typing import Any

import boto3.exceptions
import botocore.exceptions as sdk
import pytest
from botocore.exceptions import ClientError
from servers.s3_errors import classes, make

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.kit.waits import stated_delay
from conveyor_connectors.s3.codes import CODES, STATUSES
from conveyor_connectors.s3.errors import TRANSPORT, classify

SETTINGS = {
    "AliasConflictParameterError", "ApiVersionNotFoundError", "BaseEndpointResolverError", "BotoCoreError",
    "ConfigNotFound", "ConfigParseError", "DataNotFoundError", "EndpointProviderError",
    "EndpointResolutionError", "EndpointVariantError", "InfiniteLoopConfigError",
    "InvalidChecksumConfigError",
    "InvalidConfigError", "InvalidDNSNameError", "InvalidDefaultsMode", "InvalidEndpointConfigurationError",
    "InvalidEndpointDiscoveryConfigurationError", "InvalidExpressionError", "InvalidHostLabelError",
    "InvalidIMDSEndpointError", "InvalidIMDSEndpointModeError", "InvalidMaxRetryAttemptsError",
    "InvalidProxiesConfigError", "InvalidRegionError", "InvalidRetryConfigurationError",
    "InvalidRetryModeError", "InvalidS3AddressingStyleError", "InvalidS3UsEast1RegionalEndpointConfigError",
    "InvalidSTSRegionalEndpointsConfigError", "MD5UnavailableError", "MissingDependencyException",
    "MissingParametersError", "NoRegionError", "OperationNotPageableError", "PaginationError",
    "ParamValidationError", "ProfileNotFound", "RangeError", "ServiceNotInRegionError", "StubAssertionError",
    "StubResponseError", "UnStubbedResponseError", "UnknownClientMethodError", "UnknownEndpointError",
    "UnknownEndpointResolutionBuiltInName", "UnknownFIPSEndpointError", "UnknownKeyError",
    "UnknownParameterError", "UnknownRegionError", "UnknownServiceError", "UnknownServiceStyle",
    "UnknownSignatureVersionError", "UnsupportedOutpostResourceError",
    "UnsupportedS3AccesspointConfigurationError",
    "UnsupportedS3ArnError", "UnsupportedS3ConfigurationError", "UnsupportedS3ControlArnError",
    "UnsupportedS3ControlConfigurationError", "UnsupportedServiceProtocolsError",
    "UnsupportedSignatureVersionError", "ValidationError", "WaiterConfigError", "WaiterError",
}  # fmt: skip
"""Classes that can only mean the options, the machine's own configuration or a feature that is not used."""

OWN = sorted(classes(sdk), key=lambda kind: kind.__name__)
SECRET = "secret-value-in-a-header"


def answer(status: int, code: str = "", message: str = "", **more: Any) -> ClientError:
    headers = more.pop("headers", {})
    return ClientError(
        {
            "Error": {"Code": code, "Message": message, **more},
            "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
        },
        "PutObject",
    )


@pytest.mark.parametrize("kind", [one for one in OWN if issubclass(one, sdk.BotoCoreError)])
def test_each_sdk_class_is_sorted_by_hand(kind: type[Exception]) -> None:
    """A class that a new SDK brings fails here until somebody has thought about it."""
    explicit = [classes for classes, _, _ in TRANSPORT[:-1] if issubclass(kind, classes)]
    assert bool(explicit) is not (kind.__name__ in SETTINGS), kind
    told = classify(make(kind), "try")
    assert (told.kind is ErrorKind.CONFIG) is (kind.__name__ in SETTINGS)


def test_the_list_of_settings_holds_no_dead_names() -> None:
    assert {kind.__name__ for kind in OWN} >= SETTINGS


@pytest.mark.parametrize("kind", sorted(classes(boto3.exceptions, sdk), key=repr))
def test_nothing_of_the_sdk_is_passed_on(kind: type[Exception]) -> None:
    error = make(kind)
    told = classify(error, "try")
    assert isinstance(told, DeliveryError)
    assert told.__cause__ is None
    assert not any(value is error for value in vars(told).values())
    assert told.message


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (answer(500, "InternalError"), ErrorKind.TRANSIENT),
        (answer(502), ErrorKind.TRANSIENT),
        (answer(503, "ServiceUnavailable"), ErrorKind.TRANSIENT),
        (answer(503, "ServiceUnavailable", headers={"retry-after": "3"}), ErrorKind.THROTTLED),
        (answer(400, "RequestTimeout"), ErrorKind.TRANSIENT),
        (answer(409, "OperationAborted"), ErrorKind.TRANSIENT),
        (answer(503, "SlowDown"), ErrorKind.THROTTLED),
        (answer(429), ErrorKind.THROTTLED),
        (answer(400, "BadDigest"), ErrorKind.INTEGRITY),
        (answer(400, "IncompleteBody"), ErrorKind.INTEGRITY),
        (answer(404, "NoSuchUpload"), ErrorKind.SESSION_LOST),
        (answer(400, "ExpiredToken"), ErrorKind.AUTH_EXPIRED),
        (answer(403, "InvalidAccessKeyId"), ErrorKind.AUTH_REVOKED),
        (answer(403, "SignatureDoesNotMatch"), ErrorKind.AUTH_REVOKED),
        (answer(403, "AccessDenied"), ErrorKind.CONFIG),
        (answer(404, "NoSuchBucket"), ErrorKind.CONFIG),
        (answer(403, "RequestTimeTooSkewed"), ErrorKind.CONFIG),
        (answer(400, "KeyTooLongError"), ErrorKind.NAME),
        (answer(400, "EntityTooLarge"), ErrorKind.TOO_LARGE),
        (answer(403, "QuotaExceeded"), ErrorKind.QUOTA),
        (answer(507), ErrorKind.QUOTA),
        (answer(418, "Teapot"), ErrorKind.CONFIG),
        (answer(599, "Strange"), ErrorKind.TRANSIENT),
    ],
)
def test_answers_of_the_service(error: ClientError, kind: ErrorKind) -> None:
    assert classify(error, "put the object").kind is kind


def test_tables_name_known_kinds_and_no_engine_ones() -> None:
    told = {kind for kind, _ in (*CODES.values(), *STATUSES.values())}
    assert not told & {ErrorKind.WORKER_LOST, ErrorKind.EXPIRED, ErrorKind.UNKNOWN_OUTCOME}


@pytest.mark.parametrize(
    "error",
    [
        answer(400, "AuthorizationHeaderMalformed", Region="eu-west-3"),
        answer(301, "PermanentRedirect", headers={"x-amz-bucket-region": "eu-west-3"}),
        answer(301, headers={"x-amz-bucket-region": "eu-west-3"}),
    ],
)
def test_a_wrong_region_is_told_with_the_right_one(error: ClientError) -> None:
    told = classify(error, "look")
    assert told.kind is ErrorKind.CONFIG
    assert told.hint == "Set the bucket's own region: eu-west-3."
    assert "{" not in str(classify(answer(301), "look").hint)


DATE = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"x-amz-retry-after": "1500"}, 1.5),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "999999"}, 3600.0),
        ({"x-amz-retry-after": "x", "retry-after": "7"}, 7.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": DATE}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:00:00 GMT", "date": DATE}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
    ],
)
def test_stated_delays(headers: dict[str, str], seconds: float | None) -> None:
    assert stated_delay(headers) == seconds
    assert classify(answer(503, "SlowDown", headers=headers), "put").retry_after == seconds


@pytest.mark.parametrize("sent", [False, True])
def test_a_missing_answer_is_unknown_only_after_all_was_sent(sent: bool) -> None:
    lost = sdk.ConnectionClosedError(endpoint_url="http://x/", error=ConnectionResetError(104, "reset"))
    told = classify(lost, "put the object", sent=sent)
    assert told.kind is (ErrorKind.UNKNOWN_OUTCOME if sent else ErrorKind.TRANSIENT)
    early = sdk.EndpointConnectionError(
        endpoint_url="http://x/", error=ConnectionRefusedError(111, "refused")
    )
    assert classify(early, "put the object", sent=sent).kind is ErrorKind.TRANSIENT


def test_a_certificate_that_is_not_accepted_is_configuration() -> None:
    inner = ssl.SSLCertVerificationError(1, "certificate verify failed")
    told = classify(sdk.SSLError(endpoint_url="https://x/", error=inner), "put the object")
    assert told.kind is ErrorKind.CONFIG
    assert "ca_bundle" in str(told.hint)
    broken = sdk.SSLError(endpoint_url="https://x/", error=ssl.SSLEOFError(8, "EOF occurred"))
    assert classify(broken, "put the object").kind is ErrorKind.TRANSIENT


def test_our_own_error_comes_through_the_sdk_unchanged() -> None:
    own = DeliveryError(ErrorKind.SOURCE, "the payload ends early")
    assert classify(sdk.HTTPClientError(error=own), "put the object") is own


def test_messages_hold_no_url_and_no_request() -> None:
    lost = sdk.ConnectionClosedError(
        endpoint_url=f"http://x/?X-Amz-Signature={SECRET}", request=SECRET, error=OSError(32, "Broken pipe")
    )
    told = classify(lost, "put the object")
    assert SECRET not in f"{told!r} {told.message} {told.hint} {told.response}"
    assert "Broken pipe" in told.message
