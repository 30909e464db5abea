"""What the ledger knows of destinations beside their config: paused, blocked, served when, last result."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from conveyor.ledger import rows
from conveyor.ledger.database import Database, insert_missing
from conveyor.ledger.prepared import Prepared, among
from conveyor.ledger.records import OPEN, Block, BlockReason
from conveyor.ledger.records import Health as HealthRecord
from conveyor.ledger.schema import deliveries, health
from conveyor.ledger.transitions import in_

_CHUNK = 500
_IDS = health.c.destination.in_(sa.bindparam("ids", expanding=True))
_ALL = sa.select(*rows.HEALTH_COLUMNS)
_SOME = _ALL.where(_IDS)
KNOWN = Prepared(_ALL.where(among(health.c.destination, "ids")))
LOCK = Prepared(
    _ALL.where(among(health.c.destination, "ids")).order_by(health.c.destination).with_for_update()
)

_NO_BLOCK = {
    "block_reason": None,
    "block_until": None,
    "block_step": 0,
    "block_message": None,
    "blocked_since": None,
    "block_revision": None,
}
_UNTRIED = {"recent": None, "failing_since": None, "failing_attempts": 0}
"""What was counted before a person put it right says nothing any more."""

_PAUSE = (
    sa.update(health)
    .where(_IDS)
    .values(
        paused_at=sa.func.coalesce(health.c.paused_at, sa.bindparam("b_now")), pause_note=sa.bindparam("note")
    )
)
_RESUME = sa.update(health).where(_IDS).values(paused_at=None, pause_note=None, **_NO_BLOCK, **_UNTRIED)
_RELEASE = sa.update(health).where(_IDS, health.c.block_reason.is_not(None)).values(**_NO_BLOCK, **_UNTRIED)
_RELEASE_UNDER = _RELEASE.where(health.c.block_revision == sa.bindparam("b_under"))
_RELEASE_LOGIN = _RELEASE.where(health.c.block_reason == BlockReason.NEEDS_LOGIN.value)
_HOLD = (
    sa.update(health)
    .where(health.c.destination == sa.bindparam("b_id"), health.c.block_reason.is_(None))
    .values({name: sa.bindparam(f"b_{name}") for name in _NO_BLOCK})
)
_TYPES = sa.select(health.c.destination, health.c.type).where(_IDS)
_SET_TYPE = (
    sa.update(health).where(health.c.destination == sa.bindparam("b_id")).values(type=sa.bindparam("b_type"))
)
_OPEN_OF_TYPE = (
    sa.select(deliveries.c.id)
    .where(
        deliveries.c.destination == sa.bindparam("b_id"),
        in_(OPEN),
        deliveries.c.type == sa.bindparam("b_type"),
    )
    .limit(1)
)


_TOLD = sa.select(health.c.destination, health.c.told).where(health.c.told.is_not(None))
_NOTE_TOLD = (
    sa.update(health).where(health.c.destination == sa.bindparam("b_id")).values(told=sa.bindparam("b_told"))
)


class Health:
    """Pauses and blocks of destinations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, ids: Collection[str] | None = None) -> dict[str, HealthRecord]:
        """Health by destination id; of all known destinations when ``ids`` is None.

        Destinations that the ledger has never heard of are missing from the answer.
        """
        with self._database.read() as connection:
            if ids is None:
                found = connection.execute(_ALL).all()
            else:
                found = connection.execute(_SOME, {"ids": list(ids)}).all()
        return {row[0]: rows.health_from(row) for row in found}

    def pause(self, ids: Collection[str], note: str | None, now: int) -> None:
        """Hold destinations until :meth:`resume`. Attempts that run already end by themselves."""
        self._change(_PAUSE, ids, {"b_now": now, "note": note})

    def resume(self, ids: Collection[str], now: int) -> None:
        """End pause and any block, deactivation included."""
        self._change(_RESUME, ids, {})

    def release(self, destination: str, now: int, *, under: str | None = None) -> None:
        """End a block but not a pause: the destination was edited, or its account connected again.

        Args:
            destination: Its id.
            now: Microseconds.
            under: Only a block that began under this revision; None ends any.
        """
        if under is None:
            self._change(_RELEASE, [destination], {})
        else:
            self._change(_RELEASE_UNDER, [destination], {"b_under": under})

    def hold(self, revisions: Mapping[str, str], block: Block, now: int) -> None:
        """Block destinations that nothing blocks yet.

        Args:
            revisions: Their ids, each with the revision whose edit ends the block.
            block: The block.
            now: Microseconds.
        """
        values = {
            "b_block_reason": block.reason.value,
            "b_block_until": block.until,
            "b_block_step": block.step,
            "b_block_message": block.message,
            "b_blocked_since": now,
        }
        with self._database.write(durable=True) as connection:
            lock(connection, list(revisions))
            each = [
                {**values, "b_id": name, "b_block_revision": revision}
                for name, revision in sorted(revisions.items())
            ]
            if each:
                connection.execute(_HOLD, each)

    def told(self) -> dict[str, str]:
        """The reason that plugins were last told a destination is not served for, by destination."""
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(_TOLD)}

    def note_told(self, destination: str, reason: str | None) -> None:
        """Remember what plugins were told of a destination; None: that it is served."""
        with self._database.write(quiet=True) as connection:
            ensure(connection, [destination])
            connection.execute(_NOTE_TOLD, {"b_id": destination, "b_told": reason})

    def signed_in(self, ids: Collection[str]) -> None:
        """End what held destinations for want of a login; pauses and other blocks stay."""
        self._change(_RELEASE_LOGIN, ids, {})

    def known_type(self, destination: str, type_: str) -> str:
        """The type under which the ledger knows a destination id; remembers ``type_`` for a new one.

        A changed type is taken over as soon as no delivery of the old type is open: only work that waits for
        the old type makes the change a mistake.
        """
        return self.known_types({destination: type_}).get(destination, type_)

    def known_types(self, types: Mapping[str, str]) -> dict[str, str]:
        """Those destinations of ``types`` that the ledger knows under another type, with that type."""
        ids = list(types)
        with self._database.read() as connection:
            known: dict[str, str | None] = {}
            for start in range(0, len(ids), _CHUNK):
                found = connection.execute(_TYPES, {"ids": ids[start : start + _CHUNK]})
                known.update({row[0]: row[1] for row in found})
        if all(known.get(name) == kind for name, kind in types.items()):
            return {}
        conflicts: dict[str, str] = {}
        with self._database.write() as connection:
            ensure(connection, [name for name in sorted(types) if name not in known])
            for name, kind in sorted(types.items()):
                old = known.get(name)
                if old == kind:
                    continue
                if (
                    old is not None
                    and connection.execute(_OPEN_OF_TYPE, {"b_id": name, "b_type": old}).first()
                ):
                    conflicts[name] = old
                else:
                    connection.execute(_SET_TYPE, {"b_id": name, "b_type": kind})
        return conflicts

    def _change(self, statement: sa.Update, ids: Collection[str], values: Mapping[str, object]) -> None:
        ordered = sorted(ids)
        with self._database.write(durable=True) as connection:
            for start in range(0, len(ordered), _CHUNK):
                some = ordered[start : start + _CHUNK]
                lock(connection, some)
                connection.execute(statement, {"ids": some, **values})


def ensure(connection: sa.Connection, ids: Collection[str]) -> None:
    """Make a health row for each destination that has none."""
    insert_missing(connection, health, [{"destination": name} for name in ids])


def lock(
    connection: sa.Connection, ids: Collection[str], found: Sequence[Sequence[Any]] | None = None
) -> dict[str, HealthRecord]:
    """Lock the health rows of destinations, in one order for all, making those that are missing.

    Args:
        connection: Within a transaction.
        ids: The destinations.
        found: What :data:`LOCK` has answered for them, where it has been asked already.
    """
    if found is None:
        found = LOCK.rows(connection, {"ids": sorted(ids)})
    if len(found) < len(set(ids)):
        known = {row[0] for row in found}
        ensure(connection, sorted(set(ids) - known))
        found = LOCK.rows(connection, {"ids": sorted(ids)})
    return known_from(found)


def known_from(found: Sequence[Sequence[Any]]) -> dict[str, HealthRecord]:
    """Health by destination, of what :data:`LOCK` has found."""
    return {row[0]: rows.health_from(row) for row in found}
