"""Accounts that destinations are linked to: their tokens, encrypted, and the lease under which they change.

Whoever renews a login holds the row's lock: a lease with an owner, an end and a fence that only grows. The
lock is taken, and given back, by short conditional updates; no transaction is open while the provider is
asked. Only the holder of the newest fence may store what it was given, so that of two that were handed tokens
for the same refresh token the later one counts, and the other's are never used.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from conveyor.keyring import Keyring
from conveyor.ledger.database import Database, insert_missing
from conveyor.ledger.memory import need, seal, unseal
from conveyor.ledger.prepared import Prepared
from conveyor.ledger.schema import connections


class ConnectionState(enum.StrEnum):
    """How a login stands."""

    OK = "ok"
    REVOKED = "revoked"
    CONSENT = "consent"


@dataclass(frozen=True, slots=True)
class Tokens:
    """What is secret about a connection.

    Attributes:
        access: The access token; empty before the first renewal.
        refresh: The refresh token; None for logins that need no person.
        seed: Digest of the refresh token in the config that these descend from; None after ``connect``.
    """

    access: str = field(default="", repr=False)
    refresh: str | None = field(default=None, repr=False)
    seed: str | None = None


@dataclass(frozen=True, slots=True)
class ConnectionRecord:
    """A connection's row. Times are microseconds; ``sealed`` holds the tokens, encrypted."""

    id: str
    provider: str
    state: ConnectionState
    account_id: str | None
    account_name: str | None
    scopes: tuple[str, ...]
    sealed: bytes = field(repr=False)
    key_id: str
    expires_at: int | None
    generation: int
    lock_owner: str | None
    lock_until: int | None
    lock_fence: int
    created_at: int
    last_used: int | None
    last_refresh: int | None
    error: str | None


_C = connections.c
_COLUMNS = (
    "id", "provider", "state", "account_id", "account_name", "scopes", "tokens", "key_id", "expires_at",
    "generation", "lock_owner", "lock_until", "lock_fence", "created_at", "last_used", "last_refresh",
    "error",
)  # fmt: skip
_ALL = sa.select(*(_C[name] for name in _COLUMNS)).order_by(_C.id)
_ONE = Prepared(sa.select(*(_C[name] for name in _COLUMNS)).where(_C.id == sa.bindparam("b_id")))
_FREE = {"lock_owner": None, "lock_until": None}
_MINE = sa.and_(_C.id == sa.bindparam("b_id"), _C.lock_fence == sa.bindparam("b_fence"))
_HELD = sa.and_(_MINE, _C.lock_owner == sa.bindparam("b_owner"))
"""By its owner too: a row that was removed and made anew counts its fences from the beginning."""
_LOCK = (
    sa.update(connections)
    .where(_MINE)
    .values(
        lock_owner=sa.bindparam("b_owner"), lock_until=sa.bindparam("b_until"), lock_fence=_C.lock_fence + 1
    )
)
_EXTEND = sa.update(connections).where(_HELD).values(lock_until=sa.bindparam("b_until"))
_UNLOCK = sa.update(connections).where(_HELD).values(**_FREE)
_USED = sa.update(connections).where(_C.id == sa.bindparam("b_id")).values(last_used=sa.bindparam("b_now"))
_REMOVE = sa.delete(connections).where(_C.id == sa.bindparam("b_id"))
_REPLACED = _REMOVE.where(_C.tokens == sa.bindparam("b_tokens"))


