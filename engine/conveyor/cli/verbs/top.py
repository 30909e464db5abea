"""``conveyor top``: the metrics' figures, live in the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conveyor.cli import filters, reading, session

if TYPE_CHECKING:
    from rich.console import RenderableType

    from conveyor.status.figures import Gauge, Reading

MOST = 40
"""Destinations shown, those with the oldest work first."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("top", epilog=filters.examples("conveyor top", "conveyor top --once --json"))(top)


def top(
    context: typer.Context,
    every: Annotated[
        float, typer.Option(parser=reading.seconds, metavar="TIME", help="Between two looks.")
    ] = "2s",  # type: ignore[assignment]  # typer parses defaults too
    once: Annotated[bool, typer.Option("--once", help="Look once, print, and end.")] = False,
    json: filters.Json = False,
) -> None:
    """Watch due and running deliveries, ages, lateness, attempts, holds and stuck rows; Ctrl-C ends it.

    The figures are those of /metrics, from the ledger; attempts are counted from the start of this verb.
    Without a terminal it looks once.
    """
    from conveyor.status.figures import Gauge

    with session.of(context).installation() as installation:
        gauge = Gauge(installation, fresh=0.0, reload=True)
        if json:
            session.print_json(document(gauge.read()))
        elif once or not sys.stdout.isatty():
            session.console().print(picture(gauge.read()))
        else:
            _watch(gauge, max(0.2, every))


def _watch(gauge: Gauge, every: float) -> None:
    from rich.live import Live
    from rich.text import Text

    from conveyor.errors import LedgerError

    with Live(console=session.console(), screen=True, auto_refresh=False) as live:
        try:
            while True:
                try:
                    shown: RenderableType = picture(gauge.read())
                except LedgerError as error:
                    shown = Text(f"the ledger does not answer: {error.message}", style="bold red")
                live.update(shown, refresh=True)
                time.sleep(every)
        except KeyboardInterrupt:
            return


def document(figures: Reading) -> dict[str, Any]:
    """The figures for programs."""
    return {
        "destinations": {name: asdict(place) for name, place in figures.places.items()},
        "lateness": {str(quantile): seconds for quantile, seconds in figures.lateness.items()},
        "attempts": [{**which._asdict(), "count": count} for which, count in sorted(figures.ended.items())],
        "sent_bytes": dict(figures.sent),
        "logins": {name: asdict(login) for name, login in figures.logins.items()},
        "stuck": dict(figures.stuck),
        "workers": figures.workers,
        "threads": figures.threads,
    }


def picture(figures: Reading) -> RenderableType:
    """The figures for people."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from conveyor.cli import words

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Destination", "Due", "Running", "Oldest due", "Delivered", "Failed", "Sent", "Held"):
        table.add_column(name, justify="left" if name in ("Destination", "Held") else "right")
    places = sorted(figures.places.items(), key=lambda item: (-item[1].oldest_due, -item[1].running, item[0]))
    for name, place in places[:MOST]:
        ended = {each.outcome: 0 for each in figures.ended}
        for each, count in figures.ended.items():
            if each.destination == name:
                ended[each.outcome] += count
        table.add_row(
            Text(name),
            str(place.due),
            str(place.running),
            words.span(place.oldest_due) if place.due else "-",
            str(ended.get("delivered", 0)),
            str(ended.get("failed", 0)),
            words.size(figures.sent.get(name, 0)),
            Text(place.reason or "", style="yellow"),
        )
    more = len(places) - MOST
    below = [Text(f"and {more} more destinations", style="dim")] if more > 0 else []
    return Group(Text(_headline(figures)), table, *below, *_warnings(figures))


def _headline(figures: Reading) -> str:
    from conveyor.cli import words

    due = sum(place.due for place in figures.places.values())
    running = sum(place.running for place in figures.places.values())
    line = f"{due} due, {running} running on {figures.workers} processes with {figures.threads} threads"
    names: Mapping[float, str] = {0.5: "half", 0.99: "99 %"}
    late = [f"{names[q]} {words.span(s)}" for q, s in figures.lateness.items() if q in names]
    return f"{line}; late by: {', '.join(late)}" if late else line


def _warnings(figures: Reading) -> list[Any]:
    from rich.text import Text

    told = [f"{count} stuck: {kind}" for kind, count in figures.stuck.items() if count]
    told += [f"login {name}: {login.state}" for name, login in figures.logins.items() if login.state != "ok"]
    return [Text(f"{line} (conveyor doctor)", style="bold red") for line in told]
