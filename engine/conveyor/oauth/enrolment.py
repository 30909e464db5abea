"""What follows a sign-in: whose account it is, storing it, letting held deliveries go on. And signing out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conveyor.clock import Clock, micros
from conveyor.ledger.connections import ConnectionRecord, Tokens
from conveyor.oauth.application import Account

if TYPE_CHECKING:
    from conveyor.ledger.facade import Ledger
    from conveyor.oauth.application import Application, Granted


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A sign-in that is about to be stored.

    Attributes:
        connection: Its id.
        granted: The tokens.
        account: Who signed in.
        earlier: The account known so far, when it is another one.
    """

    connection: str
    granted: Granted
    account: Account
    earlier: str | None


def enrol(ledger: Ledger, connection: str, application: Application, granted: Granted) -> Enrolment:
    """Ask whose account it is, and compare it with the one known.

    Raises:
        Refused: The service does not tell.
        NoAnswer: It does not answer.
    """
    account = application.account(granted.access)
    known = ledger.connections.get(connection)
    other = (
        known is not None
        and known.provider == application.provider.name
        and None not in (known.account_id, account.id)
        and known.account_id != account.id
    )
    earlier = (known.account_name or known.account_id) if other and known is not None else None
    return Enrolment(connection, granted, account, earlier)


def store(
    ledger: Ledger, application: Application, enrolment: Enrolment, destinations: Sequence[str], clock: Clock
) -> None:
    """Keep the login, and end what held its destinations for want of one."""
    now, granted = clock.now(), enrolment.granted
    ledger.connections.put(
        enrolment.connection,
        application.provider.name,
        Tokens(granted.access, granted.refresh),
        expires_at=now + micros(granted.expires_in),
        scopes=application.scopes if granted.scopes is None else granted.scopes,
        account=(enrolment.account.id, enrolment.account.name),
        now=now,
    )
    ledger.health.signed_in(destinations)


def sign_out(ledger: Ledger, record: ConnectionRecord, application: Application | None) -> bool:
    """Revoke a login at the provider and forget it; whether it was revoked there.

    Args:
        ledger: Where it lies.
        record: The connection.
        application: To revoke with; None forgets only.

    Raises:
        Refused: The provider did not revoke it; nothing was forgotten.
        NoAnswer: Likewise.
    """
    tokens = ledger.connections.open(record)
    revoked = application is not None and bool(tokens.access or tokens.refresh) and application.revoke(tokens)
    ledger.connections.remove(record.id)
    return revoked
