"""``conveyor deliveries``: the list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from conveyor.cli import filters, session

if TYPE_CHECKING:
    from conveyor.status.views import DeliveryStatus

COLUMNS = ("Delivery", "Destination", "Status", "Tries", "When")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        "deliveries",
        epilog=filters.examples(
            "conveyor deliveries --status failed --since 1d",
            "conveyor deliveries --status held --label customer=acme --json",
        ),
    )(deliveries)


def deliveries(
    context: typer.Context,
    ids: filters.Ids = None,
    status: filters.Statuses = None,
    destination: filters.Destinations = None,
    label: filters.Labels = None,
    since: filters.Since = None,
    until: filters.Until = None,
    error_kind: filters.Kinds = None,
    session_id: filters.Sessions = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many, the newest first; 0 for all.")] = 100,
    json: filters.Json = False,
) -> None:
    """List deliveries, newest first; filters of different kinds must all fit, repeated ones are alternatives.

    A delivery is one submitted file on its way to one destination. `conveyor
    show ID` tells all about one.
    """
    from conveyor.api import Conveyor
    from conveyor.cli.choosing import selection

    with session.of(context).installation() as installation:
        chosen = selection(
            installation, ids, status, destination, label, session_id, error_kind, since, until
        )
        most = limit or None
        # One more than is shown tells whether there are more.
        found = list(Conveyor(installation).iterate(chosen, None if most is None else most + 1))
        shown = found if most is None else found[:most]
        now = installation.clock.now()
    if json:
        session.print_json([view.as_dict() for view in shown])
        return
    rows = [row(view, now) for view in shown]
    session.print_listing(COLUMNS, rows, empty="no delivery fits")
    if len(found) > len(shown):
        typer.echo(f"there are more than these {limit}: --limit N, or 0 for all", err=True)


def row(view: DeliveryStatus, now: int) -> tuple[tuple[str, ...], str]:
    """One delivery in the columns of the list, and what is said below."""
    about = view.filename
    if view.last_error and view.status != "delivered":
        about += f": {view.last_error}"
    return (view.id, view.destination, standing(view), str(view.attempts), _when(view, now)), about


def standing(view: DeliveryStatus) -> str:
    """The status with its reason: ``failed``, ``held: paused``, ``retrying 2/6``."""
    if view.state_reason == "retrying" and view.budget is not None:
        return f"retrying {view.failures}/{view.budget}"
    if view.status == "held":
        return f"held: {view.state_reason}"
    return view.state_reason or view.status


def _when(view: DeliveryStatus, now: int) -> str:
    from conveyor.cli import words

    if view.finished_at is not None:
        return words.when(view.finished_at, now)
    if view.next_attempt_at is not None:
        return words.due(view.next_attempt_at, now)
    return f"for {words.since(view.created_at, now)}"
