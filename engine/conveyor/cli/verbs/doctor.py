"""``conveyor doctor``: is the whole installation well?"""

from __future__ import annotations

import typer

from conveyor.cli import filters, session
from conveyor.errors import Exit

HELP = """Look over the installation: versions, config, tables, broker, clock, payloads, disks, logins, rows.

Each trouble comes with its cure. Nothing is changed, but for a payload of a few bytes that is stored, read
and removed. Run it on every machine. Exit 1 when something is a warning or an error.
"""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("doctor", help=HELP, epilog=filters.examples("conveyor doctor", "conveyor doctor --json"))(
        doctor
    )


def doctor(context: typer.Context, json: filters.Json = False) -> None:
    """Look over the installation."""
    from conveyor.status.doctor import Level, examine

    opened = session.of(context)
    opened.logging()
    found = []
    for finding in examine(opened.config):
        found.append(finding)
        if not json:
            typer.echo(f"{finding.level:<8} {finding.check}: {finding.message}")
            if finding.cure is not None:
                typer.echo(f"         → {finding.cure}")
    well = all(finding.level is Level.OK for finding in found)
    if json:
        session.print_json({"ok": well, "findings": [finding.as_dict() for finding in found]})
    raise typer.Exit(Exit.OK if well else Exit.FAILED)
