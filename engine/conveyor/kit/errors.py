"""What an exception without an answer means: the transport's part of every connector's error mapping.

No exception object leaves a connector: SDKs keep requests, headers and tokens in theirs.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import urllib3.exceptions as lower

from conveyor.contract import DeliveryError, ErrorKind

CERTIFICATE = "Set network.ca_bundle to the CA that signed the service's certificate, or correct the address."
ADDRESS = "Check the addresses in the destination's options."

K = ErrorKind

_UNSENT = (lower.NewConnectionError, lower.ConnectTimeoutError)
_UNSENT_NAMES = frozenset({"ConnectTimeout"})
_ADDRESS = (lower.LocationValueError, lower.ProxySchemeUnsupported, lower.InvalidHeader)
_ADDRESS_NAMES = frozenset({"InvalidURL", "InvalidSchema", "MissingSchema", "InvalidHeader", "URLRequired"})
"""Of ``requests``, which is not always installed."""


class Endless(lower.HTTPError):
    """An answer takes too long, or is too long, to be one."""

    def __init__(self) -> None:
        super().__init__("the answer does not end")


def causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and what lies under it: SDKs and requests keep originals in several places."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        item = waiting.pop(0)
        if not isinstance(item, BaseException) or id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        waiting += [getattr(item, name, None) for name in ("inner_exception", "reason", "error")]
        named = getattr(item, "kwargs", None)  # where botocore keeps the original
        waiting.append(named.get("error") if isinstance(named, dict) else None)
        waiting += [item.__cause__, item.__context__, *item.args]


def ours(error: BaseException) -> DeliveryError | None:
    """The contract's own error, where an SDK has wrapped one (a payload that ended early, say)."""
    return next((cause for cause in causes(error) if isinstance(cause, DeliveryError)), None)


@contextmanager
def guarded(doing: str, translate: Callable[[Exception, str], DeliveryError]) -> Iterator[None]:
    """Let nothing but the contract's errors out of a connector.

    Args:
        doing: What is being done, for the message: ``"upload the file"``.
        translate: Makes of an exception and of ``doing`` the contract's error.

    Raises:
        DeliveryError: As it was raised inside, or translated.
    """
    try:
        yield
    except DeliveryError:
        raise
    except Exception as error:
        raise translate(error, doing) from None


def from_transport(error: BaseException, doing: str, *, sent: bool = False) -> DeliveryError:
    """Turn an exception of the transport into the one error of the contract.

    Args:
        error: What urllib3, requests, the socket or an SDK raised, without an answer of the service.
        doing: What was being done, for the message: ``"upload the file"``.
        sent: The whole of a publishing request was sent: without an answer its outcome is unknown.

    Returns:
        CONFIG for a refused address or certificate, UNKNOWN_OUTCOME after ``sent``, else TRANSIENT.
    """
    if (wrapped := ours(error)) is not None:
        return wrapped
    if (refused := refusal(error, doing)) is not None:
        return refused
    text, code = f"could not {doing}: {reason(error)}", type(error).__name__
    if any(isinstance(c, _ADDRESS) or type(c).__name__ in _ADDRESS_NAMES for c in causes(error)):
        return DeliveryError(K.CONFIG, text, hint=ADDRESS, code=code)
    unsent = any(isinstance(c, _UNSENT) or type(c).__name__ in _UNSENT_NAMES for c in causes(error))
    kind = K.UNKNOWN_OUTCOME if sent and not unsent else K.TRANSIENT
    return DeliveryError(kind, text, code=code)


def refusal(error: BaseException, doing: str, *, certificate: str = CERTIFICATE) -> DeliveryError | None:
    """CONFIG, where our own side refused to talk: by the network policy, or for the peer's certificate.

    Args:
        error, doing: As for :func:`from_transport`.
        certificate: The hint for a certificate that is not accepted.
    """
    known: Any = next((c for c in causes(error) if hasattr(c, "cure")), None)
    if known is not None:  # the network policy's refusal, a CA file that cannot be used
        return DeliveryError(K.CONFIG, f"could not {doing}: {known.message}", hint=known.cure)
    shown = next((c for c in causes(error) if isinstance(c, ssl.SSLCertVerificationError)), None)
    if shown is None:
        return None
    why = getattr(shown, "verify_message", "") or "no reason given"
    text = f"could not {doing}: certificate not accepted ({why})"
    return DeliveryError(K.CONFIG, text, hint=certificate)


def reason(error: BaseException) -> str:
    """A short reason without the URL, headers or objects that exceptions' texts carry."""
    for cause in causes(error):
        if isinstance(cause, lower.NewConnectionError):
            continue  # urllib3 derives it from its time-outs; why is in its cause
        if isinstance(cause, Endless):
            return str(cause)
        if isinstance(cause, TimeoutError | lower.TimeoutError):
            return "timed out"
        if isinstance(cause, socket.gaierror):
            return f"the host name could not be resolved ({cause.strerror})"
        if isinstance(cause, OSError) and cause.strerror and "://" not in cause.strerror:
            return cause.strerror
    if any(isinstance(cause, OSError | lower.HTTPError) for cause in causes(error)):
        return "the connection was closed or refused"
    return type(error).__name__


def by_status(status: int) -> ErrorKind:
    """What a status means where neither the service's code nor the connector's table says more.

    5xx passes, 429 asks to slow down; everything else is a mistake that does not go away by itself.
    """
    if status == 429:
        return K.THROTTLED
    return K.TRANSIENT if status >= 500 or status == 408 else K.CONFIG
