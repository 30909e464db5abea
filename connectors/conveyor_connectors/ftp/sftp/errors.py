"""What went wrong, in the engine's words: paramiko's exceptions and SFTP's status codes."""

from __future__ import annotations

import paramiko
from paramiko.auth_strategy import AuthFailure
from paramiko.ber import BERException
from paramiko.buffered_pipe import PipeTimeout
from paramiko.hostkeys import InvalidHostKey
from paramiko.packet import NeedRekeyException
from paramiko.pkey import UnknownKeyType
from paramiko.sftp import SFTPError
from paramiko.ssh_exception import (
    ConfigParseError,
    CouldNotCanonicalize,
    IncompatiblePeer,
    MessageOrderError,
    NoValidConnectionsError,
    PartialAuthentication,
    ProxyCommandFailure,
    UnableToAuthenticate,
)

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.network import NetworkRefused
from conveyor_connectors.ftp.sftp.client import StatusError
from conveyor_connectors.ftp.sftp.wire import Packet, Status

_OLD = (
    "SHA-1 and DSA are refused here: ask the server's operator for an Ed25519, ECDSA or RSA-SHA2 host key "
    "and a SHA-2 key exchange (OpenSSH has both since 7.2)"
)

EXCEPTIONS: dict[type[BaseException], tuple[ErrorKind, str, str | None]] = {
    paramiko.BadHostKeyException: (ErrorKind.CONFIG, "the server's host key is not the pinned one", None),
    paramiko.PasswordRequiredException: (
        ErrorKind.CONFIG,
        "the private key is encrypted",
        "set passphrase",
    ),
    paramiko.BadAuthenticationType: (
        ErrorKind.AUTH_REVOKED,
        "the server does not accept this way of logging in",
        "give what the server asks for: a password, a private_key, or both",
    ),
    PartialAuthentication: (ErrorKind.AUTH_REVOKED, "the server wants a second way of logging in", None),
    UnableToAuthenticate: (ErrorKind.AUTH_REVOKED, "the login was refused", None),
    AuthFailure: (ErrorKind.AUTH_REVOKED, "the login was refused", None),
    paramiko.AuthenticationException: (
        ErrorKind.AUTH_REVOKED,
        "the login was refused",
        "check username, password and private_key",
    ),
    paramiko.ChannelException: (ErrorKind.TRANSIENT, "the server opens no further session", None),
    IncompatiblePeer: (
        ErrorKind.CONFIG,
        "the server offers only SSH algorithms that are no longer safe",
        _OLD,
    ),
    MessageOrderError: (ErrorKind.TRANSIENT, "the server broke the order of the key exchange", None),
    ProxyCommandFailure: (ErrorKind.CONFIG, "the proxy command failed", None),
    NoValidConnectionsError: (ErrorKind.TRANSIENT, "no address of the server answered", None),
    CouldNotCanonicalize: (ErrorKind.CONFIG, "the host name cannot be resolved", None),
    ConfigParseError: (ErrorKind.CONFIG, "the SSH configuration cannot be read", None),
    paramiko.SSHException: (ErrorKind.TRANSIENT, "the SSH connection failed", None),
    SFTPError: (ErrorKind.TRANSIENT, "the server does not keep to SFTP", None),
    PipeTimeout: (ErrorKind.TRANSIENT, "the server did not answer in time", None),
    NeedRekeyException: (ErrorKind.TRANSIENT, "the key exchange was interrupted", None),
    UnknownKeyType: (ErrorKind.CONFIG, "the key's type is not supported", None),
    InvalidHostKey: (ErrorKind.CONFIG, "the host key cannot be read", None),
    BERException: (ErrorKind.CONFIG, "the private key cannot be read", None),
    TimeoutError: (ErrorKind.TRANSIENT, "the server did not answer in time", None),
    ConnectionRefusedError: (ErrorKind.TRANSIENT, "the server refuses connections", None),
    EOFError: (ErrorKind.TRANSIENT, "the server closed the connection", None),
    OSError: (ErrorKind.TRANSIENT, "the connection failed", None),
}
"""By class, the most special one of an exception's ancestors wins. A test walks paramiko's classes."""


