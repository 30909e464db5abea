"""``conveyor keys rotate``: what is secret in the ledger goes under the newest key."""

from __future__ import annotations

from typing import Annotated

import typer

from conveyor.cli import filters, session

HELP = """Put everything secret in the ledger under the newest key, while the workers go on.

Encrypted payloads have keys of their own, which lie in the ledger: these are put under the newest key, their
files are left as they are.

With --new-key a key is made first and put in front of the others in the key file; workers that use this very
file notice by themselves. Where machines have files of their own, or the key comes from the environment, put
the new key behind the old ones on every machine, restart the workers, then put it in front and run this verb.
Run it once more before the older keys are removed: a process may have stored something under one meanwhile.
With a wrong key nothing is touched.
"""

_EXAMPLES = filters.examples("conveyor keys rotate", "conveyor keys rotate --new-key")


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    keys = typer.Typer(
        help="The keys that encrypt secrets and payloads.", no_args_is_help=True, epilog=_EXAMPLES
    )
    keys.command("rotate", help=HELP, epilog=_EXAMPLES)(rotate)
    app.add_typer(keys, name="keys")


def rotate(
    context: typer.Context,
    new_key: Annotated[bool, typer.Option("--new-key", help="Make a new key in the key file first.")] = False,
    json: filters.Json = False,
) -> None:
    """Put everything under the newest key."""
    with session.of(context).installation() as installation:
        sealed, keyring = installation.ledger.sealed, installation.keyring
        if new_key:
            sealed.verify()  # before anything is touched
            keyring.add_key()
        changed = sealed.rotate()
        key_id = keyring.key_id
    if json:
        session.print_json({"key_id": key_id, "changed": changed})
        return
    total = sum(changed.values())
    kinds = ", ".join(f"{count} {kind}" for kind, count in changed.items() if count)
    typer.echo(f"everything secret lies under key {key_id}: {total} values changed")
    if total:
        typer.echo(f"changed: {kinds}")
        typer.echo("once this finds nothing more to change, only backups from before need the older keys")
