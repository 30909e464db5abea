"""``conveyor connections`` and ``disconnect``: the accounts that destinations use."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conveyor.cli import filters, session
from conveyor.errors import ConveyorError, UsageError

if TYPE_CHECKING:
    from conveyor.config import Destination
    from conveyor.installation import Installation
    from conveyor.ledger.connections import ConnectionRecord

DISCONNECT = """Revoke a login at the provider and forget it.

What is submitted to its destinations waits until somebody signs in again (conveyor connect).
"""


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command(
        "connections", epilog=filters.examples("conveyor connections", "conveyor connections --json")
    )(connections)
    app.command(
        "disconnect", help=DISCONNECT, epilog=filters.examples("conveyor disconnect holiday-drive --yes")
    )(disconnect)


def connections(context: typer.Context, json: filters.Json = False) -> None:
    """List the accounts that destinations use: who signed in, for what, until when; never a token."""
    from conveyor.cli import words

    with session.of(context).installation() as installation:
        found = _all(installation)
        now = installation.clock.now()
    if json:
        session.print_json(found)
        return
    rows = [
        (
            (
                each["id"],
                each["provider"],
                each["account"] or "-",
                each["state"],
                words.when(each["last_refresh"], now),
                words.when(each["login_expires_at"], now),
            ),
            _below(each),
        )
        for each in found
    ]
    columns = ("Connection", "Provider", "Account", "State", "Renewed", "Ends unused")
    session.print_listing(columns, rows, empty="no destination signs in to an account")


def _below(each: dict[str, Any]) -> str:
    parts = [f"destinations: {', '.join(each['destinations']) or 'none is configured any more'}"]
    if each["scopes"]:
        parts.append(f"scopes: {' '.join(each['scopes'])}")
    if each["error"]:
        parts.append(each["error"])
    if each["cure"]:
        parts.append(f"→ {each['cure']}")
    return "; ".join(parts)


def _all(installation: Installation) -> list[dict[str, Any]]:
    """The ledger's connections, and those that the config wants and nobody has made yet."""
    wanted: dict[str, list[Destination]] = {}
    for destination in installation.source.list():
        connection = destination.connection
        if connection is not None:
            wanted.setdefault(connection, []).append(destination)
    known = {record.id: record for record in installation.ledger.connections.all()}
    return [
        _view(installation, name, known.get(name), wanted.get(name, [])) for name in sorted({*wanted, *known})
    ]


def _view(
    installation: Installation, name: str, record: ConnectionRecord | None, destinations: list[Destination]
) -> dict[str, Any]:
    from conveyor.clock import micros
    from conveyor.status.times import iso

    state = "not connected" if record is None else record.state.value
    lasts = _lasts(installation, record, destinations)
    ends = None
    if record is not None and lasts is not None and record.last_refresh is not None:
        ends = record.last_refresh + micros(lasts)
    needs = state != "ok" and bool(destinations)
    return {
        "id": name,
        "provider": record.provider if record else destinations[0].spec.oauth,
        "state": state,
        "account": record and (record.account_name or record.account_id),
        "account_id": record and record.account_id,
        "scopes": list(record.scopes) if record else [],
        "token_expires_at": iso(record.expires_at) if record else None,
        "login_expires_at": iso(ends),
        "last_used": iso(record.last_used) if record else None,
        "last_refresh": iso(record.last_refresh) if record else None,
        "error": record and record.error,
        "key_id": record and record.key_id,
        "destinations": [each.id for each in destinations],
        "cure": f"conveyor connect {destinations[0].id}" if needs else None,
    }


def _lasts(
    installation: Installation, record: ConnectionRecord | None, destinations: list[Destination]
) -> float | None:
    """Seconds that the login lives unused."""
    name = record.provider if record else destinations[0].spec.oauth
    try:
        return installation.config.registry.provider(name or "").login_lasts
    except ConveyorError:
        return None


def disconnect(
    context: typer.Context,
    connection: Annotated[str, typer.Argument(metavar="DESTINATION|CONNECTION")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Forget it even if the provider cannot be told.")
    ] = False,
    json: filters.Json = False,
) -> None:
    """Sign out."""
    from conveyor.oauth.connections import linked

    with session.of(context).installation() as installation:
        destination = installation.source.get(connection)
        name = (destination.connection if destination is not None else None) or connection
        record = installation.ledger.connections.get(name)
        users = linked(installation.source.list(), name)
        if record is None:
            raise UsageError(f"{connection} is not connected", cure="conveyor connections lists what is")
        _ask(record, users, yes=yes)
        revoked = _sign_out(installation, record, users, force=force)
    document = {"connection": name, "revoked": revoked, "destinations": [each.id for each in users]}
    if json:
        session.print_json(document)
        return
    typer.echo(f"disconnected: {name}" + ("" if revoked else "; the provider was not told"))


def _ask(record: ConnectionRecord, users: list[Destination], *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("this ends a login, and there is no terminal to ask on", cure="add --yes")
    who = record.account_name or record.account_id or record.id
    names = ", ".join(each.id for each in users) or "no destination"
    if not typer.confirm(f"End the login of {who}, used by {names}?"):
        raise ConveyorError("nothing was changed")


def _sign_out(
    installation: Installation, record: ConnectionRecord, users: list[Destination], *, force: bool
) -> bool:
    from conveyor.cli import logins
    from conveyor.oauth.enrolment import sign_out
    from conveyor.oauth.http import NoAnswer
    from conveyor.oauth.refusals import Refused

    try:
        usable = [each for each in users if each.problem is None]
        application = logins.application(installation, usable[0]) if usable else None
        return sign_out(installation.ledger, record, application)
    except (Refused, NoAnswer) as error:
        message = error.message
    except ConveyorError as error:
        message = error.message
    if not force:
        raise ConveyorError(
            f"the login was not revoked: {message}", cure="--force forgets it here; revoke it at the provider"
        )
    installation.ledger.connections.remove(record.id)
    return False
