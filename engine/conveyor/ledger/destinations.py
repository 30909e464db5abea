"""Destinations that an application manages: one encrypted document each, secrets and all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from conveyor.keyring import Keyring
from conveyor.ledger.database import Database, insert_missing, upsert
from conveyor.ledger.memory import seal, unseal
from conveyor.ledger.schema import documents, meta

_REVISION = "destinations_revision"
_ALL = sa.select(documents.c.id, documents.c.document).order_by(documents.c.id)
_ONE = sa.select(documents.c.document).where(documents.c.id == sa.bindparam("b_id"))
_DELETE = sa.delete(documents).where(documents.c.id == sa.bindparam("b_id"))
_GET_REVISION = sa.select(meta.c.value).where(meta.c.key == _REVISION)
_RAISE_REVISION = (
    sa.update(meta)
    .where(meta.c.key == _REVISION)
    .values(value=sa.cast(sa.cast(meta.c.value, sa.BigInteger) + 1, sa.Text))
)


class Destinations:
    """The table of destinations' documents and its revision."""

    def __init__(self, database: Database, keyring: Keyring | None) -> None:
        self._database = database
        self._keyring = keyring

    def put(self, destination: str, document: Mapping[str, Any], now: int) -> None:
        """Add or replace a document (JSON values). It is not validated here."""
        row = {"id": destination, "document": seal(self._keyring, dict(document)), "updated_at": now}
        with self._database.write(durable=True) as connection:
            upsert(connection, documents, [row])
            _raise_revision(connection)

    def delete(self, destination: str) -> bool:
        """Remove a document. False when there was none."""
        with self._database.write(durable=True) as connection:
            removed = connection.execute(_DELETE, {"b_id": destination}).rowcount == 1
            if removed:
                _raise_revision(connection)
        return removed

    def get(self, destination: str) -> dict[str, Any] | None:
        """One document, or None."""
        with self._database.read() as connection:
            token = connection.execute(_ONE, {"b_id": destination}).scalar()
        return None if token is None else dict(unseal(self._keyring, token))

    def list(self) -> dict[str, dict[str, Any]]:
        """All documents by destination id."""
        with self._database.read() as connection:
            found = connection.execute(_ALL).all()
        return {row[0]: dict(unseal(self._keyring, row[1])) for row in found}

    def revision(self) -> int:
        """Grows with every put and delete."""
        with self._database.read() as connection:
            value = connection.execute(_GET_REVISION).scalar()
        return 0 if value is None else int(value)


def _raise_revision(connection: sa.Connection) -> None:
    if connection.execute(_RAISE_REVISION).rowcount == 0:
        insert_missing(connection, meta, [{"key": _REVISION, "value": "0"}])
        connection.execute(_RAISE_REVISION)
