"""``conveyor migrate-ledger``: from the file to a server."""

from __future__ import annotations

from typing import Annotated

import typer

from conveyor.cli import filters, session
from conveyor.errors import UsageError

_EXAMPLES = filters.examples(
    "CONVEYOR_LEDGER_TO=postgresql+psycopg://conveyor:secret@db/conveyor conveyor migrate-ledger",
    "conveyor migrate-ledger --to postgresql+psycopg://conveyor@db/conveyor",
)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("migrate-ledger", epilog=_EXAMPLES)(migrate_ledger)


def migrate_ledger(
    context: typer.Context,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="URL",
            envvar="CONVEYOR_LEDGER_TO",
            help="An empty PostgreSQL database: postgresql+psycopg://user:password@host/database.",
            show_default=False,
            show_envvar=True,
        ),
    ],
    json: filters.Json = False,
) -> None:
    """Move a SQLite ledger, with all its history, to PostgreSQL.

    Stop all engines first. Everything is copied in one transaction, counted and compared, or nothing is. The
    file stays as it is, marked as moved, so that nobody goes on with it by mistake. Payloads and key stay
    what they are: saved logins and states remain readable. Afterwards set `ledger:` to the new URL.
    """
    from conveyor.cli.progress import bar
    from conveyor.config import load
    from conveyor.config.settings import POSTGRESQL, SQLITE
    from conveyor.delivery.identity import may_live
    from conveyor.installation import config_path
    from conveyor.ledger.moving import move, total

    opened = session.of(context)
    opened.logging()
    source = load(config_path(opened.config)).settings.ledger
    if not source.startswith(SQLITE):
        raise UsageError("the config's ledger is not on SQLite", cure="`ledger:` names what is to be moved")
    if not to.startswith(POSTGRESQL):
        raise UsageError(
            "a ledger can be moved to PostgreSQL alone", cure="--to postgresql+psycopg://user@host/database"
        )
    count = total(source)
    with bar("copying", count, wanted=count > 10_000) as progress:
        moved = move(source, to, alive=may_live, progress=progress)
    if json:
        session.print_json({"rows": moved.rows, "deliveries": moved.statuses})
        return
    deliveries = ", ".join(f"{number} {status}" for status, number in moved.statuses.items()) or "none"
    typer.echo(f"moved {sum(moved.rows.values())} rows; deliveries: {deliveries}")
    typer.echo("now set `ledger:` to the new URL, on every machine")