class Connections:
    """The table of connections."""

    def __init__(self, database: Database, keyring: Keyring | None) -> None:
        self._database = database
        self._keyring = keyring

    # --- reading -------------------------------------------------------------------------------

    def get(self, connection: str) -> ConnectionRecord | None:
        """One connection, or None."""
        row = self._database.first(_ONE, {"b_id": connection})
        return None if row is None else _record(row)

    def all(self) -> list[ConnectionRecord]:
        """All connections, by id. Needs no key."""
        with self._database.read() as database:
            return [_record(row) for row in database.execute(_ALL).all()]

    def open(self, record: ConnectionRecord) -> Tokens:
        """Decrypt the tokens. Raises LedgerError for a missing or wrong key."""
        return Tokens(**unseal(self._keyring, record.sealed))

    # --- signing in and out --------------------------------------------------------------------

    def put(
        self,
        connection: str,
        provider: str,
        tokens: Tokens,
        *,
        expires_at: int,
        scopes: tuple[str, ...],
        account: tuple[str | None, str | None],
        now: int,
    ) -> None:
        """Store a fresh sign-in, in place of an earlier one; who renews that one at present is fenced out.

        Args:
            connection: Its id.
            provider: The provider's name.
            tokens: What it gave.
            expires_at: Of the access token.
            scopes: As granted.
            account: Its id and name at the provider.
            now: Microseconds.
        """
        values: dict[str, Any] = {
            **self._sealed(tokens),
            "provider": provider,
            "state": ConnectionState.OK.value,
            "account_id": account[0],
            "account_name": account[1],
            "scopes": " ".join(scopes),
            "expires_at": expires_at,
            "last_refresh": now,
            "error": None,
        }
        with self._database.write(durable=True) as database:
            insert_missing(database, connections, [{"id": connection, "created_at": now, **values}])
            database.execute(
                sa.update(connections)
                .where(_C.id == connection)
                .values(generation=_C.generation + 1, lock_fence=_C.lock_fence + 1, **_FREE, **values)
            )

    def seed(
        self,
        connection: str,
        provider: str,
        tokens: Tokens,
        now: int,
        *,
        instead_of: ConnectionRecord | None = None,
    ) -> None:
        """Make the row of a connection that no person signs in for, unless there is one.

        Args:
            connection: Its id.
            provider: The provider's name.
            tokens: To begin with.
            now: Microseconds.
            instead_of: A row that goes, if its tokens are still those: what somebody has put in its place
                since may be the only copy of what was granted.
        """
        row = {
            "id": connection, "provider": provider, "created_at": now, "scopes": "", **self._sealed(tokens)
        }  # fmt: skip
        with self._database.write(durable=True) as database:
            if instead_of is not None:
                database.execute(_REPLACED, {"b_id": connection, "b_tokens": instead_of.sealed})
            insert_missing(database, connections, [row])

    def remove(self, connection: str) -> bool:
        """Forget a connection. False when there was none."""
        with self._database.write(durable=True) as database:
            return database.execute(_REMOVE, {"b_id": connection}).rowcount == 1

    # --- renewing ------------------------------------------------------------------------------

    def lock(
        self, connection: str, owner: str, *, until: int, now: int, left: Callable[[str], bool]
    ) -> ConnectionRecord | None:
        """Take the lock; the row as it is under it, or None when somebody else holds it.

        Args:
            connection: Its id.
            owner: Who takes it.
            until: End of the lease, microseconds.
            now: Microseconds.
            left: Whether an owner is certainly dead, so that its lease needs not run out.

        Raises:
            KeyError: There is no such connection.
        """
        with self._database.write(quiet=True) as database:
            row = _ONE.row(database, {"b_id": connection})
            if row is None:
                raise KeyError(connection)
            held = _record(row)
            if held.lock_owner is not None and (held.lock_until or 0) > now and not left(held.lock_owner):
                return None
            taken = database.execute(
                _LOCK, {"b_id": connection, "b_fence": held.lock_fence, "b_owner": owner, "b_until": until}
            )
            if taken.rowcount == 0:
                return None
            row = _ONE.row(database, {"b_id": connection})
        return None if row is None else _record(row)

    def extend(self, locked: ConnectionRecord, until: int) -> bool:
        """Keep the lock for longer; False when it is lost."""
        return self._change(_EXTEND, locked, {"b_until": until})

    def unlock(self, locked: ConnectionRecord) -> bool:
        """Give the lock back with nothing changed; False when it was lost."""
        return self._change(_UNLOCK, locked, {})

    def renewed(
        self,
        locked: ConnectionRecord,
        tokens: Tokens,
        *,
        expires_at: int,
        scopes: tuple[str, ...] | None,
        now: int,
    ) -> bool:
        """Store renewed tokens, durably, and give the lock back; False when the lock was lost."""
        values: dict[str, Any] = {
            **self._sealed(tokens),
            "state": ConnectionState.OK.value,
            "expires_at": expires_at,
            "generation": _C.generation + 1,
            "last_refresh": now,
            "error": None,
        }
        if scopes is not None:
            values["scopes"] = " ".join(scopes)
        return self._change(sa.update(connections).where(_HELD).values(**values, **_FREE), locked, {})

    def refused(self, locked: ConnectionRecord, error: str, state: ConnectionState | None = None) -> bool:
        """Note why a renewal failed, and give the lock back; False when the lock was lost.

        Args:
            locked: Under which lock.
            error: For people; no secret in it.
            state: The login's new state; None leaves it.
        """
        values: dict[str, Any] = {"error": error}
        if state is not None:
            values["state"] = state.value
        return self._change(sa.update(connections).where(_HELD).values(**values, **_FREE), locked, {})

    def used(self, connection: str, now: int) -> None:
        """Note that the login is in use."""
        with self._database.write(quiet=True) as database:
            database.execute(_USED, {"b_id": connection, "b_now": now})

    def _change(self, statement: sa.Update, locked: ConnectionRecord, values: dict[str, Any]) -> bool:
        named = {"b_id": locked.id, "b_fence": locked.lock_fence, "b_owner": locked.lock_owner, **values}
        with self._database.write(durable=True) as database:
            return database.execute(statement, named).rowcount == 1

    def _sealed(self, tokens: Tokens) -> dict[str, Any]:
        document = {"access": tokens.access, "refresh": tokens.refresh, "seed": tokens.seed}
        return {"tokens": seal(self._keyring, document), "key_id": need(self._keyring).key_id}


def _record(row: Any) -> ConnectionRecord:
    values = dict(zip(_COLUMNS, row, strict=True))
    values["sealed"] = bytes(values.pop("tokens"))
    values["state"] = ConnectionState(values["state"])
    values["scopes"] = tuple((values["scopes"] or "").split())
    return ConnectionRecord(**values)
