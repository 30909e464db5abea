"""What a server's answer, or the lack of one, means for the delivery."""

from __future__ import annotations

import re
import smtplib

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.kit.errors import from_transport

K = ErrorKind

_ENHANCED = re.compile(r"[245]\.(\d{1,3}\.\d{1,3})\b")
_BY_ENHANCED = {
    "1.1": K.CONFIG,  # bad destination mailbox
    "1.2": K.CONFIG,  # bad destination system
    "1.8": K.CONFIG,  # bad sender's system
    "2.1": K.CONFIG,  # mailbox disabled
    "2.2": K.QUOTA,  # mailbox full
    "2.3": K.TOO_LARGE,  # message length exceeds administrative limit
    "3.4": K.TOO_LARGE,  # message too big for system
    "7.1": K.CONFIG,  # delivery not authorized
    "7.8": K.AUTH_REVOKED,  # authentication credentials invalid
    "7.9": K.AUTH_REVOKED,  # authentication mechanism is too weak
}
"""By the enhanced status code (RFC 3463, RFC 5248), after its class."""

_BY_CODE = {
    530: K.AUTH_REVOKED,  # authentication required (RFC 4954, section 6)
    534: K.AUTH_REVOKED,
    535: K.AUTH_REVOKED,
    538: K.CONFIG,  # encryption required for the requested mechanism
    552: K.TOO_LARGE,  # message exceeds fixed maximum message size (RFC 1870, section 6.1)
}
HINTS = {
    K.CONFIG: "Check host, security, sender and to.",
    K.AUTH_REVOKED: "Check username and password.",
    K.QUOTA: "Somebody must make room in the mailbox.",
}


def answered(code: int, text: bytes | str, step: str) -> DeliveryError:
    """The error for an answer that refuses.

    4xx passes by definition (RFC 5321, section 4.2.1): full disks, greylisting, too many connections. 5xx
    does not, and is told apart by the enhanced status code, else by the code; without either the content
    was refused when it was sent (``data``), else something about sender, recipients or server is wrong.

    Args:
        code: The reply's.
        text: Its text.
        step: ``connect``, ``login``, ``mail``, ``rcpt`` or ``data``: what it answers.
    """
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    shown = " ".join(shown.split())[:300]
    if not 500 <= code <= 599:
        kind = K.TRANSIENT
    else:
        enhanced = _ENHANCED.match(shown)
        otherwise = K.REJECTED if step == "data" else K.AUTH_REVOKED if step == "login" else K.CONFIG
        kind = _BY_ENHANCED.get(enhanced[1] if enhanced else "", _BY_CODE.get(code, otherwise))
        if step == "data" and kind in (K.CONFIG, K.AUTH_REVOKED):
            kind = K.REJECTED  # the recipients were accepted: it is this content
    return DeliveryError(
        kind, f"the mail server answered {code} to {step}", hint=HINTS.get(kind), code=code, response=shown
    )


def classified(error: Exception, step: str, *, sent: bool = False) -> DeliveryError:
    """The error for an exception of smtplib, of TLS or of the socket.

    Args:
        error: The exception.
        step: As for :func:`answered`.
        sent: The whole mail was sent: without an answer it may have been taken.
    """
    if isinstance(error, smtplib.SMTPResponseException) and error.smtp_code >= 400:
        return answered(error.smtp_code, error.smtp_error, step)
    if isinstance(error, smtplib.SMTPNotSupportedError):
        message = "the mail server offers no login that can be used, or no STARTTLS"
        return DeliveryError(K.CONFIG, message, hint="Check port and security.")
    if isinstance(error, smtplib.SMTPException) and not isinstance(error, smtplib.SMTPConnectError):
        kind = K.UNKNOWN_OUTCOME if sent else K.TRANSIENT
        return DeliveryError(kind, f"the connection to the mail server was lost at {step}")
    return from_transport(error, f"talk to the mail server ({step})", sent=sent)
