"""Payloads encrypted at rest: what lies in the store, and how it is written and read.

Each payload has a data key of its own, which the keyring encrypts and the ledger keeps in the payload's row;
the store holds nothing but the encrypted chunks. They are those of the STREAM construction (Hoang,
Reyhanitabar, Rogaway and Vizár, https://eprint.iacr.org/2015/189) as the age format has them
(https://c2sp.org/age): 64 KiB of plaintext each, the nonce is the chunk's number, big-endian in 11 bytes, and
a byte that is 1 in the last chunk. The cipher is AES-256-GCM, and each chunk is bound to the payload's id. So
a chunk that is changed, moved, left out or taken from another payload is noticed when it is read, and any
chunk can be read without those before it. See docs/adr/0018-payloads-are-encrypted-in-chunks.md.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from conveyor.errors import LedgerError, PayloadError
from conveyor.payloads.reader import source_error

if TYPE_CHECKING:
    from conveyor.keyring import Keyring
    from conveyor.ledger.records import PayloadRecord

CHUNK: Final = 64 * 1024
"""Bytes of plaintext in each chunk but the last, which has 1 to so many; none only in an empty payload."""

TAG: Final = 16
"""Bytes that a chunk is longer by."""

_FORMAT: Final = b"\x01"
"""What a data key begins with, so that another format can be told apart."""

_KEY_BYTES: Final = 32


class PayloadKeys:
    """Makes the data keys of payloads that are stored, and opens those of payloads that are read.

    Args:
        keyring: Encrypts data keys; None: no payload is encrypted, and none that is can be read.
        encrypts: Whether new payloads are encrypted. Those that are stored stay readable either way.
    """

    def __init__(self, keyring: Keyring | None = None, *, encrypts: bool = False) -> None:
        self._keyring = keyring
        self.encrypts = encrypts

    def sealer(self, identifier: str) -> Sealer | None:
        """What encrypts a new payload; None where payloads are stored as they are."""
        if not self.encrypts or self._keyring is None:
            return None
        return Sealer(self._keyring, identifier)

    def stored_size(self, size: int) -> int:
        """How many bytes a new payload of ``size`` bytes takes in the store."""
        return sealed_size(size) if self.encrypts else size

    def opener(self, record: PayloadRecord) -> Chunks | None:
        """What decrypts a payload; None for one that is stored as it is.

        Raises:
            PayloadError: None of the keys here opens its data key.
        """
        if record.sealed_key is None:
            return None
        what = f"the payload {record.id} is encrypted and"
        if self._keyring is None:
            raise PayloadError(f"{what} there is no key here", cure="open it with the installation's `key:`")
        try:
            opened = self._keyring.decrypt(record.sealed_key)
        except LedgerError:
            raise PayloadError(
                f"{what} none of the keys of `key:` decrypts its data key",
                cure="add the key it was stored under as a further line of the key file on this machine; "
                "nothing is lost, deliveries go on when it is there",
            ) from None
        if not opened.startswith(_FORMAT) or len(opened) != len(_FORMAT) + _KEY_BYTES:
            raise PayloadError(
                f"{what} was stored by a newer program, in a format that this one does not know",
                cure="upgrade Conveyor on this machine",
            )
        return Chunks(opened[len(_FORMAT) :], record.id)


def sealed_size(size: int) -> int:
    """How many bytes ``size`` bytes are when they are encrypted."""
    return size + TAG * max(1, -(-size // CHUNK))


def as_stored(record: PayloadRecord) -> PayloadRecord:
    """The record with the size that its bytes have in the store, in the place of the submitted one."""
    if record.sealed_key is None:
        return record
    return replace(record, size=sealed_size(record.size))


class Chunks:
    """Encrypts and decrypts the chunks of one payload.

    Args:
        key: The payload's data key, never used for anything else.
        identifier: The payload's id, which each chunk is bound to.
    """

    def __init__(self, key: bytes, identifier: str) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(key)
        self._bound = identifier.encode()

    def __repr__(self) -> str:
        return "Chunks(…)"

    def encrypt(self, number: int, plain: bytes | memoryview, *, last: bool) -> bytes:
        """The chunk ``number``, from 0."""
        return self._cipher.encrypt(_nonce(number, last), plain, self._bound)

    def decrypt(self, number: int, sealed: bytes | bytearray, *, last: bool) -> bytes | None:
        """The plaintext of the chunk ``number``; None when it is not what was encrypted as that chunk."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(_nonce(number, last), sealed, self._bound)
        except InvalidTag:
            return None


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\x01" if last else b"\x00")


