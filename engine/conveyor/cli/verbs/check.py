"""``conveyor test``: log in and try out; with ``--send-sample`` send a marked file through the real path."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conveyor.cli import filters, reading, session
from conveyor.errors import Exit

if TYPE_CHECKING:
    from conveyor.cli.checks import Outcome
    from conveyor.config import Destination
    from conveyor.installation import Installation
    from conveyor.status.views import DeliveryStatus

TAG = "conveyor:test"
"""What a sample is marked with."""

HELP = """Try destinations out: log in; write, verify and delete a small file where that is permitted.

Nothing is posted to a webhook, and nothing stays anywhere, unless --send-sample asks for it: that sends a
marked text file through the real path and prints the receipt. Exit 1 when a destination fails.
"""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        "test",
        help=HELP,
        epilog=filters.examples("conveyor test partner", "conveyor test --label customer=acme --send-sample"),
    )(try_out)


def try_out(
    context: typer.Context,
    destination: Annotated[
        list[str] | None, typer.Argument(metavar="DESTINATION...", show_default=False)
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", "-l", metavar="KEY=VALUE", help="All with this label; may be repeated."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All destinations.")] = False,
    send_sample: Annotated[
        bool, typer.Option("--send-sample", help="Send a marked sample file; the only thing that stays.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(parser=reading.seconds, metavar="TIME", help="For each destination.")
    ] = "60s",  # type: ignore[assignment]  # typer parses defaults too
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list.")] = False,
) -> None:
    """Try destinations out."""
    from conveyor.cli.checks import Checks
    from conveyor.cli.choosing import destinations

    with session.of(context).installation() as installation:
        names = destinations(installation, destination, label, everything)
        chosen = [installation.known(name) for name in names]
        told = (lambda outcome: None) if as_json else _print
        outcomes = Checks(installation, timeout).run(chosen, told)
        samples: dict[str, DeliveryStatus] = {}
        if send_sample:
            fit = [each for each, outcome in zip(chosen, outcomes, strict=True) if outcome.ok]
            samples = _send_samples(installation, fit, timeout, quiet=as_json)
        else:
            _mention_holds(installation, chosen, outcomes)
    if as_json:
        session.print_json([_document(outcome, samples, send_sample) for outcome in outcomes])
    arrived = {name for name, status in samples.items() if status.status == "delivered"}
    passed = all(each.ok and (not send_sample or each.destination in arrived) for each in outcomes)
    raise typer.Exit(Exit.OK if passed else Exit.FAILED)


def _print(outcome: Outcome) -> None:
    phases = "".join(f", {name} {value:.2f} s" for name, value in outcome.phases.items())
    word = "ok" if outcome.ok else "FAILED"
    typer.echo(f"{outcome.destination} ({outcome.type}): {word} in {outcome.seconds:.2f} s{phases}")
    for step in outcome.steps:
        detail = f": {step.detail}" if step.detail else ""
        typer.echo(f"  {'done     ' if step.done else 'not done '} {step.name}{detail}")
    if outcome.error is not None:
        kind = f"{outcome.kind}: " if outcome.kind else ""
        typer.echo(f"  {kind}{outcome.error}")
    if outcome.cure is not None:
        typer.echo(f"  → {outcome.cure}")


def _mention_holds(
    installation: Installation, chosen: Sequence[Destination], outcomes: Sequence[Outcome]
) -> None:
    """A destination that is well again may still be held by what went wrong before."""
    from conveyor.status.reasons import cure_of

    standing = installation.standing()
    for destination, outcome in zip(chosen, outcomes, strict=True):
        reason = standing.hold(destination.id) if outcome.ok else None
        cure = cure_of(reason, destination.id, destination)
        if cure is not None:
            typer.echo(f"note: {destination.id} is held ({reason}): {cure}", err=True)


# --- samples -------------------------------------------------------------------------------------


def _send_samples(
    installation: Installation, chosen: Sequence[Destination], timeout: float, *, quiet: bool
) -> dict[str, DeliveryStatus]:
    """A job of its own to each destination, waited for. By destination."""
    from conveyor import log
    from conveyor.cli.visitor import FINAL, Visitor, hint_of
    from conveyor.delivery.runner import Signals

    signals = Signals(log.get())
    signals.install()
    sent = _submit(installation, chosen, signals.stop)

    def told(status: DeliveryStatus) -> None:
        if not quiet:
            _print_sample(status, hint_of(installation, status))

    with Visitor(installation, sent.values(), signals.stop, say=_tell) as visitor:
        statuses = visitor.wait(sent, timeout, told)
    for status in statuses:
        if status.status not in FINAL:
            told(status)
    _cancel_rest(installation, [status.id for status in statuses if status.status not in FINAL])
    return {status.destination: status for status in statuses}


def _submit(
    installation: Installation, chosen: Sequence[Destination], stop: threading.Event
) -> Mapping[str, str]:
    """Submit the samples; returns destinations by delivery id."""
    submitter = installation.submitter()
    now = datetime.now(UTC)
    filename = f"conveyor-test-{now:%Y%m%dT%H%M%SZ}.txt"
    sent: dict[str, str] = {}
    for destination in chosen:
        if stop.is_set():
            break
        text = (
            f"A test of Conveyor's destination {destination.id!r}, sent at {now:%Y-%m-%d %H:%M:%S} UTC.\n"
            "It may be deleted.\n"
        )
        job = submitter.submit(text.encode(), to=destination.id, filename=filename, tags=[TAG])
        sent[job.deliveries[destination.id]] = destination.id
    return sent


def _cancel_rest(installation: Installation, ids: Sequence[str]) -> None:
    """A sample that did not arrive in time must not arrive in the night."""
    from conveyor.status.selection import Selection

    if ids:
        installation.cancel(Selection(ids=ids))
        _tell(f"{len(ids)} {'sample' if len(ids) == 1 else 'samples'} did not arrive: cancelled")


def _print_sample(status: DeliveryStatus, hint: str | None) -> None:
    from conveyor.cli.visitor import sentence
    from conveyor.cli.words import pairs

    typer.echo(f"sample {sentence(status, hint)}")
    for name, value in (status.receipt or {}).items():
        if value not in (None, False, {}):
            typer.echo(f"  {name:<10} {pairs(value) or value}")


def _document(outcome: Outcome, samples: Mapping[str, DeliveryStatus], asked: bool) -> dict[str, Any]:
    document = outcome.as_dict()
    if asked:
        sample = samples.get(outcome.destination)
        document["sample"] = None if sample is None else sample.as_dict()
    return document


def _tell(text: str) -> None:
    typer.echo(text, err=True)
