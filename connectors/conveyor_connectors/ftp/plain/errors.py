"""What went wrong, in the engine's words: answers of FTP servers, exceptions of ftplib, ssl and socket."""

from __future__ import annotations

import ftplib
import socket
import ssl

from conveyor.contract import DeliveryError, ErrorKind
from conveyor_connectors.ftp.plain.control import Reply, TlsRefused
from conveyor_connectors.ftp.server import LinkLost

_LOGIN = frozenset({"greeting", "AUTH", "USER", "PASS", "PBSZ", "PROT"})

_BUSY = ("too many", "maximum", "limit", "exceeded", "try again", "busy", "later", "connections", "users")
_ENCRYPTION = ("encrypt", "tls", "ssl", "cleartext", "clear text", "secure", "plaintext")
_FULL = (
    "no space",
    "disk full",
    "disk is full",
    "quota",
    "not enough space",
    "insufficient space",
    "storage",
)
_FAILED_WRITE = ("failure writing to local file",)
"""vsftpd's 451 for every error of a write, which on a sound disk is a full one."""
_NAMING = ("name too long", "filename too long", "file name", "filename", "illegal", "invalid character")
_IN_USE = ("being used", "in use", "locked", "temporar", "try again", "resource busy")

_HINTS = {
    ErrorKind.QUOTA: "make room on the server, or raise the account's quota",
    ErrorKind.CONFIG: "check that the login may write, rename and delete in that folder",
    ErrorKind.AUTH_REVOKED: "check username and password",
}
_WANTS_TLS = "the server wants encryption: set protocol: ftps"


def kind_of_reply(reply: Reply) -> ErrorKind:
    """The kind of a refusal: by code, by words where the code says several things (RFC 959, 4217)."""
    text = reply.text.lower()
    if reply.verb in _LOGIN:
        return _kind_of_login(reply.code, text)
    if reply.code in (452, 552) or _says(text, _FULL) or _says(text, _FAILED_WRITE):
        return ErrorKind.QUOTA
    if reply.code == 421:
        return ErrorKind.THROTTLED if _says(text, _BUSY) else ErrorKind.TRANSIENT
    if reply.code < 500 or _says(text, _IN_USE):
        return ErrorKind.TRANSIENT
    if reply.code in (501, 550, 553) and _says(text, _NAMING) and "no such" not in text:
        return ErrorKind.NAME
    return ErrorKind.AUTH_REVOKED if reply.code == 530 else ErrorKind.CONFIG


def _kind_of_login(code: int, text: str) -> ErrorKind:
    if _says(text, _ENCRYPTION):
        return ErrorKind.CONFIG
    if code in (421, 430, 450, 530) and _says(text, _BUSY):
        return ErrorKind.THROTTLED
    if code < 500 and code != 430:
        return ErrorKind.TRANSIENT
    return ErrorKind.AUTH_REVOKED if code in (430, 530) else ErrorKind.CONFIG


def _says(text: str, words: tuple[str, ...]) -> bool:
    return any(word in text for word in words)


def of_reply(reply: Reply, doing: str, *, kind: ErrorKind | None = None) -> DeliveryError:
    """A refusal; ``doing`` says of what, for the operator. ``kind`` when the caller knows better."""
    known = kind or kind_of_reply(reply)
    said = reply.text or "no reason given"
    return DeliveryError(
        known,
        f"{doing} was refused: {reply.code} {said}",
        hint=_hint(reply, known),
        code=reply.code,
        response=reply.text,
    )


def _hint(reply: Reply, kind: ErrorKind) -> str | None:
    if kind is ErrorKind.CONFIG and reply.verb == "AUTH":
        return "the server has no explicit TLS: try implicit: true (port 990), or ask its operator"
    if kind is ErrorKind.CONFIG and reply.verb in _LOGIN:
        return _WANTS_TLS if _says(reply.text.lower(), _ENCRYPTION) else None
    return _HINTS.get(kind)


