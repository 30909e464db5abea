"""``conveyor doctor``: looks over a whole installation, and says of each trouble what cures it.

Nothing is changed, migrated or made, but for a payload of a few bytes that is stored, read and removed again.
Each look stands by itself: what one of them runs into never keeps the others from looking.
"""

from __future__ import annotations

import enum
import io
import os
import platform
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conveyor.clock import SECOND, SystemClock, micros
from conveyor.contract import DeliveryError
from conveyor.errors import ConfigError, ConveyorError, LedgerError
from conveyor.status.reasons import SIGN_IN

if TYPE_CHECKING:
    from conveyor.config import Config
    from conveyor.installation import Installation

TIGHT, FULL = 2 << 30, 256 << 20
"""Free bytes below which a disk is a warning, and an error."""

SKEWED, WRONG = 5.0, 240.0
"""Seconds between two clocks. Receivers of webhooks refuse what is 5 minutes off, S3 what is 15."""

SOON = 7 * 86400.0
"""Seconds before a login's end at which a person should hear of it."""

LATE = 900.0
"""Seconds that a delivery may be due, at a destination that is served, before somebody should look."""

_STUCK = {
    "claim": ("claims of workers that are gone", "start `conveyor run` or a worker: it frees them"),
    "expiry": ("deliveries past their expire_after", "start `conveyor run` or a worker: it ends them"),
    "payload": (
        "payloads half removed",
        "an engine goes on with them each minute; its log says why",
    ),
    "cleanup": ("leftovers at destinations", "`conveyor show` of the delivery says what fails"),
}


