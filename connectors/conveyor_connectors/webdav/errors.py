"""Every answer and every exception becomes the one error of the contract."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import requests.exceptions as http
import urllib3.exceptions as wire
import webdav3.exceptions as dav  # type: ignore[import-untyped]

from conveyor.contract import DeliveryError, ErrorKind, Scope
from conveyor.kit.errors import causes, ours, reason, refusal
from conveyor.kit.waits import stated_delay
from conveyor_connectors.webdav.client import Answer

K = ErrorKind

_NO_DAV = "Is the url a WebDAV address, and does the server have the method switched on?"
_CERTIFICATE = "Set ca_bundle to the CA that signed the server's certificate, or correct the url."

STATUSES: Mapping[int, tuple[ErrorKind, str | None]] = {
    400: (K.CONFIG, "The server does not understand the request; a proxy in front of it may change it."),
    401: (K.AUTH_REVOKED, "Check username and password; Nextcloud and ownCloud want an app password."),
    403: (K.CONFIG, "The login may not write there."),
    404: (K.CONFIG, "Make the folder, or correct url and remote_path."),
    405: (K.CONFIG, _NO_DAV),
    406: (K.CONFIG, _NO_DAV),
    407: (K.CONFIG, "The proxy asks for a login: check network.proxy."),
    408: (K.TRANSIENT, None),
    409: (K.TRANSIENT, None),
    411: (K.CONFIG, "A proxy in front of the server removes Content-Length."),
    413: (K.TOO_LARGE, "Raise the server's limit for uploads, or use chunked_upload."),
    414: (K.NAME, None),
    415: (K.REJECTED, None),
    421: (K.TRANSIENT, None),
    422: (K.REJECTED, None),
    423: (K.TRANSIENT, "Somebody has locked the file or folder on the server."),
    425: (K.TRANSIENT, None),
    429: (K.THROTTLED, None),
    431: (K.NAME, None),
    501: (K.CONFIG, _NO_DAV),
    505: (K.CONFIG, None),
    507: (K.QUOTA, "Make room on the server, or raise the account's quota."),
    508: (K.CONFIG, None),
    509: (K.THROTTLED, None),
}
"""Status → kind and hint, where nothing is known about the circumstances. Other 4xx are CONFIG, 5xx
TRANSIENT.

RFC 4918 §11 (422, 423, 507), RFC 6585 (429, 431); 509 is Apache's "bandwidth limit exceeded".
"""

BEFORE_SENDING = (
    wire.NewConnectionError,
    wire.ConnectTimeoutError,
    wire.NameResolutionError,
    wire.ProxyError,
)

TRANSPORT: tuple[tuple[tuple[type[Exception], ...], ErrorKind, str | None], ...] = (
    ((wire.SSLError, http.SSLError), K.TRANSIENT, None),
    ((wire.TimeoutError, wire.ProtocolError, wire.HTTPError), K.TRANSIENT, None),
    ((http.InvalidURL, http.MissingSchema, http.InvalidSchema, http.InvalidHeader), K.CONFIG, None),
    ((http.InvalidProxyURL, http.TooManyRedirects), K.CONFIG, None),
    ((http.RequestException,), K.TRANSIENT, None),
    ((dav.NotEnoughSpace,), K.QUOTA, None),
    ((dav.LocalResourceNotFound,), K.SOURCE, None),
    ((dav.NoConnection, dav.NotConnection, dav.ConnectionException, dav.ResourceLocked), K.TRANSIENT, None),
    ((dav.WebDavException,), K.CONFIG, "Check the destination's options."),
    ((OSError,), K.TRANSIENT, None),
)
"""Exception classes of the libraries → kind and hint; the first match counts."""


def of_answer(answer: Answer, doing: str) -> DeliveryError:
    """The error that a refusal means.

    Args:
        answer: Not 2xx, or a 207 that told of failures.
        doing: What was being done, for the message: ``"store the file"``.
    """
    status = answer.status
    if 300 <= status < 400:
        return _redirect(answer, doing)
    kind, hint = STATUSES.get(status) or (K.TRANSIENT if status >= 500 else K.CONFIG, None)
    said = message_of(answer.body)
    if status == 400:
        kind, hint = _bad_request(answer.body, kind, hint)
    delay = stated_delay(answer.headers)
    if status == 503 and delay is not None:
        kind = K.THROTTLED
    return DeliveryError(
        kind,
        f"could not {doing}: {status}" + (f" ({said})" if said else ""),
        retry_after=delay if kind is K.THROTTLED else None,
        scope=Scope.DESTINATION,
        hint=hint,
        code=status,
    )


def _redirect(answer: Answer, doing: str) -> DeliveryError:
    """Never followed: a redirected PUT becomes a GET, and a login does not belong on another server."""
    parts = urlsplit(answer.headers.get("Location", ""))
    to = f"{parts.scheme}://{parts.hostname}" if parts.scheme and parts.hostname else "another address"
    return DeliveryError(
        K.CONFIG,
        f"could not {doing}: the server redirects to {to} ({answer.status})",
        hint="Set url to the address that the server redirects to.",
        code=answer.status,
    )


def _bad_request(body: bytes, kind: ErrorKind, hint: str | None) -> tuple[ErrorKind, str | None]:
    """sabre, Nextcloud and ownCloud say in the body what is wrong with the request."""
    if b"InvalidPath" in body or b"invalid character" in body:
        return K.NAME, None
    if b"checksum" in body.lower():
        return K.INTEGRITY, None
    return kind, hint


def message_of(body: bytes) -> str:
    """The sentence of a sabre error document, without mark-up and not too long; empty elsewhere."""
    found = re.search(rb"<s:message[^>]*>([^<]{1,300})", body[:16_384])
    text = found.group(1).decode("utf-8", "replace") if found else ""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def of_exception(error: Exception, doing: str, *, publishes: bool = False) -> DeliveryError:
    """The error that an exception means.

    Args:
        error: Of requests, urllib3, webdavclient3, the network policy.
        doing: What was being done.
        publishes: The request makes the file visible, so that a missing answer leaves the outcome unknown.
    """
    if (wrapped := ours(error)) is not None:
        return wrapped
    if (refused := refusal(error, doing, certificate=_CERTIFICATE)) is not None:
        return refused
    kind, hint = next(((k, h) for types, k, h in TRANSPORT if isinstance(error, types)), (K.TRANSIENT, None))
    if kind is K.TRANSIENT and publishes and not any(isinstance(c, BEFORE_SENDING) for c in causes(error)):
        kind = K.UNKNOWN_OUTCOME
    text = f"could not {doing}: {reason(error)}"
    return DeliveryError(kind, text, hint=hint, code=type(error).__name__)
