"""What each error of the SDK and of the service means to the engine.

Sources: Amazon's list of S3 error responses (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html)
and the codes that compatible stores were seen to send. No SDK exception leaves this module: they hold the
request with its headers.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import botocore.exceptions as sdk

from conveyor.contract import DeliveryError, ErrorKind, Scope

MAX_DELAY = 3600.0
"""Longest delay taken over from an answer, in seconds."""

_CERTIFICATE_HINT = "Set ca_bundle to the CA that signed the store's certificate, or correct the endpoint."
_LOGIN_HINT = "Check access_key and secret_key; the key may have been deleted or rotated."
_PERMISSION_HINT = (
    "Allow s3:PutObject, s3:GetObject, s3:AbortMultipartUpload and s3:ListMultipartUploadParts on the prefix."
)
_REGION_HINT = "Set the bucket's own region{region}."
_CLOCK_HINT = "This machine's clock is wrong: synchronise it (NTP)."

K = ErrorKind

CODES: Mapping[str, tuple[ErrorKind, str | None]] = {
    # passes by itself
    "InternalError": (K.TRANSIENT, None),
    "InternalServerError": (K.TRANSIENT, None),
    "OperationAborted": (K.TRANSIENT, None),
    "RequestTimeout": (K.TRANSIENT, None),
    "RequestTimeoutException": (K.TRANSIENT, None),
    "ServiceUnavailable": (K.TRANSIENT, None),
    "ConditionalRequestConflict": (K.TRANSIENT, None),
    "XMinioServerNotInitialized": (K.TRANSIENT, None),
    # asks to slow down
    "SlowDown": (K.THROTTLED, None),
    "SlowDownRead": (K.THROTTLED, None),
    "SlowDownWrite": (K.THROTTLED, None),
    "Throttling": (K.THROTTLED, None),
    "ThrottlingException": (K.THROTTLED, None),
    "RequestLimitExceeded": (K.THROTTLED, None),
    "TooManyRequests": (K.THROTTLED, None),
    "RequestThrottled": (K.THROTTLED, None),
    "BandwidthLimitExceeded": (K.THROTTLED, None),
    # the bytes differ
    "BadDigest": (K.INTEGRITY, None),
    "InvalidDigest": (K.INTEGRITY, None),
    "IncompleteBody": (K.INTEGRITY, None),
    "XAmzContentSHA256Mismatch": (K.INTEGRITY, None),
    "XAmzContentChecksumMismatch": (K.INTEGRITY, None),
    # the upload is gone
    "NoSuchUpload": (K.SESSION_LOST, None),
    "InvalidPart": (K.SESSION_LOST, None),
    "InvalidPartOrder": (K.SESSION_LOST, None),
    # the login
    "ExpiredToken": (K.AUTH_EXPIRED, None),
    "ExpiredTokenException": (K.AUTH_EXPIRED, None),
    "TokenRefreshRequired": (K.AUTH_EXPIRED, None),
    "InvalidAccessKeyId": (K.AUTH_REVOKED, _LOGIN_HINT),
    "SignatureDoesNotMatch": (K.AUTH_REVOKED, _LOGIN_HINT),
    "InvalidToken": (K.AUTH_REVOKED, "Check session_token."),
    "InvalidClientTokenId": (K.AUTH_REVOKED, _LOGIN_HINT),
    "UnrecognizedClientException": (K.AUTH_REVOKED, _LOGIN_HINT),
    "InvalidSecurity": (K.AUTH_REVOKED, _LOGIN_HINT),
    "AccountProblem": (K.AUTH_REVOKED, "The store has a problem with the account: ask its operator."),
    "NotSignedUp": (K.AUTH_REVOKED, "The account is not signed up for S3."),
    "Unauthorized": (K.AUTH_REVOKED, _LOGIN_HINT),
    # full
    "QuotaExceeded": (K.QUOTA, "Free space in the bucket or raise its quota."),
    "QuotaExceededException": (K.QUOTA, "Free space in the bucket or raise its quota."),
    "XMinioAdminBucketQuotaExceeded": (K.QUOTA, "Free space in the bucket or raise its quota."),
    "XMinioStorageFull": (K.QUOTA, "The store's disks are full."),
    "StorageFull": (K.QUOTA, "The store's disks are full."),
    "InsufficientStorage": (K.QUOTA, "The store's disks are full."),
    "StorageCapExceeded": (K.QUOTA, "Raise the account's storage cap."),
    "StorageQuotaExceeded": (K.QUOTA, "Free space in the bucket or raise its quota."),
    # the configuration
    "NoSuchBucket": (K.CONFIG, "Create the bucket or correct its name."),
    "InvalidBucketName": (K.CONFIG, "Correct the bucket's name."),
    "AccessDenied": (K.CONFIG, _PERMISSION_HINT),
    "AllAccessDisabled": (K.CONFIG, _PERMISSION_HINT),
    "AccessControlListNotSupported": (K.CONFIG, "The bucket has ACLs disabled: leave out acl."),
    "PermanentRedirect": (K.CONFIG, _REGION_HINT),
    "TemporaryRedirect": (K.CONFIG, _REGION_HINT),
    "AuthorizationHeaderMalformed": (K.CONFIG, _REGION_HINT),
    "IllegalLocationConstraintException": (K.CONFIG, _REGION_HINT),
    "RequestTimeTooSkewed": (K.CONFIG, _CLOCK_HINT),
    "RequestExpired": (K.CONFIG, _CLOCK_HINT),
    "InvalidStorageClass": (K.CONFIG, "The store does not know this storage_class."),
    "NotImplemented": (K.CONFIG, "The store lacks a feature that the options ask for (sse, storage_class, acl …)."),
    "KMS.DisabledException": (K.CONFIG, "Enable the KMS key."),
    "KMS.NotFoundException": (K.CONFIG, "Correct sse_kms_key_id."),
    "KMS.KMSInvalidStateException": (K.CONFIG, "Enable the KMS key."),
    "InvalidEncryptionAlgorithmError": (K.CONFIG, "Correct sse."),
    "ServerSideEncryptionConfigurationNotFoundError": (K.CONFIG, "Correct sse."),
    "MethodNotAllowed": (K.CONFIG, "The endpoint does not seem to be an S3 API."),
    "EntityTooSmall": (K.CONFIG, "The store wants larger parts: raise part_size."),
    "InvalidRequest": (K.CONFIG, None),
    "InvalidArgument": (K.CONFIG, None),
    "MissingContentLength": (K.CONFIG, "A proxy before the store strips Content-Length."),
    "MalformedXML": (K.CONFIG, None),
    "InvalidObjectState": (K.CONFIG, None),
    # the item
    "PreconditionFailed": (K.CONFLICT, None),
    "KeyTooLongError": (K.NAME, None),
    "InvalidURI": (K.NAME, None),
    "XMinioInvalidObjectName": (K.NAME, None),
    "InvalidObjectName": (K.NAME, None),
    "EntityTooLarge": (K.TOO_LARGE, None),
    "MaxMessageLengthExceeded": (K.TOO_LARGE, None),
}  # fmt: skip
"""Error code of the service → kind and hint."""

STATUSES: Mapping[int, tuple[ErrorKind, str | None]] = {
    301: (K.CONFIG, _REGION_HINT),
    302: (K.CONFIG, "The endpoint redirects; redirects are not followed. Set its real address."),
    307: (K.CONFIG, _REGION_HINT),
    308: (K.CONFIG, "The endpoint redirects; redirects are not followed. Set its real address."),
    401: (K.AUTH_REVOKED, _LOGIN_HINT),
    403: (K.CONFIG, _PERMISSION_HINT),
    404: (K.CONFIG, "Check endpoint and bucket."),
    405: (K.CONFIG, "The endpoint does not seem to be an S3 API."),
    408: (K.TRANSIENT, None),
    412: (K.CONFLICT, None),
    413: (K.TOO_LARGE, None),
    414: (K.NAME, None),
    429: (K.THROTTLED, None),
    507: (K.QUOTA, "The store's disks are full."),
    509: (K.THROTTLED, None),
}
"""HTTP status → kind and hint, where the code says nothing (HEAD answers, proxies)."""

_BEFORE_SENDING = (sdk.EndpointConnectionError, sdk.ConnectTimeoutError, sdk.ProxyConnectionError)
_LOGIN_NEEDED = (
    sdk.NoCredentialsError, sdk.NoAuthTokenError, sdk.PartialCredentialsError, sdk.UnknownCredentialError,
    sdk.RefreshWithMFAUnsupportedError, sdk.SSOError, sdk.LoginError, sdk.UnknownTokenProviderError,
)  # fmt: skip

TRANSPORT: tuple[tuple[tuple[type[Exception], ...], ErrorKind, str | None], ...] = (
    (_BEFORE_SENDING, K.TRANSIENT, None),
    ((sdk.HTTPClientError, sdk.ConnectionError, sdk.IncompleteReadError), K.TRANSIENT, None),
    ((sdk.CredentialRetrievalError, sdk.TokenRetrievalError, sdk.MetadataRetrievalError), K.TRANSIENT,
     "The machine's AWS credentials could not be fetched."),
    (_LOGIN_NEEDED, K.AUTH_REVOKED, "Give access_key and secret_key, or repair the machine's AWS credentials."),
    ((sdk.ChecksumError, sdk.FlexibleChecksumError, sdk.AwsChunkedWrapperError), K.INTEGRITY, None),
    ((sdk.CapacityNotAvailableError,), K.THROTTLED, None),
    ((sdk.UnseekableStreamError,), K.SOURCE, None),
    ((sdk.BotoCoreError,), K.CONFIG, "Check the destination's options."),
)  # fmt: skip
"""SDK exception classes → kind and hint; the first match counts. The last line is what remains of the SDK's own
classes: parameters, profiles, regions, endpoints, features of other services."""


def classify(error: Exception, doing: str, *, sent: bool = False) -> DeliveryError:
    """Turn any exception of the SDK into the one error of the contract.

    Args:
        error: What the SDK raised.
        doing: What was being done, for the message: ``"put the object"``.
        sent: The whole request was sent, so that a missing answer leaves the outcome unknown.
    """
    for cause in causes(error):
        if isinstance(cause, DeliveryError):
            return cause
    if isinstance(error, sdk.ClientError):
        return _from_answer(error, doing)
    refused = next((c for c in causes(error) if isinstance(getattr(c, "cure", None), str)), None)
    if refused is not None:
        return DeliveryError(K.CONFIG, f"could not {doing}: {refused}", hint=getattr(refused, "cure", None))
    certificate = next((c for c in causes(error) if isinstance(c, ssl.SSLCertVerificationError)), None)
    if certificate is not None:
        text = f"could not {doing}: certificate not accepted ({certificate.verify_message or 'unknown'})"
        return DeliveryError(K.CONFIG, text, hint=_CERTIFICATE_HINT)
    return _from_transport(error, doing, sent)


def causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and what lies under it: the SDK keeps the original in ``kwargs``, urllib3 in ``args``."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        item = waiting.pop(0)
        if not isinstance(item, BaseException) or id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        under = getattr(item, "kwargs", None)
        waiting += [under.get("error") if isinstance(under, dict) else None, getattr(item, "reason", None)]
        waiting += [item.__cause__, item.__context__, *item.args]


def status_of(error: sdk.ClientError) -> int:
    """The HTTP status of an answer, 0 when it is not known."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)


