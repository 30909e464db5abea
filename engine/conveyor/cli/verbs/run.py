"""``conveyor run``: everything in one."""

from __future__ import annotations

from typing import Annotated

import typer

from conveyor.cli import filters, serving, session


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        "run",
        help="Deliver: dispatcher, workers and housekeeping, until Ctrl-C.",
        epilog=filters.examples(
            "conveyor run", "conveyor run --until-idle", "conveyor run --processes 4 --metrics 9464"
        ),
    )(run)


def run(
    context: typer.Context,
    until_idle: Annotated[
        bool,
        typer.Option(
            "--until-idle", help="End once nothing runs or is due; exit 1 if something failed or is held."
        ),
    ] = False,
    idle_horizon: Annotated[
        float,
        typer.Option(
            "--idle-horizon",
            min=0,
            metavar="SECONDS",
            help="With --until-idle: wait for what is due this soon.",
        ),
    ] = 0.0,
    processes: serving.Processes = None,
    health: serving.Health = None,
    metrics: serving.Metrics = None,
    parent: serving.Parent = None,
    since: serving.Since = None,
) -> None:
    """Deliver what is due, until told to stop.

    Ctrl-C or SIGTERM finishes what runs (workers.grace), gives the rest back and ends with 0; a second one
    leaves at once and loses nothing. SIGHUP, or a change of the config file, reloads the config.
    """
    with session.of(context).installation() as installation:
        plan = serving.Plan(
            words=[*session.of(context).words(), "run"],
            processes=processes or installation.config.settings.workers.processes,
            until_idle=until_idle,
            horizon=idle_horizon,
            health=health,
            metrics=metrics,
            parent=parent,
            since=since,
        )
        code = serving.serve(installation, plan)
    raise typer.Exit(code)