class Level(enum.StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found; ``cure`` is None where nothing is to be done."""

    check: str
    level: Level
    message: str
    cure: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def ok(check: str, message: str) -> Finding:
    """All is well."""
    return Finding(check, Level.OK, message)


def warning(check: str, message: str, cure: str) -> Finding:
    """It works, and should not stay so."""
    return Finding(check, Level.WARNING, message, cure)


def error(check: str, message: str, cure: str | None) -> Finding:
    """It does not work."""
    return Finding(check, Level.ERROR, message, cure)


def examine(path: Path | None) -> Iterator[Finding]:
    """All findings, in the order in which one thing needs another.

    Args:
        path: The config file; None for the usual one.
    """
    from conveyor.config import load
    from conveyor.installation import Installation, config_path

    yield from _versions()
    try:
        config = load(config_path(path))
    except ConfigError as found:
        for problem in found.problems:
            yield error("config", str(problem), problem.cure or "conveyor validate")
        return
    yield from _config(config)
    if (where := config.settings.broker_url) is not None:
        from conveyor.status.doctor_broker import broker

        yield from _looked("broker", partial(broker, where))
    tables = list(_looked("migrations", lambda: _tables(config)))
    yield from tables
    if any(each.level is Level.ERROR for each in tables):
        return
    try:
        installation = Installation(config)
    except ConveyorError as found:
        yield error("ledger", found.message, found.cure)
        return
    try:
        for check, look in _LOOKS.items():
            yield from _looked(check, partial(look, installation))
    finally:
        installation.close()


def _looked(check: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except ConveyorError as found:
        yield error(check, found.message, found.cure)
    except DeliveryError as found:
        yield error(check, found.message, found.hint)
    except OSError as found:
        place = "" if found.filename is None else f": {found.filename}"
        cure = "see whether it exists, and whether this user may read and write it"
        yield error(check, f"{found.strerror or type(found).__name__}{place}", cure)
    except Exception as found:  # its text may quote a secret
        cure = "report it, with what `conveyor version` says"
        yield error(check, f"this look ended with {type(found).__name__}", cure)


def _versions() -> Iterator[Finding]:
    from conveyor.registry import default_registry
    from conveyor.version import __version__

    here = f"conveyor {__version__}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    yield ok("versions", here)
    for problem in default_registry().problems:
        yield warning("versions", f"plugin: {problem}", "upgrade or remove this plugin; the others work")


def _config(config: Config) -> Iterator[Finding]:
    for problem in config.problems:
        yield error("config", f"quarantined: {problem}", problem.cure or "conveyor validate")
    if not config.problems:
        yield ok("config", f"{len(config.source.list())} destinations in {config.path}")


def _tables(config: Config) -> Iterator[Finding]:
    from conveyor.ledger import current_version
    from conveyor.ledger.schema import HEAD
    from conveyor.ledger.versions import usable_url

    settings = config.settings
    if (file := settings.ledger_file) is not None:
        if not file.exists():
            yield error("migrations", f"there is no ledger {file} yet", "conveyor migrate, or a first `send`")
            return
        if settings.key.value is None and not settings.key.file.exists():
            cure = "put it back from a backup; for a ledger that holds nothing yet, any other verb makes one"
            yield error("key", f"key file {settings.key.file} is missing", cure)
    found = current_version(settings.ledger)
    if found == HEAD:
        yield ok("migrations", f"the ledger's tables are current: version {HEAD}")
    elif found is not None and found > HEAD and usable_url(settings.ledger):
        message = f"the ledger is of version {found}; this program's {HEAD} works beside newer ones"
        yield warning("migrations", message, "upgrade Conveyor on this machine too")
    elif found is not None and found > HEAD:
        yield error(
            "migrations",
            f"the ledger is of version {found}, newer than this program's {HEAD}",
            "upgrade Conveyor on this machine",
        )
    else:
        yield error(
            "migrations",
            f"the ledger is of version {found or 'none'}, this program needs {HEAD}",
            "stop the workers, run `conveyor migrate`, start the new ones",
        )


def _clock(installation: Installation) -> Iterator[Finding]:
    from conveyor.ledger.postgres import PostgresDatabase

    database = installation.ledger.database
    if not isinstance(database, PostgresDatabase):
        return
    ours = SystemClock()
    before = ours.now()
    told = database.server_time()
    off = (told - (before + ours.now()) // 2) / SECOND
    message = f"this machine's clock is {abs(off):.1f} s {'behind' if off > 0 else 'ahead of'} the ledger's"
    cure = "synchronise both machines by NTP: what is due and leases follow the ledger, signatures this one"
    level = Level.ERROR if abs(off) >= WRONG else Level.WARNING if abs(off) >= SKEWED else Level.OK
    yield Finding("clock", level, message, None if level is Level.OK else cure)


def _workers(installation: Installation) -> Iterator[Finding]:
    from conveyor.status.workers import present

    found = present(installation.ledger, installation.clock)
    hosts = sorted({worker.host for worker in found})
    if found:
        yield ok("workers", f"{len(found)} processes on {', '.join(hosts)}")
    else:
        yield warning("workers", "no worker is running", "conveyor run, or conveyor worker")
    if len(hosts) > 1 and installation.ledger.embedded:
        yield error("workers", "machines share an SQLite ledger", "conveyor migrate-ledger to PostgreSQL")


def _payloads(installation: Installation) -> Iterator[Finding]:
    store = installation.payloads
    record = store.put(io.BytesIO(b"conveyor doctor\n"))
    try:
        with store.open(record) as stream:
            sound = stream.read() == b"conveyor doctor\n"
    finally:
        store.remove(record)
    if sound:
        yield ok("payloads", "the payload store can be written and read from here")
    else:
        yield error("payloads", "the payload store gives back other bytes", "check its disk or service")
    yield from _sealing(installation)


def _sealing(installation: Installation) -> Iterator[Finding]:
    """Whether payloads are encrypted at rest, and whether the keys here decrypt them."""
    found = installation.ledger.payloads.sealing()
    if installation.config.settings.payload_encryption:
        key = installation.keyring.key_id
        message = f"new payloads are encrypted at rest, under key {key}"
    else:
        message = "new payloads are not encrypted at rest (`payload_encryption`)"
    yield ok("payloads", f"{message}; in the store: {found.sealed} encrypted, {found.plain} not")
    if found.oldest is not None:
        try:
            installation.keyring.decrypt(found.oldest)
        except LedgerError as problem:
            yield error("payloads", "no key here decrypts the oldest encrypted payload", problem.cure or "")


def _disks(installation: Installation) -> Iterator[Finding]:
    from conveyor.ledger.sqlite import SqliteDatabase

    places: dict[str, Path] = {}
    where = installation.config.settings.payloads
    if isinstance(where, Path):
        places["payloads"] = where
    database = installation.ledger.database
    if isinstance(database, SqliteDatabase):
        places["ledger"] = database.path.absolute().parent
    for name, place in places.items():
        while not place.exists():
            place = place.parent
        yield disk(name, place, shutil.disk_usage(place).free, os.statvfs(place).f_favail)


def disk(name: str, place: Path, free: int, inodes: int) -> Finding:
    """One disk's state.

    Args:
        name: What lies there.
        place: Its folder.
        free: Bytes.
        inodes: Files that can still be made; 0 where the file system does not count them.
    """
    message = f"{name}: {free / (1 << 30):.1f} GiB free at {place}"
    cure = "free some space, keep payloads for less time (`retention`), or move them to a larger disk"
    if free < FULL:
        return error("disk", message, cure)
    if free < TIGHT:
        return warning("disk", message, cure)
    if 0 < inodes < 10_000:
        return warning("disk", f"{name}: room for {inodes} more files at {place}", cure)
    return ok("disk", message)


def _logins(installation: Installation) -> Iterator[Finding]:

    users: dict[str, str] = {}
    for destination in installation.source.list():
        users.setdefault(destination.connection or "", destination.id)
    users.pop("", None)
    known = {record.id: record for record in installation.ledger.connections.all()}
    now = installation.clock.now()
    for name, user in sorted(users.items()):
        record, cure = known.get(name), SIGN_IN.format(id=user)
        if record is None:
            yield warning("logins", f"{name}: nobody has signed in yet", cure)
            continue
        if record.state.value != "ok":
            yield error("logins", f"{name}: {record.state.value}: {record.error or 'refused'}", cure)
            continue
        lasts = installation.config.registry.provider(record.provider).login_lasts
        if lasts is None or record.last_refresh is None:
            continue
        left = (record.last_refresh + micros(lasts) - now) / SECOND
        if left < min(SOON, lasts / 2):
            hours = max(0, round(left / 3600))
            yield warning("logins", f"{name}: ends in {hours} h unless it is renewed", cure)
    if users:
        yield ok("logins", f"{len(users)} accounts looked at")


def _rows(installation: Installation) -> Iterator[Finding]:
    now = installation.clock.now()
    stuck = {kind: count for kind, count in installation.ledger.figures.stuck(now).items() if count}
    for kind, count in stuck.items():
        what, cure = _STUCK[kind]
        yield warning("stuck rows", f"{count} {what}", cure)
    standing = installation.standing()
    for due in installation.ledger.claims.due(now):
        late = (now - due.next_attempt_at) / SECOND
        if late >= LATE and standing.hold(due.destination) is None:
            stuck["late"] = 1
            yield warning(
                "stuck rows",
                f"{due.destination}: something has been due for {late / 60:.0f} min and nothing holds it",
                "more workers or threads, or a higher limits.concurrency; `conveyor status` shows the queue",
            )
    if not stuck:
        yield ok("stuck rows", "none")


_LOOKS: dict[str, Callable[[Installation], Iterator[Finding]]] = {
    "clock": _clock,
    "workers": _workers,
    "payloads": _payloads,
    "disk": _disks,
    "logins": _logins,
    "stuck rows": _rows,
}