def code_of(error: sdk.ClientError) -> str:
    """The service's error code; a HEAD answer has only the status, as text."""
    return str(error.response.get("Error", {}).get("Code") or "")


def _from_answer(error: sdk.ClientError, doing: str) -> DeliveryError:
    status, code = status_of(error), code_of(error)
    headers: Mapping[str, str] = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}) or {}
    details: Mapping[str, Any] = error.response.get("Error", {})
    kind, hint = CODES.get(code) or STATUSES.get(status) or _by_class(status)
    delay = stated_delay(headers)
    if status == 503 and delay is not None:
        kind = K.THROTTLED
    if hint is not None and "{region}" in hint:
        region = details.get("Region") or headers.get("x-amz-bucket-region")
        hint = hint.format(region=f": {region}" if region else "")
    said = str(details.get("Message") or "").strip()
    text = f"could not {doing}: {code or status}" + (f" ({said[:300]})" if said and said != code else "")
    request = headers.get("x-amz-request-id")
    return DeliveryError(
        kind,
        text + (f" [request {request}]" if request else ""),
        retry_after=delay if kind is K.THROTTLED else None,
        scope=Scope.DESTINATION,
        hint=hint,
        code=code if code and not code.isdigit() else status,
    )


def _by_class(status: int) -> tuple[ErrorKind, str | None]:
    if status >= 500 or status == 0:
        return K.TRANSIENT, None
    return K.CONFIG, None


