"""The keys that encrypt what the ledger must not hold in clear: connector state, memory, tokens, secrets.

Keys are Fernet keys (AES-128-CBC with HMAC-SHA256; https://github.com/fernet/spec). Several keys rotate: the
first encrypts, all decrypt. They live in a file of mode 0600 beside the config, one key a line, or come from
a setting; never in the ledger.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from conveyor.errors import LedgerError

_MAKE = (
    "make one with: python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
)


class Keyring:
    """Encrypts and decrypts small values.

    Args:
        keys: Fernet keys, the encrypting one first; at least one.

    Raises:
        LedgerError: A key is malformed.
    """

    def __init__(self, keys: Sequence[str | bytes]) -> None:
        from cryptography.fernet import Fernet, MultiFernet

        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys])
        except ValueError:
            raise LedgerError("the encryption key is malformed or missing", cure=_MAKE) from None

    def __repr__(self) -> str:
        return "Keyring(…)"

    @classmethod
    def load(cls, key: str | None = None, *, file: Path | None = None, create: bool = False) -> Keyring:
        """Take the keys from a setting, or from a file.

        Args:
            key: One or more keys, separated by white space or commas. Wins over ``file``.
            file: Holds one key a line; lines that begin with ``#`` are comments.
            create: Make the file, with a new key, when it is missing.

        Raises:
            LedgerError: No key anywhere, a malformed one, or a file that others may read.
        """
        if key is not None:
            return cls(key.replace(",", " ").split())
        if file is None:
            raise LedgerError("no encryption key is configured", cure=_MAKE)
        if create:
            _create(file)
        return cls(_read(file))

    def encrypt(self, plain: bytes) -> bytes:
        """Encrypt under the first key."""
        return self._fernet.encrypt(plain)

    def decrypt(self, token: bytes) -> bytes:
        """Decrypt what :meth:`encrypt` returned under any of the keys. Raises LedgerError for another key."""
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet.decrypt(token)
        except InvalidToken:
            raise LedgerError(
                "a stored secret cannot be decrypted: it was encrypted under another key, or is damaged",
                cure="add the earlier key as a further line of the key file",
            ) from None


def _read(file: Path) -> list[str]:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LedgerError(f"key file {file}: {error.strerror}", cure=_MAKE) from None
    with os.fdopen(descriptor, encoding="utf-8") as stream:
        if os.fstat(descriptor).st_mode & 0o077:
            raise LedgerError(f"key file {file} may be read by others", cure=f"chmod 600 {file}")
        lines = [line.strip() for line in stream]
    return [line for line in lines if line and not line.startswith("#")]


def _create(file: Path) -> None:
    """Put a new key in place unless there is one; of two processes at once, one wins and both read it."""
    from cryptography.fernet import Fernet

    if file.exists():
        return
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(Fernet.generate_key() + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
            os.link(temporary, file)  # fails when somebody was faster; never replaces a key
        except FileExistsError:
            return
        finally:
            os.unlink(temporary)
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise LedgerError(
            f"key file {file} cannot be created: {error.strerror}", cure="make its folder writable"
        ) from error