def of_exception(error: BaseException, where: str) -> DeliveryError:
    """A paramiko, socket or other exception as a :class:`DeliveryError`; ``where`` names host and port.

    The exception's own words are kept only where they cannot hold a secret: those of the SSH protocol.
    """
    if isinstance(error, DeliveryError):
        return error
    if isinstance(error, NetworkRefused):
        return DeliveryError(ErrorKind.CONFIG, error.message, hint=error.cure)
    for ancestor in type(error).__mro__:
        if ancestor in EXCEPTIONS:
            kind, words, hint = EXCEPTIONS[ancestor]
            return DeliveryError(kind, f"{where}: {words}{_detail(error)}", hint=hint)
    return DeliveryError(ErrorKind.TRANSIENT, f"{where}: unexpected {type(error).__name__}")


def _detail(error: BaseException) -> str:
    if isinstance(error, paramiko.BadAuthenticationType):
        return f" (accepted: {', '.join(error.allowed_types)})"
    if isinstance(error, paramiko.BadHostKeyException | paramiko.AuthenticationException):
        return ""
    if isinstance(error, OSError):
        return f" ({error.strerror})" if error.strerror else ""
    text = str(error)
    return f" ({text[:200]})" if isinstance(error, paramiko.SSHException) and text else ""


_BY_CODE = {
    Status.NO_SPACE: ErrorKind.QUOTA,
    Status.QUOTA_EXCEEDED: ErrorKind.QUOTA,
    Status.PERMISSION_DENIED: ErrorKind.CONFIG,
    Status.WRITE_PROTECT: ErrorKind.CONFIG,
    Status.OP_UNSUPPORTED: ErrorKind.CONFIG,
    Status.NO_SUCH_PATH: ErrorKind.CONFIG,
    Status.INVALID_FILENAME: ErrorKind.NAME,
}

_BY_TEXT = (
    (ErrorKind.QUOTA, ("no space", "out of disk space", "disk full", "quota", "not enough space")),
    (ErrorKind.NAME, ("name too long", "invalid file name", "invalid filename")),
    (ErrorKind.CONFIG, ("read-only file system", "operation not permitted")),
)
"""Words in a plain ``Failure``, as recorded from mod_sftp, asyncssh and rclone: version 3 has no codes for
them. OpenSSH says nothing more than ``Failure``; there ``statvfs`` decides."""

_NAMING = frozenset({Packet.OPEN, Packet.MKDIR, Packet.RENAME, Packet.LSTAT, Packet.STAT, Packet.EXTENDED})


def kind_of_status(error: StatusError) -> ErrorKind:
    """The kind of a refused request by its code, and by its words where the code says nothing."""
    if error.code == Status.BAD_MESSAGE and error.request in _NAMING:
        return ErrorKind.NAME  # OpenSSH's ENAMETOOLONG (sftp-server.c, errno_to_portable)
    if error.code in _BY_CODE:
        return _BY_CODE[Status(error.code)]
    text = error.text.lower()
    for kind, words in _BY_TEXT:
        if any(word in text for word in words):
            return kind
    return ErrorKind.TRANSIENT


_HINTS = {
    ErrorKind.QUOTA: "make room on the server, or raise the account's quota",
    ErrorKind.CONFIG: "check that the login may write, rename and delete in that folder",
}


def of_status(error: StatusError, doing: str, *, kind: ErrorKind | None = None) -> DeliveryError:
    """A refused request; ``doing`` says at what, for the operator. ``kind`` when the caller knows better."""
    known = kind or kind_of_status(error)
    said = error.text or "no reason given"
    return DeliveryError(
        known, f"{doing} was refused: {said}", hint=_HINTS.get(known), code=error.code, response=error.text
    )
