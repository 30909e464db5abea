"""``conveyor forget``: erase what strangers sent, when they ask for it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from conveyor.cli import filters, session
from conveyor.errors import ConveyorError, Exit, UsageError

_EXAMPLES = filters.examples(
    "conveyor forget --session 5f1c --dry-run", "conveyor forget --tag customer:4711 --yes"
)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("forget", epilog=_EXAMPLES)(forget)


def forget(
    context: typer.Context,
    job: Annotated[
        list[str] | None,
        typer.Option("--job", metavar="ID", help="This job. Repeatable."),
    ] = None,
    session_id: filters.Sessions = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="TAG", help="Every job with this tag. Repeatable.", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: filters.DryRun = False,
    json: filters.Json = False,
) -> None:
    """Erase jobs: payload, file name, metadata, paths, receipts and excerpts of answers.

    What is still to be delivered is cancelled. A tombstone stays: that there was a job of this size, when,
    to which destinations, and when it was forgotten. Files at the destinations stay, as does a file that was
    submitted in place. It cannot be undone, only be done again from a backup.

    A run that dies is finished by the next engine.
    """
    if not (job or session_id or tag):
        raise UsageError("nothing says what to forget", cure="--job, --session or --tag")
    with session.of(context).installation() as installation:
        found = installation.ledger.forgetting.find(job or (), session_id or (), tag or ())
        if found and not dry_run:
            _ask(len(found), yes=yes)
            left = installation.forget(found)
        else:
            left = 0
    if json:
        session.print_json({"jobs": found, "forgotten": bool(found) and not dry_run, "payloads_left": left})
    else:
        verb = "would be forgotten" if dry_run else "forgotten"
        typer.echo(f"{len(found)} jobs {verb}" if found else "no such job: unknown, or forgotten already")
        if left:
            typer.echo(f"the bytes of {left} are still to be removed; an engine does it once it can")
    raise typer.Exit(Exit.FAILED if left else Exit.OK)


def _ask(count: int, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("this cannot be undone, and there is no terminal to ask on", cure="add --yes")
    if not typer.confirm(f"Erase {count} jobs for ever?"):
        raise ConveyorError("nothing was changed")
