"""``conveyor demo``: see it work, with nothing configured."""

from __future__ import annotations

from typing import Annotated

import typer

from conveyor.cli import filters, session


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        "demo",
        help="Watch real files arrive on this machine: retries, a repair, a replay.",
        epilog=filters.examples("conveyor demo", "conveyor demo --all"),
    )(demo)


def demo(
    context: typer.Context,
    all_: Annotated[
        bool,
        typer.Option("--all", help="All nine destination types at once, from a checkout of the repository."),
    ] = False,
) -> None:
    """Play the demonstration: temporary servers, real deliveries, in about 20 seconds.

    Exits with 0 when every file arrived byte for byte.
    """
    from conveyor import log
    from conveyor.demo.play import demo as play

    given = session.of(context)
    log.configure(json=given.log_json, level="error" if given.log_level == "info" else given.log_level)
    if all_:
        from conveyor.demo.everywhere import demo_all

        raise typer.Exit(demo_all(session.console()))
    raise typer.Exit(play(session.console()))
