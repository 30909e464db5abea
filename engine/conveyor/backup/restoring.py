"""A fresh installation out of a backup: first everything is checked, then come bytes, key, last the ledger.

Until the ledger is there nothing can be taken for an installation: a process that dies leaves payloads that
no row names, and perhaps the key; run again, the restore finds them right and goes on.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from conveyor.backup.manifest import KEY, LEDGER, PAYLOADS, Manifest, Steps, read
from conveyor.backup.together import Together
from conveyor.backup.verifying import verify
from conveyor.backup.workplace import workplace
from conveyor.clock import SystemClock
from conveyor.contract import DeliveryError
from conveyor.errors import BackupError, LedgerError
from conveyor.installation import payload_store
from conveyor.keyring import Keyring, place
from conveyor.ledger import moving
from conveyor.ledger.connect import connect
from conveyor.ledger.inventory import Inventory
from conveyor.ledger.payloads import Payloads
from conveyor.ledger.reviving import revive
from conveyor.ledger.sealed import Sealed
from conveyor.ledger.snapshot import settle
from conveyor.ledger.sqlite import SqliteDatabase
from conveyor.ledger.versions import upgrade, version
from conveyor.payloads import LocalStore, PayloadKeys, copying
from conveyor.payloads.writing import sync_folder

if TYPE_CHECKING:
    from conveyor.config.settings import Settings
    from conveyor.ledger.records import PayloadRecord, Status, WorkerRecord
    from conveyor.payloads import PayloadStore

_SHOWN = 3
_ANOTHER = "use another backup"


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored, or would be."""

    manifest: Manifest
    deliveries: dict[Status, int]
    """By status, as they are now."""
    version: str
    """Of the ledger's tables, as they are now."""
    skipped: dict[str, str]
    """Payloads that are damaged in the backup, by id, and why; their deliveries will fail."""


def restore(
    settings: Settings,
    source: Path,
    *,
    key: bool = True,
    skip_damaged: bool = False,
    dry_run: bool = False,
    alive: Callable[[WorkerRecord], bool],
    steps: Steps,
) -> Restored:
    """Make an installation of a backup where the config says.

    Args:
        settings: Of the new installation: no ledger, no other payloads, no other key.
        source: The backup.
        key: Refuse when the key does not open everything that is secret in the ledger.
        skip_damaged: Leave out payloads that are damaged or missing in the backup, rather than refuse it.
        dry_run: Check everything, change nothing.
        alive: Whether a worker may still be at work.
        steps: Shows progress.

    Raises:
        BackupError: It is no backup, damaged, of a newer version; the installation is not fresh.
        LedgerError, PayloadError: Ledger or payload store cannot be used, or the key is another one.
    """
    source = Path(os.path.abspath(source))
    manifest = read(source)
    _refuse_used(settings, alive)
    with workplace(_workplace(settings)) as folder:
        # In a folder of its own, since bringing a ledger up to date locks the one that it lies in.
        staged = folder / "staged" / LEDGER
        staged.parent.mkdir(mode=0o700)
        _copy_ledger(source, manifest, staged, steps)
        restoring = _Restoring(settings, source, manifest, steps)
        with closing(SqliteDatabase(staged)) as copy:
            reached = upgrade(copy)
            skipped = restoring.check(copy, key, skip_damaged)
            if not dry_run:
                restoring.bring_payloads(copy)
            revive(copy, SystemClock().now())
            deliveries = Inventory(copy).deliveries()
            if not dry_run:
                restoring.bring_key()
            if settings.ledger_file is None and not dry_run:
                _refuse_used(settings, alive)
                with steps("writing the ledger", None) as progress:
                    moving.fill(copy, settings.ledger, progress)
        if settings.ledger_file is not None and not dry_run:
            settle(staged)
            _place(staged, settings.ledger_file)
    return Restored(manifest, deliveries, reached, skipped)


def _refuse_used(settings: Settings, alive: Callable[[WorkerRecord], bool]) -> None:
    """Refuse an installation that is one already."""
    file = settings.ledger_file
    if file is None:
        with closing(connect(settings.ledger, connections=1)) as target:
            if version(target) is not None:
                moving.refuse_running(target, alive)
                with target.read() as connection:
                    moving.refuse_used(connection, target.name)
        return
    for each in (file, Path(f"{file}-wal")):
        if os.path.lexists(each):
            raise BackupError(
                f"there is a ledger already: {each}",
                cure="restore with a config whose `ledger:` names a new file, or move the old one away with "
                "its -wal and -shm",
            )


