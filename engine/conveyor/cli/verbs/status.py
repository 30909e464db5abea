"""``conveyor status``: all destinations at a glance, one job, one session; and what monitors ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from conveyor.cli import filters, reading, session
from conveyor.errors import Exit, UsageError

if TYPE_CHECKING:
    from conveyor.installation import Installation
    from conveyor.status.overview import DestinationStatus
    from conveyor.status.views import JobStatus

MAX_AGE = 2 * 3600.0
"""Seconds: the default schedule takes an hour and a quarter."""

FAILING = 20
"""So many failed attempts in a row are worth a line about what follows."""

COLUMNS = ("Destination", "State", "Waiting", "Oldest", "Running", "Last day", "Next")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        "status",
        epilog=filters.examples(
            "conveyor status",
            "conveyor status --check --max-age 30m --label customer=acme",
            "conveyor status --session 4711 --json",
        ),
    )(status)


def status(
    context: typer.Context,
    job: Annotated[
        str | None, typer.Argument(metavar="JOB", help="Only this job's deliveries.", show_default=False)
    ] = None,
    session_id: Annotated[
        str | None,
        typer.Option("--session", metavar="ID", help="Only this session's images.", show_default=False),
    ] = None,
    label: filters.Labels = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="For monitors: exit 1 when something failed in the last day, is held, or is too old. "
            "Of a job or session: 1 when something failed or is held, 75 when it is not complete.",
        ),
    ] = False,
    max_age: Annotated[
        float,
        typer.Option(
            parser=reading.seconds,
            metavar="TIME",
            help="With --check: waiting longer than this is too old (30m, 2h).",
        ),
    ] = MAX_AGE,
    json: filters.Json = False,
) -> None:
    """How every destination stands: state and cause, what waits, what runs, success of the last day.

    With JOB: where its deliveries stand. With --session: the images of a
    session, in the published shape.
    """
    if job is not None and session_id is not None:
        raise UsageError("status of a job or of a session, not of both")
    with session.of(context).installation() as installation:
        if job is not None:
            code = _job(installation, job, json=json)
        elif session_id is not None:
            code = _session(installation, session_id, json=json)
        else:
            code = _all(installation, label or (), check, max_age, json=json)
    raise typer.Exit(code if check else Exit.OK)


# --- one job, one session --------------------------------------------------------------------------------


def _job(installation: Installation, given: str, *, json: bool) -> Exit:
    from conveyor.api import Conveyor
    from conveyor.cli.choosing import full_id
    from conveyor.cli.verbs.deliveries import COLUMNS as LIST
    from conveyor.cli.verbs.deliveries import row

    ident = full_id(installation.ledger, given)
    record = installation.ledger.deliveries.get(ident)
    found = Conveyor(installation).job(ident if record is None else record.job_id)
    if json:
        session.print_json(found.as_dict())
        return _verdict([d.status for d in found.deliveries])
    now = installation.clock.now()
    _print_job(found)
    rows = [row(view, now) for view in found.deliveries]
    session.print_listing(LIST, rows, empty="it has no deliveries")
    for view in found.deliveries:
        if view.cure:
            typer.echo(f"{view.destination} is held, {view.state_reason}\n  → {view.cure}")
    return _verdict([view.status for view in found.deliveries])


def _print_job(job: JobStatus) -> None:
    from conveyor.cli import words

    about = f"{job.filename}, {words.size(job.size)}, submitted {words.moment(job.created_at)}"
    if job.session_id:
        about += f", session {job.session_id}"
    typer.echo(f"{job.id}  {about}")


def _session(installation: Installation, session_id: str, *, json: bool) -> Exit:
    from conveyor.status.session import session_status

    found = installation.ledger.deliveries.session(session_id)
    if not found:
        raise UsageError(
            f"there is no session {session_id!r}", cure="a session begins with `conveyor send --session ID`"
        )
    document = session_status(session_id, found, installation.source)
    standing = installation.standing()
    verdict = _verdict([standing.of(record)[0] for record in found])
    if json:
        session.print_json(document)
        return verdict
    now = installation.clock.now()
    typer.echo(f"session {session_id}: {document['status']}")
    rows = [
        _image_row(image, delivery, now) for image in document["images"] for delivery in image["deliveries"]
    ]
    columns = ("#", "File", "Destination", "Status", "Tries", "When")
    session.print_listing(columns, rows, empty="no images")
    return verdict


def _image_row(
    image: dict[str, Any], delivery: dict[str, Any], now: int
) -> tuple[tuple[object, ...], str | None]:
    from conveyor.cli import words

    arrived = delivery.get("delivered_at")
    when = words.when(arrived, now) if arrived else words.due(delivery.get("next_retry_at"), now)
    cells = (
        image["image_index"],
        image["filename"],
        delivery["destination_name"],
        delivery["status"],
        delivery["attempts"],
        when,
    )
    return cells, None if arrived else delivery["last_error"]


def _verdict(statuses: list[str]) -> Exit:
    if any(word in ("failed", "cancelled", "held") for word in statuses):
        return Exit.FAILED
    return Exit.OK if all(word == "delivered" for word in statuses) else Exit.WAITING


# --- all destinations ------------------------------------------------------------------------------------


def _all(installation: Installation, labels: Any, check: bool, max_age: float, *, json: bool) -> Exit:
    from conveyor.cli.verbs.plugins import failure_in_words, failure_view
    from conveyor.ledger.summary import DAY
    from conveyor.status.overview import complaints, overview, totals
    from conveyor.status.workers import present, worker_view

    ledger, now = installation.ledger, installation.clock.now()
    only = None
    if labels:
        from conveyor.cli.choosing import destinations

        only = destinations(installation, (), labels, False)
    shown = overview(installation.source, ledger.health.get(None), ledger.deliveries.summary(now), now, only)
    found = complaints(shown, max_age)
    workers = [worker_view(worker) for worker in present(ledger, installation.clock)]
    plugins = [failure_view(each) for each in ledger.plugin_failures.all() if each.last_at > now - DAY]
    if json:
        session.print_json(
            {
                **({"ok": not found, "problems": [each.as_dict() for each in found]} if check else {}),
                "destinations": [each.as_dict() for each in shown],
                "totals": totals(shown),
                "workers": workers,
                "plugin_failures": plugins,
            }
        )
    elif check:
        for each in found:
            cure = f"\n  → {each.cure}" if each.cure else ""
            typer.echo(f"{each.destination}: {each.message}{cure}")
        if not found:
            typer.echo("ok: nothing failed in the last day, nothing is held or too old")
    else:
        _print_overview(shown, totals(shown), workers, now)
        for failure in plugins:
            typer.echo(f"plugin {failure['plugin']}: {failure_in_words(failure)}\n  → conveyor plugins")
    return Exit.FAILED if found else Exit.OK


def _print_overview(
    shown: list[DestinationStatus], summed: dict[str, Any], workers: list[dict[str, Any]], now: int
) -> None:
    from conveyor.cli import words

    rows = [_row(each, now) for each in shown]
    empty = "no destination is configured: conveyor init writes an example"
    session.print_table(COLUMNS, rows, empty=empty, whole=COLUMNS[2:])
    for each in shown:
        for line in _trouble(each, now):
            typer.echo(line)
    typer.echo(
        f"{words.count(summed['pending'], 'delivery', 'deliveries')} waiting ({summed['held']:,} held), "
        f"{summed['delivering']:,} running; last day: {summed['delivered_last_day']:,} delivered, "
        f"{summed['failed_last_day']:,} failed"
    )
    for worker in workers:
        state = "leaving" if worker["draining"] else "at work"
        since = words.since(worker["started_at"], now)
        typer.echo(
            f"worker on {worker['host']}, process {worker['pid']}, "
            f"{words.count(worker['threads'], 'thread')}: {state} for {since}"
        )
    if not workers:
        typer.echo("no worker is running: conveyor run starts one")


def _row(each: DestinationStatus, now: int) -> tuple[object, ...]:
    from conveyor.cli import words

    ended = each.delivered_last_day + each.failed_last_day
    return (
        each.id,
        each.reason or each.state,
        f"{each.pending:,}",
        words.age(each.oldest_waiting_seconds),
        f"{each.delivering:,}",
        f"{words.share(each.success_rate)} of {ended:,}" if ended else "-",
        words.due(each.next_due_at, now),
    )


def _trouble(each: DestinationStatus, now: int) -> list[str]:
    """What is wrong with a destination and what ends it."""
    from conveyor.cli import words

    lines = []
    if each.reason is not None:
        probe = f" (tried again {words.when(each.probe_at, now)})" if each.probe_at else ""
        lines.append(f"{each.id}: {each.reason}{': ' + each.detail if each.detail else ''}{probe}")
        if each.cure:
            lines.append(f"  → {each.cure}")
    elif each.last_error and (each.last_failed_at or "") > (each.last_delivered_at or ""):
        lines.append(f"{each.id}: {words.when(each.last_failed_at, now)}: {each.last_error}")
    if each.held_by_hooks:
        held = words.count(each.held_by_hooks, "delivery", "deliveries")
        lines.append(f"{each.id}: plugins hold {held}")
        lines.append(f"  → conveyor deliveries --status held --destination {each.id}")
    countdown = each.deactivation
    if countdown is not None and (each.reason is not None or countdown.failed_attempts >= FAILING):
        more = f" and {countdown.attempts_left:,} more failures" if countdown.attempts_left else ""
        lines.append(
            f"{each.id}: nothing has arrived for {words.since(countdown.failing_since, now)}, "
            f"{words.count(countdown.failed_attempts, 'attempt')} failed: "
            f"deactivated {words.when(countdown.at, now)}{more} unless one succeeds"
        )
    return lines