class Sealer:
    """Encrypts one payload, as its bytes come, under a new data key.

    Args:
        keyring: Encrypts the data key.
        identifier: The payload's id.
    """

    def __init__(self, keyring: Keyring, identifier: str) -> None:
        self._keyring = keyring
        self._key = os.urandom(_KEY_BYTES)
        self._chunks = Chunks(self._key, identifier)
        self._held = bytearray()
        self._number = 0

    def __repr__(self) -> str:
        return "Sealer(…)"

    def update(self, data: bytes | memoryview) -> bytes:
        """Take plaintext; what can be stored by now. The last chunk waits for the end, being marked."""
        self._held += data
        whole = max(0, len(self._held) - 1) // CHUNK
        done = []
        with memoryview(self._held) as view:
            for place in range(whole):
                plain = view[place * CHUNK : (place + 1) * CHUNK]
                done.append(self._chunks.encrypt(self._number + place, plain, last=False))
                plain.release()
        del self._held[: whole * CHUNK]
        self._number += whole
        return b"".join(done)

    def finish(self) -> bytes:
        """The last chunk."""
        return self._chunks.encrypt(self._number, bytes(self._held), last=True)

    def each(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Encrypt what an iterable gives, for whoever pulls."""
        for piece in pieces:
            if sealed := self.update(piece):
                yield sealed
        yield self.finish()

    @property
    def sealed_key(self) -> bytes:
        """The data key, encrypted: for the payload's row.

        Asked for once the bytes are stored: an upload may outlast a rotation, which puts no key under the
        newest one that no row has yet.
        """
        return self._keyring.encrypt(_FORMAT + self._key)


class SealedFile(io.RawIOBase):
    """A payload being read through its encryption: seekable, one chunk in memory.

    Args:
        raw: The stored bytes; owned from here on.
        chunks: Decrypts them.
        record: The payload.
    """

    def __init__(self, raw: io.RawIOBase, chunks: Chunks, record: PayloadRecord) -> None:
        self._raw = raw
        self._chunks = chunks
        self._record = record
        self._last = max(0, record.size - 1) // CHUNK
        self._position = 0
        self._number: int | None = None
        self._plain = b""

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position in bytes of plaintext."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move; the end is the submitted size."""
        self._check_open()
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._record.size}[whence]
        if base + offset < 0:
            raise ValueError("negative position")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # typeshed's private type
        """Fill the buffer, from one chunk at most.

        Raises:
            DeliveryError: SOURCE, when what is stored is gone or not what was submitted.
            PayloadError: The store cannot be read just now.
        """
        self._check_open()
        if self._position >= self._record.size:
            return 0
        number, start = divmod(self._position, CHUNK)
        if number != self._number:
            self._plain, self._number = self._read(number), number
        view = memoryview(buffer).cast("B")
        piece = self._plain[start : start + len(view)]
        view[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def close(self) -> None:
        """Close what is read from, too."""
        self._plain, self._number = b"", None
        self._raw.close()
        super().close()

    def _read(self, number: int) -> bytes:
        size = self._record.size - number * CHUNK if number == self._last else CHUNK
        stored = bytearray(size + TAG)
        self._raw.seek(number * (CHUNK + TAG))
        with memoryview(stored) as view:
            filled = 0
            while filled < len(view):
                count = self._raw.readinto(view[filled:])
                if not count:
                    break
                filled += count
        plain = self._chunks.decrypt(number, stored, last=number == self._last)
        if plain is None:
            raise source_error(
                f"the payload {self._record.id} in the store is not what was submitted", in_place=False
            )
        return plain

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on a closed payload")


def opened(raw: io.RawIOBase, chunks: Chunks | None, record: PayloadRecord, buffer: int) -> BinaryIO:
    """The stream that connectors get: decrypted where it has to be; C speed for small reads.

    Args:
        raw: The stored bytes.
        chunks: Decrypts them; None: they are the payload as it is.
        record: The payload.
        buffer: Bytes of the buffer for small reads; large ones go straight through.
    """
    if chunks is not None:
        raw = SealedFile(raw, chunks, record)
    return cast(BinaryIO, io.BufferedReader(raw, buffer_size=buffer))
