"""``conveyor replay`` and ``conveyor cancel``: orders for one delivery or for many."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conveyor.cli import filters, reading, session
from conveyor.errors import Exit, UsageError

if TYPE_CHECKING:
    from conveyor.installation import Installation
    from conveyor.ledger.bulk import Matching
    from conveyor.ledger.records import OrderResult
    from conveyor.status.selection import Selection

OPEN = ("pending", "delivering")

BULK = 500
"""More than so many are replayed in bulk."""

Preview = Annotated[
    bool, typer.Option("--preview", help="Change nothing: how many match, by destination and status.")
]
Rate = Annotated[
    float | None,
    typer.Option(
        parser=reading.rate,
        metavar="RATE",
        help="In bulk, and no more than so many: 10/s, 600/m.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command(
        "replay",
        epilog=filters.examples(
            "conveyor replay dlv_1k0vd91ncm1000p376f68v",
            "conveyor replay --status failed --destination partner --since 2d --dry-run",
            "conveyor replay --status held --label customer=acme --to archive",
        ),
    )(replay)
    app.command(
        "cancel",
        epilog=filters.examples(
            "conveyor cancel job_1k0vd91ncm1000p376f68v",
            "conveyor cancel --destination removed-one --dry-run",
        ),
    )(cancel)


def replay(
    context: typer.Context,
    ids: filters.Ids = None,
    status: filters.Statuses = None,
    destination: filters.Destinations = None,
    label: filters.Labels = None,
    since: filters.Since = None,
    until: filters.Until = None,
    error_kind: filters.Kinds = None,
    session_id: filters.Sessions = None,
    everything: filters.Everything = False,
    force: Annotated[
        bool, typer.Option("--force", help="Delivered ones too: they are delivered again.")
    ] = False,
    new_id: Annotated[
        bool, typer.Option("--new-id", help="Under a new delivery id, for receivers that drop known ids.")
    ] = False,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="OTHER", help="Deliver to this destination instead.", show_default=False
        ),
    ] = None,
    preview: Preview = False,
    rate: Rate = None,
    dry_run: filters.DryRun = False,
    json: filters.Json = False,
) -> None:
    """Deliver again: failed and cancelled deliveries with a fresh budget, waiting ones at once.

    Works while workers run; what is being delivered is left alone. More than
    500, or with --rate, are replayed in bulk, in the background: conveyor
    replays shows how far it has come. Exit code 1 when ids are given and
    nothing of them could be replayed.
    """
    from conveyor.cli.choosing import selection

    if rate is not None and ids:
        raise UsageError("--rate has a meaning only for a replay by filters")
    with session.of(context).installation() as installation:
        chosen = selection(
            installation, ids, status, destination, label, session_id, error_kind, since, until
        )
        if preview or not (ids or dry_run):
            matching = _matching(installation, chosen, everything)
            if preview:
                return _preview(matching, json=json)
            if rate is not None or sum(each.count for each in matching) > BULK:
                options = {"force": force, "new_id": new_id, "to": to, "rate": rate, "matching": matching}
                return _in_bulk(installation, chosen, everything, options, json=json)
        result = installation.replay(
            chosen, everything=everything, force=force, new_id=new_id, to=to, dry_run=dry_run
        )
        _report("replayed", result, dry_run=dry_run, json=json)
        if result.done and not dry_run and not json:
            _say_who_delivers(installation)
    raise typer.Exit(Exit.FAILED if ids and not result.done else Exit.OK)


def _matching(installation: Installation, chosen: Selection, everything: bool) -> list[Matching]:
    installation.refuse_all(chosen, everything)
    return installation.ledger.bulk.matching(installation.filter(chosen))


def _preview(matching: list[Matching], *, json: bool) -> None:
    if json:
        counts = [
            {"destination": each.destination, "status": str(each.status), "count": each.count}
            for each in matching
        ]
        session.print_json({"matched": sum(each.count for each in matching), "deliveries": counts})
        return
    rows = [(each.destination, str(each.status), f"{each.count:,}") for each in matching]
    session.print_table(("Destination", "Status", "Deliveries"), rows, empty="nothing matches")


def _in_bulk(
    installation: Installation,
    chosen: Selection,
    everything: bool,
    options: dict[str, Any],
    *,
    json: bool,
) -> None:
    from conveyor.api import Conveyor

    ident = installation.replay_in_bulk(chosen, everything=everything, **options)
    found = Conveyor(installation).bulk_replay_status(ident)
    if json:
        session.print_json(found.as_dict())
        return
    typer.echo(f"{found.id}: {found.matched:,} matched, replayed in bulk")
    typer.echo(f"  conveyor replays {found.id} shows how far it has come; --pause, --cancel")
    _say_who_delivers(installation)


def cancel(
    context: typer.Context,
    ids: filters.Ids = None,
    status: filters.Statuses = None,
    destination: filters.Destinations = None,
    label: filters.Labels = None,
    since: filters.Since = None,
    until: filters.Until = None,
    error_kind: filters.Kinds = None,
    session_id: filters.Sessions = None,
    everything: filters.Everything = False,
    dry_run: filters.DryRun = False,
    json: filters.Json = False,
) -> None:
    """Give up deliveries that wait or run; a running one is stopped and publishes nothing.

    Without ids and --status it means all that wait or run. What was cancelled
    can be replayed as long as its bytes are kept. Exit code 1 when ids are
    given and nothing of them could be cancelled.
    """
    from conveyor.cli.choosing import selection

    with session.of(context).installation() as installation:
        named = selection(installation, ids, status, destination, label, session_id, error_kind, since, until)
        if named.matches_all and not everything:
            cure = "name ids or filters, or say --all if you mean every delivery that waits or runs"
            raise UsageError("this would cancel everything", cure=cure)
        chosen = named if ids or status else _only_open(named)
        result = _would_cancel(installation, chosen) if dry_run else installation.cancel(chosen)
    _report("cancelled", result, dry_run=dry_run, json=json)
    raise typer.Exit(Exit.FAILED if ids and not result.done else Exit.OK)


def _only_open(named: Selection) -> Selection:
    from dataclasses import replace

    return replace(named, status=OPEN)


def _would_cancel(installation: Installation, chosen: Selection) -> OrderResult:
    from conveyor.api import Conveyor
    from conveyor.ledger.records import OrderResult

    found = list(Conveyor(installation).iterate(chosen))
    final = {view.id: f"already {view.status}" for view in found if view.finished_at is not None}
    return OrderResult(len(found), tuple(view.id for view in found if view.id not in final), final)


def _report(done: str, result: OrderResult, *, dry_run: bool, json: bool) -> None:
    if json:
        session.print_json(
            {
                "dry_run": dry_run,
                "matched": result.matched,
                done: list(result.done),
                "skipped": dict(result.skipped),
            }
        )
        return
    would = "would be " if dry_run else ""
    typer.echo(
        f"{result.matched:,} matched, {len(result.done):,} {would}{done}, {len(result.skipped):,} skipped"
    )
    for reason, count in Counter(result.skipped.values()).most_common():
        named = [ident for ident, why in result.skipped.items() if why == reason][:3]
        more = " …" if count > len(named) else ""
        typer.echo(f"  {count:,} skipped: {reason} ({', '.join(named)}{more})")


def _say_who_delivers(installation: Installation) -> None:
    from conveyor.cli.visitor import live_workers

    if not live_workers(installation):
        typer.echo("no worker is running: conveyor run delivers them", err=True)
