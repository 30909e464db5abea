"""Every error of the SDK and of the service becomes the one error of the contract.

No SDK exception leaves this module: they hold the request with its headers.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import botocore.exceptions as sdk

from conveyor.contract import DeliveryError, ErrorKind, Scope
from conveyor.kit.errors import Endless, causes, ours, refusal
from conveyor.kit.waits import stated_delay
from conveyor_connectors.s3.codes import CODES, ROLE, STATUSES

_CERTIFICATE_HINT = "Set ca_bundle to the CA that signed the store's certificate, or correct the endpoint."

K = ErrorKind

_BEFORE_SENDING = (sdk.EndpointConnectionError, sdk.ConnectTimeoutError, sdk.ProxyConnectionError)
_LOGIN_NEEDED = (
    sdk.NoCredentialsError,
    sdk.NoAuthTokenError,
    sdk.PartialCredentialsError,
    sdk.UnknownCredentialError,
    sdk.RefreshWithMFAUnsupportedError,
    sdk.LoginError,
    sdk.UnknownTokenProviderError,
)
_SIGNED_OUT = (sdk.SSOError, sdk.TokenRetrievalError)
_FETCHING_LOGIN = (sdk.CredentialRetrievalError, sdk.MetadataRetrievalError)
_DIGESTS = (sdk.ChecksumError, sdk.FlexibleChecksumError, sdk.AwsChunkedWrapperError)

TRANSPORT: tuple[tuple[tuple[type[Exception], ...], ErrorKind, str | None], ...] = (
    (_BEFORE_SENDING, K.TRANSIENT, None),
    ((sdk.HTTPClientError, sdk.ConnectionError, sdk.IncompleteReadError), K.TRANSIENT, None),
    (_SIGNED_OUT, K.AUTH_REVOKED, "Sign in again with aws sso login, as the user that runs Conveyor."),
    (_FETCHING_LOGIN, K.TRANSIENT, "The machine's AWS credentials could not be fetched."),
    (_LOGIN_NEEDED, K.AUTH_REVOKED, "Give access_key and secret_key, or repair the machine's credentials."),
    (_DIGESTS, K.INTEGRITY, None),
    ((sdk.CapacityNotAvailableError,), K.THROTTLED, None),
    ((sdk.UnseekableStreamError,), K.SOURCE, None),
    ((sdk.BotoCoreError,), K.CONFIG, "Check the destination's options."),
)
"""SDK exception classes → kind and hint; the first match counts. The last line is what remains of the
SDK's own classes: parameters, profiles, regions, endpoints, features of other services."""


def classify(error: Exception, doing: str, *, sent: bool = False) -> DeliveryError:
    """Turn any exception of the SDK into the one error of the contract.

    Args:
        error: What the SDK raised.
        doing: What was being done, for the message: ``"put the object"``.
        sent: The whole request was sent, so that a missing answer leaves the outcome unknown.
    """
    if (wrapped := ours(error)) is not None:
        return wrapped
    if isinstance(error, sdk.ClientError):
        return _from_answer(error, doing)
    refused = refusal(error, doing, certificate=_CERTIFICATE_HINT)
    return refused or _from_transport(error, doing, sent)


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
    if error.operation_name.startswith("AssumeRole") and kind is K.CONFIG:
        hint = ROLE
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
        if isinstance(cause, Endless):
            return str(cause)
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
    return (
        f"{type(error).__name__}: {str(error)[:300]}"
        if isinstance(error, sdk.BotoCoreError)
        else type(error).__name__
    )
