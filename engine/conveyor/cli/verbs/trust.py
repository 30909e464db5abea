"""``conveyor trust``: pinning the key that a server shows, once a person has compared it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from conveyor.cli import filters, session
from conveyor.errors import ConveyorError, Exit, UsageError

if TYPE_CHECKING:
    from conveyor.config import Destination
    from conveyor.contract import ServerKey
    from conveyor.installation import Installation

HELP = """Show the key of a destination's server, and trust it once you have compared its fingerprint.

For SFTP destinations without a host_key in the config. The key is kept in the ledger, for all workers; a hold
for want of trust ends at once. No credential is sent while asking.
"""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("trust", help=HELP, epilog=filters.examples("conveyor trust partner"))(trust)


def trust(
    context: typer.Context,
    destination: Annotated[str, typer.Argument(metavar="DESTINATION")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask: the key was compared.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Trust a server's key."""
    with session.of(context).installation() as installation:
        chosen = installation.known(destination)
        key, trusted = _trust(installation, chosen, yes=yes, quiet=as_json)
    if as_json:
        document = {
            "destination": destination,
            "host_key": key.line,
            "fingerprint": key.fingerprint,
            "was_trusted": key.trusted,
            "trusted": trusted,
        }
        session.print_json(document)
    raise typer.Exit(Exit.OK if trusted else Exit.FAILED)


def _trust(
    installation: Installation, destination: Destination, *, yes: bool, quiet: bool
) -> tuple[ServerKey, bool]:
    from conveyor.contract import DeliveryError, TrustsServer
    from conveyor.delivery.environment import Opener
    from conveyor.redact import Redactor, secrets_of

    if destination.problem is not None:
        raise ConveyorError(str(destination.problem), cure="conveyor validate shows all mistakes")
    redact = Redactor(secrets_of(destination.options))
    try:
        connector = Opener(installation.ledger, installation.config.registry, installation.clock)(destination)
        try:
            if not isinstance(connector, TrustsServer):
                raise UsageError(
                    f"{destination.id} is of type {destination.type}, where there is no key to trust",
                    cure=f"conveyor test {destination.id} tries it out",
                )
            key = connector.host_key()
            if not quiet:
                _show(destination, key)
            trusted = key.trusted is True or yes or (not quiet and _confirmed(destination))
            if trusted:
                connector.trust(key.line)
                installation.ledger.health.release(destination.id, installation.clock.now())
        finally:
            connector.close()
    except DeliveryError as error:
        hint = redact.message(error.hint) if error.hint else None
        raise ConveyorError(f"{destination.id}: {redact.message(error.message)}", cure=hint) from None
    if not quiet:
        _conclude(destination, key, trusted)
    return key, trusted


def _show(destination: Destination, key: ServerKey) -> None:
    if key.trusted is False:
        typer.echo(f"ANOTHER KEY than the one trusted so far is shown by the server of {destination.id}.")
        typer.echo("Somebody may be in between: ask the server's operator before you trust it.")
    typer.echo(f"key          {key.line}")
    typer.echo(f"fingerprint  {key.fingerprint}")


def _confirmed(destination: Destination) -> bool:
    if not sys.stdin.isatty():
        raise UsageError(
            "the fingerprint must be compared by a person, and there is no terminal to ask on",
            cure=f"compare it, then: conveyor trust {destination.id} --yes",
        )
    try:
        return typer.confirm("Is this the fingerprint that the server's operator told you?")
    except typer.Abort:
        return False


def _conclude(destination: Destination, key: ServerKey, trusted: bool) -> None:
    if not trusted:
        typer.echo("not trusted; nothing was changed")
    elif key.trusted:
        typer.echo(f"{destination.id} trusts this key already")
    else:
        typer.echo(
            f"{destination.id} trusts this key from now on; try it out: conveyor test {destination.id}"
        )
