"""What an answer, or the lack of a connection, means to the engine.

Any answer but 2xx follows the published schedule, with few exceptions: a receiver that says 404 during a
deployment must not lose its retries.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

from urllib3.exceptions import ConnectTimeoutError, HTTPError, NameResolutionError, NewConnectionError

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.kit.waits import instant
from conveyor.network import NetworkRefused
from conveyor_connectors.webhook.exchange import Answer

_HINTS = {
    401: "the receiver refuses the signature or the login: compare the secret, or the Authorization header",
    403: "the receiver or a firewall before it forbids the request",
    404: "the receiver knows no such path: compare the URL",
    405: "the receiver takes no POST at this URL",
    407: "the proxy asks for a login: put it into network.proxy",
    411: "something before the receiver needs a Content-Length that was sent; ask its operator",
    415: "the receiver wants another format: compare the option format",
}
_BUSY = (429, 503)


def retry_after(value: str | None, now: float, date: str | None = None) -> float | None:
    """Seconds that a ``Retry-After`` asks for, in either form (RFC 9110 §10.2.3); None when it says nothing.

    Args:
        value: The header's value.
        now: Seconds since the epoch.
        date: The answer's own ``Date``, for a date to be held against where it is one: our clock may be off.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    until = instant(value)
    if until is None:
        return None
    since = instant(date)
    return max(0.0, float(math.ceil(until - (now if since is None else since))))


def refusal(answer: Answer, *, now: float, permanent: Collection[int], hide: Iterable[str]) -> DeliveryError:
    """The error for an answer that is not a success.

    Args:
        answer: What the receiver said; its status is not 2xx.
        now: Seconds since the epoch, for a Retry-After that names a date.
        permanent: Statuses that the operator declared final.
        hide: Secrets that an echoing receiver may have put into its answer.
    """
    status = answer.status
    delay = retry_after(answer.headers.get("retry-after"), now, answer.headers.get("date"))
    return DeliveryError(
        _kind(status, delay, permanent),
        f"the receiver answered {status}",
        retry_after=delay if status in _BUSY else None,
        hint=_hint(answer),
        code=status,
        response=excerpt(answer.body, hide),
    )


def _kind(status: int, delay: float | None, permanent: Collection[int]) -> ErrorKind:
    if status in permanent:
        return ErrorKind.REJECTED
    if status == 410:
        return ErrorKind.GONE
    if status == 413:
        return ErrorKind.TOO_LARGE
    if status == 429 or (status == 503 and delay is not None):
        return ErrorKind.THROTTLED
    return ErrorKind.TRANSIENT


def _hint(answer: Answer) -> str | None:
    if 300 <= answer.status < 400:
        return f"redirects are not followed{_where(answer.headers.get('location'))}: put the final URL there"
    return _HINTS.get(answer.status)


def _where(location: str | None) -> str:
    """The redirect's host and path; its query may hold a token."""
    try:
        parts = urlsplit(location or "")
        shown = f"{parts.scheme}://{parts.hostname}{parts.path}" if parts.hostname else parts.path
    except ValueError:
        return ""
    return f" (it points to {shown[:200]})" if shown else ""


def unreachable(error: Exception, origin: str) -> DeliveryError:
    """The error for whatever connecting raised.

    Args:
        error: From the network policy, TLS, urllib3 or the socket.
        origin: The URL's scheme and host, for the message.
    """
    kind, hint = ErrorKind.TRANSIENT, None
    match error:
        case NetworkRefused():
            kind, message, hint = ErrorKind.CONFIG, error.message, error.cure
        case ssl.SSLCertVerificationError():
            kind, message = (
                ErrorKind.CONFIG,
                f"the certificate was refused: {getattr(error, 'verify_message', None) or error}",
            )
            hint = "renew the receiver's certificate, or name its authority in ca_bundle"
        case ssl.SSLError():
            message = f"TLS failed: {getattr(error, 'reason', None) or 'the handshake broke'}"
            hint = "the port may not speak TLS: compare the URL"
        case NameResolutionError():
            message, hint = "the name was not found", "compare the URL's host, and this machine's DNS"
        case TimeoutError():
            message = "no connection in time"
        case ConnectTimeoutError() if not isinstance(error, NewConnectionError):
            message = "no connection in time"
        case OSError():
            message = f"no connection: {error.strerror or error}"
        case HTTPError():
            cause = error.__cause__
            message = (
                f"no connection: {(cause.strerror if isinstance(cause, OSError) else None) or 'it broke'}"
            )
        case _ if hasattr(error, "cure"):
            kind, message, hint = ErrorKind.CONFIG, str(error).partition("\n")[0], error.cure
        case _:
            message = f"no connection: {type(error).__name__}"
    return DeliveryError(kind, f"{origin}: {message}", hint=hint)


def excerpt(body: bytes, hide: Iterable[str]) -> str | None:
    """The beginning of an answer as text, without the destination's own secrets."""
    text = body.decode("utf-8", "replace")
    for secret in hide:
        if secret:
            text = text.replace(secret, "***")
    return text[:4096] or None
