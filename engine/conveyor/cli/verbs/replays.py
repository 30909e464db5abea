"""``conveyor replays``: replays in bulk, how far they have come, and pausing, continuing, cancelling them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from conveyor.cli import filters, session
from conveyor.errors import UsageError

if TYPE_CHECKING:
    from conveyor.status.bulk import BulkReplay

COLUMNS = ("Replay", "State", "Begun", "In line", "Delivered", "Failed", "Waiting", "Skipped")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        "replays",
        epilog=filters.examples(
            "conveyor replays",
            "conveyor replays rpl_1k0vd91ncm1000p376f68v --pause",
            "conveyor replays rpl_1k0vd91ncm1000p376f68v --json",
        ),
    )(replays)


def replays(
    context: typer.Context,
    ident: Annotated[
        str | None, typer.Argument(metavar="REPLAY", help="Only this one.", show_default=False)
    ] = None,
    pause: Annotated[bool, typer.Option("--pause", help="Put no more in line until --resume.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Put no more in line, for good.")] = False,
    json: filters.Json = False,
) -> None:
    """Replays in bulk: how far each has come; with REPLAY: at each destination.

    Pausing and cancelling leave alone what is in line already: a few hundred
    deliveries at each destination at most.
    """
    from conveyor.api import Conveyor

    orders = [word for word, asked in (("pause", pause), ("resume", resume), ("cancel", cancel)) if asked]
    if len(orders) > 1 or (orders and ident is None):
        raise UsageError("one order, for one replay", cure="conveyor replays lists them")
    with session.of(context).installation() as installation:
        conveyor = Conveyor(installation)
        if ident is None:
            found = conveyor.bulk_replays()
        else:
            found = [
                conveyor.steer_replay(ident, orders[0]) if orders else conveyor.bulk_replay_status(ident)
            ]
        now = installation.clock.now()
    if json:
        shown = [each.as_dict() for each in found]
        session.print_json(shown if ident is None else shown[0])
        return
    session.print_table(COLUMNS, [_row(each, now) for each in found], empty="nothing was replayed in bulk")
    if ident is not None:
        for part in found[0].destinations:
            typer.echo(
                f"{part['destination']}: {part['turned']:,} of {part['matched']:,} in line, "
                f"{part['delivered']:,} delivered, {part['failed']:,} failed, "
                f"{part['waiting']:,} waiting, {part['skipped']:,} skipped"
            )


def _row(each: BulkReplay, now: int) -> tuple[object, ...]:
    from conveyor.cli import words

    return (
        each.id,
        each.state,
        words.when(each.created_at, now),
        f"{each.turned:,} of {each.matched:,}",
        f"{each.delivered:,}",
        f"{each.failed:,}",
        f"{each.waiting:,}",
        f"{each.skipped:,}",
    )
