"""Making a backup: the ledger first, then the bytes that this copy speaks of, the key, last the manifest.

What is submitted meanwhile is not in it, as a whole. What the keeper removes meanwhile is struck from the
copy of the ledger, so that no row of it promises bytes that are not there. A key that is made meanwhile is in
it, with those that the copy was sealed with below it. Until the last step the folder has another name: a
process that dies leaves no backup, and the next one clears what is left.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from conveyor.backup.manifest import (
    KEY,
    LEDGER,
    MANIFEST,
    PAYLOADS,
    SHOWN,
    LedgerPart,
    Manifest,
    PayloadsPart,
    Steps,
)
from conveyor.backup.together import Together
from conveyor.backup.verifying import verify
from conveyor.backup.workplace import publish, workplace
from conveyor.clock import SystemClock
from conveyor.contract import DeliveryError
from conveyor.errors import BackupError, LedgerError
from conveyor.installation import payload_store
from conveyor.keyring import Keyring
from conveyor.ledger.connect import connect
from conveyor.ledger.inventory import Inventory
from conveyor.ledger.records import PayloadRecord, PayloadState
from conveyor.ledger.schema import HEAD
from conveyor.ledger.sealed import Sealed
from conveyor.ledger.snapshot import settle, snapshot
from conveyor.ledger.sqlite import SqliteDatabase
from conveyor.payloads import LocalStore, PayloadKeys, copying
from conveyor.payloads.local import MARKER
from conveyor.payloads.sealing import as_stored
from conveyor.payloads.writing import sync_folder
from conveyor.status.times import iso
from conveyor.version import __version__

if TYPE_CHECKING:
    from conveyor.config.settings import KeySettings, Settings
    from conveyor.payloads import PayloadStore


@dataclass(frozen=True, slots=True)
class Made:
    """A backup."""

    folder: Path
    manifest: Manifest
    linked: int
    """Payloads that share their bytes on the disk with the store."""
    problem: str | None
    """Why the key in it does not open what is secret in the ledger."""


def make(settings: Settings, to: Path, *, key: bool = True, verify: bool = False, steps: Steps) -> Made:
    """Make a backup, beside engines that run.

    Args:
        settings: Of the installation.
        to: The folder to make; it may exist if it is empty.
        key: Take the key file along.
        verify: Read also what gets only a second name, and compare the digests.
        steps: Shows progress.

    Raises:
        BackupError: The folder is taken or cannot be written; there is no ledger, no key file.
        LedgerError: The ledger cannot be read.
        PayloadError: The payload store cannot be reached.
    """
    to = Path(os.path.abspath(to))
    _refuse_taken(to)
    if settings.ledger_file is not None and not settings.ledger_file.is_file():
        raise BackupError(
            f"there is no ledger {settings.ledger_file}",
            cure="look at `ledger:`; nothing was submitted with this config yet",
        )
    with workplace(to.with_name(f".{to.name}.partial")) as place:
        made = _Making(settings, place, verify, steps).carry_out(to, key)
        try:
            publish(place, to)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                _refuse_taken(to)
            raise
    return made


def _refuse_taken(to: Path) -> None:
    if os.path.lexists(to) and not (to.is_dir() and not to.is_symlink() and not any(to.iterdir())):
        raise BackupError(f"{to} exists and is not an empty folder", cure="name a folder for each backup")


@dataclass(slots=True)
class _Taken:
    """What became of one payload."""

    record: PayloadRecord
    linked: bool = False
    missing: str | None = None


@dataclass(slots=True)
class _Count:
    payloads: int = 0
    size: int = 0
    linked: int = 0
    removed: int = 0
    damaged: dict[str, str] = field(default_factory=dict)


class _Making:
    def __init__(self, settings: Settings, place: Path, verify: bool, steps: Steps) -> None:
        self._settings = settings
        self._place = place
        self._verify = verify
        self._steps = steps
        self._count = _Count()
        self._keyring = _keyring(settings.key)

    def carry_out(self, final: Path, key: bool) -> Made:
        begun = SystemClock().now()
        ledger = self._place / LEDGER
        version = self._copy_ledger(ledger)
        with closing(SqliteDatabase(ledger)) as copy:
            inventory = Inventory(copy)
            self._copy_payloads(inventory)
            which, problem = self._copy_key(copy, version, key)
            in_place, _ = inventory.amount(in_place=True)
            paths = inventory.in_place(SHOWN)
            deliveries = {str(status): count for status, count in sorted(inventory.deliveries().items())}
        settle(ledger)
        size = ledger.stat().st_size
        with self._steps("reading the copy", size, size=True) as progress:
            sha256 = copying.digest(ledger, progress)
        copying.sync(ledger)
        count = self._count
        manifest = Manifest(
            conveyor=__version__,
            created_at=iso(begun) or "",
            ledger=LedgerPart(
                database="postgresql" if self._settings.ledger_file is None else "sqlite",
                version=version,
                size=size,
                sha256=sha256,
                deliveries=deliveries,
            ),
            payloads=PayloadsPart(
                count=count.payloads,
                size=count.size,
                removed=count.removed,
                damaged=count.damaged,
                in_place=in_place,
                in_place_paths=paths,
            ),
            key=which,
        )
        _write(self._place / MANIFEST, manifest.model_dump_json(indent=2).encode() + b"\n")
        return Made(final, manifest, count.linked, problem)

    def _copy_ledger(self, file: Path) -> str:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        source = self._settings.ledger_file
        total = None if source is None else source.stat().st_size
        # Past a pooler where there is a way: it has few connections, and one is needed for long.
        url = self._settings.ledger_direct or self._settings.ledger
        with self._steps("copying the ledger", total, size=source is not None) as progress:
            return snapshot(url, file, progress)

    # --- payloads ---------------------------------------------------------------------------------

    def _copy_payloads(self, inventory: Inventory) -> None:
        store = payload_store(self._settings, SystemClock())
        folder = self._place / PAYLOADS
        self._copies = LocalStore(folder, keys=PayloadKeys(self._keyring))
        folder.mkdir(mode=0o700)
        _write(folder / MARKER, b"")
        count, size = inventory.amount(in_place=False)
        if count:
            store.check()
        with self._steps("copying payloads", size, size=True) as progress, Together(progress) as together:
            for batch in inventory.stored():
                shards = {(folder / record.location).parent for record in batch}
                for shard in shards:
                    shard.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._note(
                    list(together.each(lambda record: self._take(store, record, together), batch)), inventory
                )
                for shard in shards:
                    sync_folder(shard)
        sync_folder(folder)

    def _take(self, store: PayloadStore, record: PayloadRecord, together: Together) -> _Taken:
        target = self._place / PAYLOADS / record.location
        try:
            if linked := _linked(store, record, target):
                together.progress(record.size)
            else:
                with store.stored(record) as stream:
                    copying.copy(stream, target, together.progress)
            if not linked or self._verify:
                verify(self._copies, record, self._keyring, together.hold)
        except DeliveryError as error:
            target.unlink(missing_ok=True)
            return _Taken(record, missing=error.message)
        return _Taken(record, linked=linked)

    def _note(self, batch: Sequence[_Taken], inventory: Inventory) -> None:
        count = self._count
        missing = {taken.record.id: taken.missing for taken in batch if taken.missing is not None}
        if missing:
            states = self._live_states(list(missing))
            kept = [ident for ident in missing if states.get(ident) is PayloadState.PRESENT]
            removed = sorted(missing.keys() - set(kept))
            inventory.without(removed)
            count.removed += len(removed)
            count.damaged.update({ident: missing[ident] or "" for ident in kept})
        for taken in batch:
            if taken.missing is None:
                count.payloads += 1
                count.size += taken.record.size
                count.linked += taken.linked

    def _live_states(self, ids: list[str]) -> dict[str, PayloadState]:
        """What has become of payloads since the copy was made."""
        with closing(connect(self._settings.ledger, connections=1)) as live:
            return Inventory(live).states(ids)

    # --- key --------------------------------------------------------------------------------------

    def _copy_key(
        self, copy: SqliteDatabase, version: str, wanted: bool
    ) -> tuple[Literal["included", "left out", "in a setting"], str | None]:
        settings = self._settings.key
        if settings.given is None and wanted:
            content = _key_file(settings)
            target = self._place / KEY
            _write(target, content)
            keyring = Keyring.load(file=target)
        elif settings.given is not None:
            keyring = Keyring.load(settings.given)
        else:
            return "left out", None
        problem = None
        if version == HEAD:
            try:
                Sealed(copy, keyring).verify()
            except LedgerError as error:
                problem = error.message
        return "included" if settings.given is None else "in a setting", problem


def _linked(store: PayloadStore, record: PayloadRecord, target: Path) -> bool:
    """Whether the copy could be had as a second name; where something is wrong, reading it will tell."""
    file = store.file(record)
    try:
        if file is None or file.lstat().st_size != as_stored(record).size:
            return False
        return copying.link(file, target)
    except FileNotFoundError:
        return False


def _keyring(settings: KeySettings) -> Keyring | None:
    """What opens payloads that are encrypted at rest; None where there is no key: they are copied unseen."""
    try:
        return Keyring.load(settings.given, file=settings.file)
    except LedgerError:
        return None


def _key_file(settings: KeySettings) -> bytes:
    try:
        with settings.file.open("rb") as stream:
            return stream.read(1 << 20)
    except OSError as error:
        raise BackupError(
            f"key file {settings.file}: {error.strerror}",
            cure="--no-key makes a backup without it; what is secret in the ledger needs the key",
        ) from None


def _write(file: Path, content: bytes) -> None:
    descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(descriptor)