def _workplace(settings: Settings) -> Path:
    """Where the ledger is prepared: beside its place, or, for one on a server, among temporary files."""
    file = settings.ledger_file
    if file is not None:
        return file.with_name(f".{file.name}.restoring")
    which = hashlib.sha256(settings.ledger.encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"conveyor-restoring-{os.geteuid()}-{which}"


def _copy_ledger(source: Path, manifest: Manifest, staged: Path, steps: Steps) -> None:
    file = source / LEDGER
    with (
        steps("copying the ledger", manifest.ledger.size, size=True) as progress,
        file.open("rb", buffering=0) as stream,
    ):
        found = copying.copy(stream, staged, progress)
    if found != manifest.ledger.sha256:
        raise BackupError(f"{file} is damaged: its bytes are not those of the manifest", cure=_ANOTHER)


class _Restoring:
    def __init__(self, settings: Settings, source: Path, manifest: Manifest, steps: Steps) -> None:
        self._settings = settings
        self._source = source
        self._manifest = manifest
        self._steps = steps
        self._left_out = set(manifest.payloads.damaged)
        self._store: PayloadStore = payload_store(settings, SystemClock())

    def check(self, copy: SqliteDatabase, key: bool, skip_damaged: bool) -> dict[str, str]:
        """Everything that could be wrong with backup and target; the payloads that are, where that may be."""
        wrong = self._check_payloads(Inventory(copy), self._check_key(copy) if key else None)
        if wrong and not skip_damaged:
            more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
            raise BackupError(
                f"the backup is damaged: {'; '.join(list(wrong.values())[:_SHOWN])}{more}",
                cure=f"{_ANOTHER}; --skip-damaged restores the rest, and deliveries of these will fail",
            )
        self._left_out |= wrong.keys()
        self._refuse_strangers(copy)
        return wrong

    def bring_payloads(self, copy: SqliteDatabase) -> None:
        """Put the bytes into the store, and note in the ledger how they lie there."""
        inventory = Inventory(copy)
        size = self._manifest.payloads.size
        with self._steps("restoring payloads", size, size=True) as progress, Together(progress) as together:

            def bring(record: PayloadRecord) -> PayloadRecord:
                return self._store.restore(
                    record, self._source / PAYLOADS / record.location, together.progress
                )

            for batch in inventory.stored():
                inventory.restored(list(together.each(bring, self._included(batch))))

    def bring_key(self) -> None:
        """Put the key where the config wants it, unless there is one."""
        content = self._key_of_backup()
        if content is not None and self._settings.key.given is None:
            place(self._settings.key.file, content)

    # --- checks -----------------------------------------------------------------------------------

    def _check_key(self, copy: SqliteDatabase) -> Keyring | None:
        """What the new installation will decrypt with."""
        settings = self._settings.key
        if settings.given is not None or settings.file.exists():
            keyring = Keyring.load(settings.given, file=settings.file)
            where = "`key.value`" if settings.given is not None else f"key file {settings.file}"
        elif self._key_of_backup() is not None:
            keyring = Keyring.load(file=self._source / KEY)
            where = f"key file {self._source / KEY}"
        else:
            if Sealed(copy, None).any():
                raise BackupError(
                    "the backup has no key, and something in its ledger is encrypted",
                    cure=f"put the key file at {settings.file}, or set `key.value`; "
                    "--no-key restores what can be read without it",
                )
            return None
        try:
            Sealed(copy, keyring).verify()
        except LedgerError as error:
            raise BackupError(
                f"{where} does not open what is encrypted in the backup: {error.message}",
                cure="add the key of the backup as a further line, or move the key file away if it is not "
                "needed; --no-key restores nevertheless",
            ) from None
        return keyring

    def _key_of_backup(self) -> bytes | None:
        file = self._source / KEY
        if self._manifest.key != "included":
            return None
        try:
            with file.open("rb") as stream:
                return stream.read(1 << 20)
        except FileNotFoundError:
            return None  # taken out, to be kept elsewhere

    def _check_payloads(self, inventory: Inventory, keyring: Keyring | None) -> dict[str, str]:
        copies = LocalStore(self._source / PAYLOADS, keys=PayloadKeys(keyring))
        wrong: dict[str, str] = {}
        size = self._manifest.payloads.size
        with self._steps("checking payloads", size, size=True) as progress, Together(progress) as together:

            def check(record: PayloadRecord) -> str | None:
                try:
                    verify(copies, record, keyring, together.progress)
                except DeliveryError as error:
                    return error.message
                return None

            for batch in inventory.stored():
                batch = self._included(batch)
                for record, said in zip(batch, together.each(check, batch), strict=True):
                    if said is not None:
                        wrong[record.id] = said
        return wrong

    def _refuse_strangers(self, copy: SqliteDatabase) -> None:
        """An engine on this ledger would sweep away what it does not know; it may be another one's."""
        payloads = Payloads(copy)
        for batch in self._store.locations():
            named = payloads.known(batch)
            strange = [location for location in batch if location not in named]
            if strange:
                raise BackupError(
                    f"the payload store holds payloads that the backup does not know, such as {strange[0]}: "
                    "an engine would remove them after a day",
                    cure="name an empty place under `payloads:`, or move them away",
                )

    def _included(self, batch: list[PayloadRecord]) -> list[PayloadRecord]:
        return [record for record in batch if record.id not in self._left_out]


def _place(staged: Path, final: Path) -> None:
    """Give the ledger its name, unless there is one meanwhile; from here on there is an installation."""
    copying.sync(staged)
    try:
        if not copying.link(staged, final):
            os.rename(staged, final)  # no hard links there
        staged.unlink(missing_ok=True)
    except FileExistsError:
        raise BackupError(
            f"a ledger was made meanwhile: {final}", cure="stop what uses this config, and move it away"
        ) from None
    sync_folder(final.parent)
