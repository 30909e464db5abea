"""What a destination remembers across deliveries and processes: host keys, folder ids. Encrypted JSON."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from conveyor.contract import Json
from conveyor.errors import LedgerError
from conveyor.keyring import Keyring
from conveyor.ledger.database import Database, insert_missing
from conveyor.ledger.schema import memory

_M = memory.c
_ONE = (_M.destination == sa.bindparam("b_destination"), _M.key == sa.bindparam("b_key"))
_GET = sa.select(_M.value).where(*_ONE)
_LOCKED = _GET.with_for_update()  # SQLite has one writer anyway
_CHANGE = sa.update(memory).where(*_ONE).values(value=sa.bindparam("b_value"))
_FORGET = sa.delete(memory).where(*_ONE)


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

    def __init__(self, database: Database, keyring: Keyring | None) -> None:
        self._database = database
        self._keyring = keyring

    def get(self, destination: str, key: str) -> Json:
        """The value, or None."""
        with self._database.read() as connection:
            token = connection.execute(_GET, {"b_destination": destination, "b_key": key}).scalar()
        value: Json = None if token is None else unseal(self._keyring, token)
        return value

    def put_if_absent(self, destination: str, key: str, value: Json) -> Json:
        """Store ``value`` unless there is one; returns what is stored afterwards."""
        row = {"destination": destination, "key": key, "value": seal(self._keyring, value)}
        with self._database.write(durable=True) as connection:
            insert_missing(connection, memory, [row])
            token = connection.execute(_GET, {"b_destination": destination, "b_key": key}).scalar_one()
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
            connection.execute(_CHANGE, {**place, "b_value": seal(self._keyring, value)})
        return value

    def forget(self, destination: str, key: str) -> None:
        """Remove the value; nothing there is fine."""
        with self._database.write(durable=True) as connection:
            connection.execute(_FORGET, {"b_destination": destination, "b_key": key})
