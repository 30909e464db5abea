"""The keys that encrypt what the ledger must not hold in clear: connector state, memory, tokens, secrets.

Keys are Fernet keys (AES-128-CBC with HMAC-SHA256; https://github.com/fernet/spec). Several keys rotate: the
first encrypts, all decrypt. They live in a file of mode 0600 beside the config, one key a line, or come from
a setting; never in the ledger.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from conveyor.errors import LedgerError
from conveyor.ownership import inherit

_COMMAND = "python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
_MAKE = f"make one with: {_COMMAND}"
_BRING = (
    "put it back from a backup, or from another machine of the installation; to begin with a new one, and "
    "give up what lies under a lost one (logins, saved uploads, encrypted payloads): "
    "(umask 077; {make} > {file})"
)
_ADD = "put a new key in front of the others, on every machine; then run `conveyor keys rotate` again"


_Stamp = tuple[int, int, int]


class _MalformedError(LedgerError):
    """What should be keys is none."""


class Keyring:
    """Encrypts and decrypts small values.

    Args:
        keys: Fernet keys, the encrypting one first; at least one.

    Raises:
        LedgerError: A key is malformed.
    """

    def __init__(self, keys: Sequence[str | bytes]) -> None:
        self._file: Path | None = None
        self._stamp: _Stamp | None = None
        self._keys = _Keys(keys)

    def __repr__(self) -> str:
        return "Keyring(…)"

    @classmethod
    def load(cls, key: str | None = None, *, file: Path | None = None, create: bool = False) -> Keyring:
        """Take the keys from a setting, or from a file.

        A file is read again when it has changed, so that a rotation reaches processes that run.

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
        stamp = _stamp(file)  # before: a file that is replaced meanwhile is read again
        try:
            made = cls(_read(file))
        except _MalformedError:
            message = f"key file {file} holds no key, or something that is none"
            raise LedgerError(message, cure=_BRING.format(make=_COMMAND, file=file)) from None
        made._file, made._stamp = file, stamp
        return made

    @property
    def file(self) -> Path | None:
        """The key file; None when the keys come from a setting."""
        return self._file

    @property
    def key_id(self) -> str:
        """A short name of the key that encrypts; tells nothing about it."""
        return self._newest().id

    def encrypt(self, plain: bytes) -> bytes:
        """Encrypt under the first key."""
        return self._newest().all.encrypt(plain)

    def is_newest(self, token: bytes) -> bool:
        """Whether a value lies under the first key."""
        from cryptography.fernet import InvalidToken

        try:
            self._newest().first.decrypt(token)
        except InvalidToken:
            return False
        return True

    def add_key(self) -> None:
        """Make a new key and put it first in the key file; the earlier ones stay below it.

        Raises:
            LedgerError: The keys come from a setting, or the file cannot be written.
        """
        from cryptography.fernet import Fernet

        if self._file is None:
            raise LedgerError("the keys come from a setting, not from a file", cure=_ADD)
        _prepend(self._file, Fernet.generate_key())

    def _newest(self) -> _Keys:
        """The keys, read again when their file has changed; an unusable file leaves the known ones."""
        stamp = _stamp(self._file)
        if self._file is not None and stamp is not None and stamp != self._stamp:
            try:
                self._keys = _Keys(_read(self._file))
            except LedgerError:
                return self._keys
            self._stamp = stamp
        return self._keys

    def decrypt(self, token: bytes) -> bytes:
        """Decrypt what :meth:`encrypt` returned under any of the keys. Raises LedgerError for another key."""
        from cryptography.fernet import InvalidToken

        try:
            return self._newest().all.decrypt(token)
        except InvalidToken:
            raise LedgerError(
                "a stored secret cannot be decrypted: it was encrypted under another key, or is damaged",
                cure="add the earlier key as a further line of the key file",
            ) from None


class _Keys:
    """One state of the keys."""

    def __init__(self, keys: Sequence[str | bytes]) -> None:
        from cryptography.fernet import Fernet, MultiFernet

        try:
            made = [Fernet(key) for key in keys]
            self.all, self.first = MultiFernet(made), made[0]
        except ValueError:
            raise _MalformedError("the encryption key is malformed or missing", cure=_MAKE) from None
        first = keys[0].encode() if isinstance(keys[0], str) else keys[0]
        self.id = hashlib.sha256(b"conveyor key id\0" + first).hexdigest()[:12]


def _stamp(file: Path | None) -> _Stamp | None:
    if file is None:
        return None
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _prepend(file: Path, key: bytes) -> None:
    """Replace the file by one with a further key in front, at once and durably.

    One at a time, by a lock on the folder: of two that read the same file the later would drop the earlier
    one's key, under which something may lie by then.
    """
    try:
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            _replace(file, key + b"\n" + file.read_bytes())
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise LedgerError(
            f"key file {file} cannot be changed: {error.strerror}", cure="make it and its folder writable"
        ) from error


def _replace(file: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as stream:
            owner = os.stat(file)
            if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, owner.st_uid, owner.st_gid)  # it stays the workers'
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise


def _sync_folder(file: Path) -> None:
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(file: Path) -> list[str]:
    try:
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        cure = _BRING.format(make=_COMMAND, file=file)
        raise LedgerError(f"key file {file} is missing", cure=cure) from None
    except OSError as error:
        cure = "make it readable for the user that runs conveyor"
        raise LedgerError(f"key file {file}: {error.strerror}", cure=cure) from None
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as stream:
        if os.fstat(descriptor).st_mode & 0o077:
            raise LedgerError(f"key file {file} may be read by others", cure=f"chmod 600 {file}")
        lines = [line.strip() for line in stream]
    return [line for line in lines if line and not line.startswith("#")]


def _create(file: Path) -> None:
    """Put a new key in place unless there is one; of two processes at once, one wins and both read it."""
    from cryptography.fernet import Fernet

    if not file.exists():
        place(file, Fernet.generate_key() + b"\n")


def place(file: Path, content: bytes) -> bool:
    """Make a key file, at once and durably; False when there is one: a key is never replaced.

    Raises:
        LedgerError: The file cannot be made.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as stream:
                inherit(descriptor, file.parent)
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.link(temporary, file)  # fails when somebody was faster
        except FileExistsError:
            return False
        finally:
            os.unlink(temporary)
        _sync_folder(file)
    except OSError as error:
        raise LedgerError(
            f"key file {file} cannot be created: {error.strerror}", cure="make its folder writable"
        ) from error
    return True
