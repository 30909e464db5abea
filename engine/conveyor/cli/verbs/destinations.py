"""``conveyor destinations``, ``pause`` and ``resume``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conveyor.cli import filters, session

if TYPE_CHECKING:
    from conveyor.config import Destination
    from conveyor.installation import Installation
    from conveyor.status.reasons import Standing

_LOGIN = re.compile(r"//[^/@]*@")
"""What stands before the host of a URL; what stands after its ``?`` is hidden too."""

SHOWN = 60
"""Characters shown of one option."""

Names = Annotated[
    list[str] | None, typer.Argument(metavar="DESTINATION", help="Their ids.", show_default=False)
]
AllOfThem = Annotated[bool, typer.Option("--all", help="Every configured destination.")]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command(
        "destinations",
        epilog=filters.examples(
            "conveyor destinations", "conveyor destinations --label customer=acme --json"
        ),
    )(destinations)
    app.command(
        "pause",
        epilog=filters.examples(
            'conveyor pause partner --note "moving to a new server"', "conveyor pause --label customer=acme"
        ),
    )(pause)
    app.command(
        "resume", epilog=filters.examples("conveyor resume partner", "conveyor resume --label customer=acme")
    )(resume)


def destinations(context: typer.Context, label: filters.Labels = None, json: filters.Json = False) -> None:
    """List the configured destinations: type, state, labels, and where they are; never a secret."""
    from conveyor.cli import choosing, words

    with session.of(context).installation() as installation:
        only = choosing.destinations(installation, (), label, False) if label else None
        standing = installation.standing()
        found = [
            _view(each, standing) for each in installation.source.list() if only is None or each.id in only
        ]
    if json:
        session.print_json(found)
        return
    rows = [
        (
            (each["id"], each["type"], each["reason"] or each["state"], words.pairs(each["labels"])),
            each["problem"] or words.pairs(each["place"]),
        )
        for each in found
    ]
    empty = "no destination is configured: conveyor init writes an example"
    session.print_listing(("Destination", "Type", "State", "Labels"), rows, empty=empty)


def _view(each: Destination, standing: Standing) -> dict[str, Any]:
    from conveyor.status.overview import state_of
    from conveyor.status.reasons import cure_of

    reason = standing.hold(each.id)
    return {
        "id": each.id,
        "name": each.name,
        "type": each.type,
        "state": state_of(reason),
        "reason": reason,
        "problem": None if each.problem is None else str(each.problem),
        "cure": cure_of(reason, each.id, each),
        "labels": dict(each.labels),
        "place": dict(place(each.options)),
        "path_template": each.template.text,
        "conflict": each.conflict,
        "concurrency": each.limits.concurrency,
    }


def place(options: Any) -> Iterator[tuple[str, str]]:
    """The options that say where a destination is: simple, set, and not secret."""
    from conveyor.config.describe import describe_options
    from conveyor.redact import Redactor

    if options is None:
        return
    hide = Redactor()
    for info in describe_options(type(options)):
        if info.secret or "key" in info.name or info.name not in options.model_fields_set:
            continue
        value = getattr(options, info.name)
        if isinstance(value, str | int) and not isinstance(value, bool):
            text = _LOGIN.sub("//", hide(str(value)).partition("?")[0])
            yield info.name, text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def pause(
    context: typer.Context,
    names: Names = None,
    label: filters.Labels = None,
    everything: AllOfThem = False,
    note: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why; `conveyor status` shows it.", show_default=False)
    ] = None,
    json: filters.Json = False,
) -> None:
    """Hold destinations until `conveyor resume`: submissions are accepted and wait, attempts that run end.

    A pause outlives restarts and reloads of the config. Held deliveries expire
    like any other.
    """
    from conveyor.cli.choosing import destinations as chosen_of

    with session.of(context).installation() as installation:
        chosen = chosen_of(installation, names, label, everything)
        installation.ledger.health.pause(chosen, note, installation.clock.now())
        _report(installation, chosen, json=json)


def resume(
    context: typer.Context,
    names: Names = None,
    label: filters.Labels = None,
    everything: AllOfThem = False,
    json: filters.Json = False,
) -> None:
    """Serve destinations again: ends a pause, and any block (needs_login, quota, throttled, deactivated …).

    What blocked a destination blocks it again when it still exists.
    """
    from conveyor.cli.choosing import destinations as chosen_of

    with session.of(context).installation() as installation:
        chosen = chosen_of(installation, names, label, everything)
        installation.ledger.health.resume(chosen, installation.clock.now())
        _report(installation, chosen, json=json)


def _report(installation: Installation, chosen: tuple[str, ...], *, json: bool) -> None:
    """How they stand now."""
    from conveyor.status.overview import state_of
    from conveyor.status.reasons import cure_of

    standing = installation.standing()
    found = [
        {"id": name, "state": state_of(standing.hold(name)), "reason": standing.hold(name)} for name in chosen
    ]
    if json:
        session.print_json(found)
        return
    for each in found:
        name = str(each["id"])
        typer.echo(f"{name}: {each['reason'] or each['state']}")
        reason = standing.hold(name)
        if reason is not None and reason.value != "paused":
            cure = cure_of(reason, name, installation.source.get(name))
            typer.echo(f"  → {cure or 'it passes by itself'}")
