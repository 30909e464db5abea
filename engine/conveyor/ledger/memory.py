"""What a destination remembers across deliveries and processes: host keys, folder ids. Encrypted JSON.

Host keys are kept for ever. A folder's id can be asked for again, and paths with a date in them make new ones
each day: those that nobody has used for long are forgotten.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from conveyor.clock import micros
from conveyor.contract import Json
from conveyor.errors import LedgerError
from conveyor.keyring import Keyring
from conveyor.ledger.database import Database, insert_missing
from conveyor.ledger.schema import memory

if TYPE_CHECKING:
    from conveyor.clock import Clock

PASSING = "folder:"
"""How the keys begin of what the service tells again (:mod:`conveyor.kit.folders`)."""

NOTED = 86400.0
"""Seconds after which another use is written down."""

_M = memory.c
_ONE = (_M.destination == sa.bindparam("b_destination"), _M.key == sa.bindparam("b_key"))
_GET = sa.select(_M.value, _M.used_at).where(*_ONE)
_LOCKED = _GET.with_for_update()  # SQLite has one writer anyway
_USED = sa.update(memory).where(*_ONE).values(used_at=sa.bindparam("b_used", type_=sa.BigInteger))
_CHANGE = _USED.values(value=sa.bindparam("b_value"))
_FORGET = sa.delete(memory).where(*_ONE)
_BEFORE = _M.used_at < sa.bindparam("b_before", type_=sa.BigInteger)
_UNUSED = (
    sa.select(_M.destination, _M.key)
    .where(_BEFORE)
    .order_by(_M.used_at, _M.destination, _M.key)
    .limit(sa.bindparam("room"))
)
_FORGET_UNUSED = _FORGET.where(_BEFORE)


def seal(keyring: Keyring | None, value: object) -> bytes:
    """Encrypt a JSON value. Raises LedgerError when the ledger was opened without a key."""
    return need(keyring).encrypt(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def unseal(keyring: Keyring | None, token: bytes) -> Any:
    """Decrypt what :func:`seal` wrote. Raises LedgerError for a missing or wrong key."""
    return json.loads(need(keyring).decrypt(bytes(token)))


def need(keyring: Keyring | None) -> Keyring:
    """The keyring. Raises LedgerError when the ledger was opened without one."""
    if keyring is None:
        raise LedgerError("the ledger was opened without its key", cure="set `key:` in the configuration")
    return keyring


class Memory:
    """A small store per destination."""

    def __init__(self, database: Database, keyring: Keyring | None, clock: Clock) -> None:
        self._database = database
        self._keyring = keyring
        self._clock = clock

    def get(self, destination: str, key: str) -> Json:
        """The value, or None."""
        place = {"b_destination": destination, "b_key": key}
        with self._database.read() as connection:
            found = connection.execute(_GET, place).first()
        if found is None:
            return None
        now = self._used(key)
        if now is not None and now - (found.used_at or 0) > micros(NOTED):
            with self._database.write() as connection:
                connection.execute(_USED, {**place, "b_used": now})
        value: Json = unseal(self._keyring, found.value)
        return value

    def _used(self, key: str) -> int | None:
        """Now, for what is forgotten when it is not used; None for what is kept."""
        return self._clock.now() if key.startswith(PASSING) else None

    def put_if_absent(self, destination: str, key: str, value: Json) -> Json:
        """Store ``value`` unless there is one; returns what is stored afterwards."""
        sealed, used_at = seal(self._keyring, value), self._used(key)
        row = {"destination": destination, "key": key, "value": sealed, "used_at": used_at}
        with self._database.write(durable=True) as connection:
            token = None
            while token is None:  # what was there may be forgotten this moment
                insert_missing(connection, memory, [row])
                token = connection.execute(_GET, {"b_destination": destination, "b_key": key}).scalar()
        stored: Json = unseal(self._keyring, token)
        return stored

    def exchange(self, destination: str, key: str, expected: Json, value: Json) -> Json:
        """Store ``value`` where ``expected`` is stored; returns what is stored afterwards."""
        place = {"b_destination": destination, "b_key": key}
        with self._database.write(durable=True) as connection:
            token = connection.execute(_LOCKED, place).scalar()
            stored: Json = None if token is None else unseal(self._keyring, token)
            if token is None or stored != expected:
                return stored
            connection.execute(
                _CHANGE, {**place, "b_value": seal(self._keyring, value), "b_used": self._used(key)}
            )
        return value

    def forget(self, destination: str, key: str) -> None:
        """Remove the value; nothing there is fine."""
        with self._database.write(durable=True) as connection:
            connection.execute(_FORGET, {"b_destination": destination, "b_key": key})

    def forget_unused(self, before: int, limit: int) -> int:
        """Remove what the service tells again and nobody has used since ``before``, microseconds.

        Args:
            before: The bound.
            limit: Values removed in one transaction.

        Returns:
            How many were found; less than ``limit`` at the end.
        """
        with self._database.read() as connection:
            found = connection.execute(_UNUSED, {"b_before": before, "room": limit}).all()
        going = [{"b_destination": row[0], "b_key": row[1], "b_before": before} for row in found]
        if going:
            with self._database.write() as connection:
                connection.execute(_FORGET_UNUSED, going)
        return len(going)