def _from_transport(error: Exception, doing: str, sent: bool) -> DeliveryError:
    kind, hint = next(
        ((k, h) for classes, k, h in TRANSPORT if isinstance(error, classes)), (K.TRANSIENT, None)
    )
    if kind is K.TRANSIENT and sent and not isinstance(error, _BEFORE_SENDING):
        kind = K.UNKNOWN_OUTCOME
    return DeliveryError(kind, f"could not {doing}: {_reason(error)}", hint=hint, code=type(error).__name__)


def _reason(error: Exception) -> str:
    """A short reason without the URL, headers or objects that SDK messages carry."""
    for cause in causes(error):
        if isinstance(cause, TimeoutError):
            return "timed out"
        if isinstance(cause, socket.gaierror):
            return f"the host name could not be resolved ({cause.strerror})"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    if isinstance(error, sdk.ReadTimeoutError | sdk.ConnectTimeoutError):
        return "timed out"
    if isinstance(error, sdk.ConnectionError | sdk.HTTPClientError):
        return "the connection was closed or refused"
    return f"{type(error).__name__}: {str(error)[:300]}"


def stated_delay(headers: Mapping[str, str]) -> float | None:
    """Seconds that an answer asks to wait: ``x-amz-retry-after`` (milliseconds) or ``Retry-After`` (both forms)."""
    millis = headers.get("x-amz-retry-after", "").strip()
    if millis.isdigit():
        return min(int(millis) / 1000, MAX_DELAY)
    text = headers.get("retry-after", "").strip()
    if text.isdigit():
        return min(float(text), MAX_DELAY)
    try:
        until, sent = parsedate_to_datetime(text), parsedate_to_datetime(headers.get("date", ""))
    except ValueError:
        return None
    # Both by the server's clock: ours may be off.
    seconds = (until.astimezone(UTC) - sent.astimezone(UTC)).total_seconds()
    return min(max(0.0, seconds), MAX_DELAY)
