"""Whether a payload in a backup is what was submitted."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from conveyor.contract import DeliveryError, ErrorKind
from conveyor.payloads import copying
from conveyor.payloads.sealing import as_stored

if TYPE_CHECKING:
    from conveyor.keyring import Keyring
    from conveyor.ledger.records import PayloadRecord
    from conveyor.payloads import LocalStore


def verify(
    copies: LocalStore, record: PayloadRecord, keyring: Keyring | None, progress: Callable[[int], object]
) -> None:
    """Read a payload from end to end; of one that is encrypted and has no key here, compare the size.

    Args:
        copies: The backup's payloads, as a store.
        record: The payload, as the backup's ledger has it.
        keyring: What ``copies`` decrypts with.
        progress: Told the number of bytes of each chunk.

    Raises:
        DeliveryError: SOURCE: it is missing, or not what was submitted.
    """
    if record.sealed_key is not None and keyring is None:
        with copies.stored(record) as stream:
            stream.seek(0, os.SEEK_END)
        progress(as_stored(record).size)
        return
    with copies.open(record) as stream:
        found = copying.digest_of(stream, progress)
    if found != record.digests["sha256"]:
        message = f"the payload {record.id} has other bytes than were submitted"
        raise DeliveryError(ErrorKind.SOURCE, message)
