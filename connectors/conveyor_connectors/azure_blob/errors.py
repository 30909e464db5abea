"""Every error of the SDK and of the service becomes the one error of the contract.

No SDK exception leaves this module: they hold the request with its headers and its SAS.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import azure.core.exceptions as sdk
import requests.exceptions as wire
import urllib3.exceptions as lower

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.kit.errors import causes, ours, reason, refusal
from conveyor.kit.waits import stated_delay
from conveyor_connectors.azure_blob.codes import CODES, IDENTITY, LOGIN, STATUSES

_CERTIFICATE_HINT = "Set ca_bundle to the CA that signed the service's certificate, or correct the address."

K = ErrorKind

_FORBIDDEN = frozenset({"403", "AuthorizationFailure", "InsufficientAccountPermissions"})

_BEFORE_SENDING = (
    sdk.ServiceRequestTimeoutError,
    lower.NewConnectionError,
    lower.ConnectTimeoutError,
    wire.ConnectTimeout,
)
_ADDRESS = (
    wire.InvalidURL,
    wire.InvalidSchema,
    wire.MissingSchema,
    wire.InvalidHeader,
    wire.TooManyRedirects,
    wire.URLRequired,
    wire.UnrewindableBodyError,
    lower.LocationValueError,
    lower.ProxySchemeUnsupported,
    lower.InvalidHeader,
    lower.UnrewindableBodyError,
    sdk.TooManyRedirectsError,
)
_MISUSE = (
    sdk.SerializationError,
    sdk.StreamConsumedError,
    sdk.StreamClosedError,
    sdk.ResponseNotReadError,
    wire.StreamConsumedError,
)

TRANSPORT: tuple[tuple[tuple[type[BaseException], ...], ErrorKind, str | None], ...] = (
    (_ADDRESS, K.CONFIG, "Check the address of the account."),
    ((sdk.ClientAuthenticationError,), K.AUTH_REVOKED, IDENTITY),
    (_MISUSE, K.CONFIG, "Check the destination's options."),
    ((sdk.ServiceRequestError, sdk.ServiceResponseError), K.TRANSIENT, None),
    ((sdk.HttpResponseError, sdk.DeserializationError, sdk.AzureError), K.TRANSIENT, None),
    ((wire.RequestException, lower.HTTPError, OSError), K.TRANSIENT, None),
)
"""Exception classes without an answer of the service → kind and hint; the first match counts."""


def classify(error: BaseException, doing: str, *, sent: bool = False) -> DeliveryError:
    """Turn any exception of the SDK into the one error of the contract.

    Args:
        error: What the SDK raised.
        doing: What was being done, for the message: ``"put the blob"``.
        sent: The whole of a publishing request was sent: without a clear answer its outcome is unknown.
    """
    if (wrapped := ours(error)) is not None:
        return wrapped
    if isinstance(error, sdk.HttpResponseError) and getattr(error, "status_code", None):
        return _from_answer(error, doing, sent)
    refused = refusal(error, doing, certificate=_CERTIFICATE_HINT)
    return refused or _from_transport(error, doing, sent)


def code_of(error: sdk.HttpResponseError) -> str:
    """The service's error code, from the body or, for an answer without one (HEAD), from its header."""
    told: Any = getattr(error, "error_code", None)
    if told is None:
        told = _headers(error).get("x-ms-error-code")
    return str(getattr(told, "value", told) or "")


def _headers(error: sdk.HttpResponseError) -> Mapping[str, str]:
    response: Any = error.response
    return {} if response is None else response.headers


def _from_answer(error: sdk.HttpResponseError, doing: str, sent: bool) -> DeliveryError:
    status, code = int(error.status_code or 0), code_of(error)
    headers = _headers(error)
    kind, hint = CODES.get(code) or STATUSES.get(status) or _by_class(status)
    said = _first_line(error.message or "")
    delay = stated_delay(headers)
    if status == 503 and (delay is not None or not code):
        kind = K.THROTTLED if delay is not None else K.TRANSIENT
    if status == 401 and "bearer" in headers.get("www-authenticate", "").lower():
        kind, hint = K.AUTH_EXPIRED, IDENTITY
    if code == "InvalidOperation" and "md5" in said.lower():  # Azurite's word for Md5Mismatch
        kind, hint = K.INTEGRITY, None
    if code == "OperationTimedOut" and sent:
        # "The operation may or may not have succeeded on the server side", the code's description says.
        kind = K.UNKNOWN_OUTCOME
    text = f"could not {doing}: {code or status}" + (f" ({said})" if said and code else "")
    return DeliveryError(kind, text, retry_after=delay, hint=hint, code=code or status)


def _first_line(message: str) -> str:
    """What the service says; the further lines quote the request, a proxy might in the first one."""
    lines = message.strip().splitlines()
    return re.sub(r"sig=[^&\s\"'<]+", "sig=…", lines[0][:300]) if lines else ""


def _by_class(status: int) -> tuple[ErrorKind, str | None]:
    """For codes that this version does not know."""
    return (K.TRANSIENT, None) if status >= 500 else (K.CONFIG, None)


def _from_transport(error: BaseException, doing: str, sent: bool) -> DeliveryError:
    kind, hint = next(
        ((k, h) for classes, k, h in TRANSPORT if isinstance(error, classes)), (K.TRANSIENT, None)
    )
    before = any(isinstance(cause, _BEFORE_SENDING) for cause in causes(error))
    if kind is K.TRANSIENT and sent and not before:
        kind = K.UNKNOWN_OUTCOME
    if kind is K.AUTH_REVOKED and type(error).__name__ == "AzureSigningError":
        hint = LOGIN
    return DeliveryError(kind, f"could not {doing}: {_reason(error)}", hint=hint, code=type(error).__name__)


def _reason(error: BaseException) -> str:
    """A short reason; azure-core wraps some failures without their cause."""
    why = reason(error)
    lost = isinstance(error, sdk.ServiceRequestError | sdk.ServiceResponseError)
    return "the connection was closed or refused" if lost and why == type(error).__name__ else why


def forbidden(error: DeliveryError) -> bool:
    """The sign-in is accepted and may not do this."""
    code = error.code or ""
    return error.kind is ErrorKind.CONFIG and (code in _FORBIDDEN or code.startswith("AuthorizationPerm"))