_EXCEPTIONS: tuple[tuple[type[BaseException], ErrorKind, str], ...] = (
    (LinkLost, ErrorKind.TRANSIENT, ""),
    (EOFError, ErrorKind.TRANSIENT, "the server closed the connection"),
    (UnicodeError, ErrorKind.NAME, "the name cannot be written in the server's encoding"),
    (ValueError, ErrorKind.NAME, "the name cannot be sent"),
    (ftplib.error_proto, ErrorKind.TRANSIENT, "the server does not keep to FTP"),
    (ftplib.Error, ErrorKind.TRANSIENT, "an answer out of order"),
    (socket.gaierror, ErrorKind.TRANSIENT, "the host name cannot be resolved"),
    (socket.herror, ErrorKind.TRANSIENT, "the host name cannot be resolved"),
    (TimeoutError, ErrorKind.TRANSIENT, "the server did not answer in time"),
    (ConnectionRefusedError, ErrorKind.TRANSIENT, "the server refuses connections"),
    (OSError, ErrorKind.TRANSIENT, "the connection failed"),
)
"""In this order: the first that fits."""


def of_exception(error: BaseException, where: str) -> DeliveryError:
    """The engine's error for whatever ftplib, ssl or a socket raised; ``where`` is ``host:port``."""
    if isinstance(error, DeliveryError):
        return error
    if isinstance(error, Reply):
        return of_reply(error, f"{where}: {error.verb}")
    if isinstance(error, ftplib.error_temp | ftplib.error_perm) and str(error)[:3].isdigit():
        return of_reply(Reply(int(str(error)[:3]), str(error)[4:], "a request"), f"{where}: a request")
    if isinstance(error, TlsRefused):
        return of_exception(error.reason, f"{where}{' (data connection)' if error.data else ''}")
    if isinstance(error, ssl.SSLError):
        return _of_tls(error, where)
    if hasattr(error, "cure"):  # Conveyor's own: the network policy, an authority's file
        return DeliveryError(ErrorKind.CONFIG, f"{where}: {error}", hint=error.cure)
    for kind_of_exception, kind, words in _EXCEPTIONS:
        if isinstance(error, kind_of_exception):
            return DeliveryError(kind, f"{where}: {words}{_detail(error, bare=not words)}")
    return DeliveryError(ErrorKind.TRANSIENT, f"{where}: unexpected {type(error).__name__}")


def _detail(error: BaseException, *, bare: bool) -> str:
    if bare:
        return str(error)
    return f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""


_POLICY = (
    "CERTIFICATE",
    "HANDSHAKE_FAILURE",
    "HTTP_REQUEST",
    "KEY_TOO_SMALL",
    "LEGACY",
    "NO_SHARED",
    "NO_PROTOCOLS",
    "PROTOCOL_VERSION",
    "UNKNOWN_CA",
    "UNSUPPORTED",
    "WRONG_VERSION_NUMBER",
    "UNKNOWN_PROTOCOL",
    "RECORD_LAYER_FAILURE",
)
"""Parts of OpenSSL's reasons that no repetition changes."""


def _of_tls(error: ssl.SSLError, where: str) -> DeliveryError:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = getattr(error, "verify_message", "") or "verification failed"
        return DeliveryError(
            ErrorKind.CONFIG,
            f"{where}: the server's certificate is not accepted ({why})",
            hint="host must be the name in the certificate; for an authority of its own, or a self-signed "
            "certificate, set ca_file",
            code="certificate",
        )
    reason = getattr(error, "reason", None) or type(error).__name__
    if not any(word in reason for word in _POLICY):
        return DeliveryError(ErrorKind.TRANSIENT, f"{where}: the TLS connection failed ({reason})")
    return DeliveryError(
        ErrorKind.CONFIG,
        f"{where}: the server does not agree on TLS ({reason})",
        hint="is this the right port? Port 990 wants implicit: true, port 21 does not; TLS 1.2 is the least",
        code=reason,
    )
