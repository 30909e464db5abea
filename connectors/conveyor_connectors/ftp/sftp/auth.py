"""Logging in: private keys in any common form, password, keyboard-interactive.

Never an agent and never ``~/.ssh``: only what the destination says.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from conveyor.contract import DeliveryError, ErrorKind
from conveyor_connectors.ftp.options import FtpOptions


def load_key(text: str, passphrase: str | None) -> paramiko.PKey:
    """A private key for paramiko, from OpenSSH, PEM or PKCS#8 text.

    ``cryptography`` reads it, since paramiko tells the forms apart only by trial and knows no PKCS#8;
    paramiko gets it in the one form that it reads for every type.

    Raises:
        DeliveryError: CONFIG, never with a part of the key.
    """
    data = text.strip().encode() + b"\n"
    password = passphrase.encode() if passphrase is not None else None
    loader = (
        serialization.load_ssh_private_key
        if b"BEGIN OPENSSH PRIVATE KEY" in data
        else serialization.load_pem_private_key
    )
    try:
        key = _load(loader, data, password)
    except TypeError:
        raise DeliveryError(ErrorKind.CONFIG, "the private key is encrypted", hint="set passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise DeliveryError(
            ErrorKind.CONFIG,
            "the private key cannot be read",
            hint="check that it is whole and that passphrase is right",
        ) from None
    return _for_paramiko(key)


def _load(loader: object, data: bytes, password: bytes | None) -> object:
    assert callable(loader)
    try:
        return loader(data, password)
    except TypeError:
        if password is None:
            raise
        return loader(data, None)  # a passphrase for a key that has none does no harm


def _for_paramiko(key: object) -> paramiko.PKey:
    kinds: tuple[tuple[type, type[paramiko.PKey]], ...] = (
        (ed25519.Ed25519PrivateKey, paramiko.Ed25519Key),
        (ec.EllipticCurvePrivateKey, paramiko.ECDSAKey),
        (rsa.RSAPrivateKey, paramiko.RSAKey),
    )
    for kind, made in kinds:
        if isinstance(key, kind):
            try:
                plain = key.private_bytes(  # type: ignore[attr-defined]
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.OpenSSH,
                    serialization.NoEncryption(),
                )
            except ValueError:
                break  # a curve that SSH has no name for
            return made.from_private_key(io.StringIO(plain.decode()))
    raise DeliveryError(
        ErrorKind.CONFIG,
        f"private keys of type {type(key).__name__} are not supported",
        hint="use an Ed25519, ECDSA or RSA key: ssh-keygen -t ed25519",
    )


def log_in(transport: paramiko.Transport, options: FtpOptions) -> None:
    """Authenticate with the key, then, where the server wants it or takes no key, with the password.

    Raises:
        paramiko.AuthenticationException: Refused.
        DeliveryError: CONFIG, the key cannot be used.
    """
    refused: paramiko.AuthenticationException | None = None
    if options.private_key is not None:
        passphrase = options.passphrase.get_secret_value() if options.passphrase is not None else None
        key = load_key(options.private_key.get_secret_value(), passphrase)
        try:
            still_wanted = transport.auth_publickey(options.username, key)
        except paramiko.AuthenticationException as error:
            refused = error
        else:
            if not still_wanted:
                return
            refused = paramiko.BadAuthenticationType("the key alone is not enough", still_wanted)
    if options.password is None or not transport.is_active():
        raise refused or paramiko.AuthenticationException("no login given")
    _log_in_by_password(transport, options.username, options.password.get_secret_value())


def _log_in_by_password(transport: paramiko.Transport, username: str, password: str) -> None:
    try:
        still_wanted = transport.auth_password(username, password, fallback=False)
    except paramiko.BadAuthenticationType as error:
        if "keyboard-interactive" not in error.allowed_types:
            raise
        still_wanted = transport.auth_interactive(username, _answerer(password))
    if still_wanted:
        raise paramiko.BadAuthenticationType("the password alone is not enough", still_wanted)


def _answerer(password: str) -> Callable[[str, str, list[tuple[str, bool]]], list[str]]:
    def answer(title: str, instructions: str, prompts: list[tuple[str, bool]]) -> list[str]:
        """The password for every prompt whose answer is not shown; nothing for the others."""
        return ["" if shown else password for _, shown in prompts]

    return answer
