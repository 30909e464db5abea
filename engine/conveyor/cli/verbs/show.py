"""``conveyor show``: one delivery, or all of a job, from submission to now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from conveyor.cli import filters, session

if TYPE_CHECKING:
    from conveyor.installation import Installation
    from conveyor.ledger.records import AttemptRecord, CleanupRecord
    from conveyor.status.history import History
    from conveyor.status.views import JobStatus


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        "show",
        epilog=filters.examples("conveyor show dlv_1k0vd91ncm1000p376f68v", "conveyor show job_1k0vd91n"),
    )(show)


def show(
    context: typer.Context,
    ident: Annotated[
        str, typer.Argument(metavar="ID", help="A delivery or a job; a unique beginning is enough.")
    ],
    json: filters.Json = False,
) -> None:
    """Tell all about a delivery, or about each delivery of a job.

    Every attempt with its cause, what followed and when; the receipt; replays;
    what is left behind at the destination; and what to do now.
    """
    with session.of(context).installation() as installation:
        job, found = _find(installation, ident)
        now = installation.clock.now()
    if json:
        about = job.as_dict()
        del about["deliveries"]
        session.print_json({"job": about, "deliveries": [each.as_dict() for each in found]})
        return
    _print_job(job)
    for each in found:
        typer.echo("")
        _print(each, now)


def _find(installation: Installation, given: str) -> tuple[JobStatus, list[History]]:
    from conveyor.cli.choosing import full_id
    from conveyor.status.history import history

    ledger = installation.ledger
    ident = full_id(ledger, given)
    record = ledger.deliveries.get(ident)
    job_id = ident if record is None else record.job_id
    family = ledger.deliveries.of_job(job_id)
    job = ledger.deliveries.job(job_id)
    assert job is not None, "a delivery's job is in the ledger"
    viewer = installation.viewer()
    chosen = family if record is None else [record]
    return viewer.job(job, ()), [history(ledger, viewer, each, family) for each in chosen]


def _print_job(job: JobStatus) -> None:
    from conveyor.cli import words

    facts = {
        "job": job.id,
        "file": f"{job.filename}, {words.size(job.size)}, {job.media_type}",
        "submitted": words.moment(job.created_at),
        "sha256": job.digests.get("sha256"),
        "session": job.session_id,
        "image": ", ".join(str(part) for part in (job.image_id, job.image_index) if part is not None),
        "source": job.source,
        "tags": ", ".join(job.tags),
        "meta": words.pairs(job.meta),
        "key": job.key,
        "trace": job.trace_id,
        "forgotten": words.moment(job.forgotten_at) if job.forgotten_at else None,
    }
    _facts(facts)


def _facts(facts: dict[str, str | None]) -> None:
    for name, value in facts.items():
        if value:
            typer.echo(f"{name:<12}{value}")


def _print(found: History, now: int) -> None:
    from conveyor.cli import words
    from conveyor.cli.verbs.deliveries import standing

    view = found.delivery
    expires = (
        f"{words.moment(view.expires_at)} ({words.when(view.expires_at, now)})" if view.expires_at else None
    )
    next_attempt = view.next_attempt_at
    _facts(
        {
            "delivery": view.id,
            "to": f"{view.destination} ({view.destination_type})",
            "status": standing(view),
            "path": f"{view.path} (conflict: {view.conflict})" if view.path else None,
            "next try": f"{words.due(next_attempt, now)}, {words.moment(next_attempt)}"
            if next_attempt
            else None,
            "priority": str(view.priority) if view.priority else None,
            "expires": expires,
            "replay of": view.replay_of,
            "replayed as": ", ".join(found.replays),
            "replayable": f"until {words.moment(view.replayable_until)}" if view.replayable_until else None,
        }
    )
    for attempt in found.attempts:
        _print_attempt(attempt, now)
    if view.attempts > len(found.attempts):
        typer.echo(f"  {view.attempts - len(found.attempts)} older attempts were removed by retention")
    if view.receipt:
        typer.echo("receipt")
        _facts(
            {
                f"  {name}": str(value)
                for name, value in view.receipt.items()
                if value not in (None, False, {})
            }
        )
    for cleanup in found.cleanups:
        typer.echo(_left(cleanup, now))
    if found.cure:
        typer.echo(f"→ {found.cure}")


def _print_attempt(attempt: AttemptRecord, now: int) -> None:
    from conveyor.cli import words
    from conveyor.clock import SECOND
    from conveyor.status.times import iso

    took = words.span(((attempt.finished_at or now) - attempt.started_at) / SECOND)
    cause = " ".join(part for part in (attempt.kind, attempt.code) if part)
    cycle = f" (cycle {attempt.cycle})" if attempt.cycle > 1 else ""
    typer.echo(
        f"{attempt.attempt:>3}  {words.moment(iso(attempt.started_at))}  {attempt.outcome}"
        f"{' ' + cause if cause else ''} after {took}{cycle}"
    )
    timings = ", ".join(f"{name} {words.span(seconds)}" for name, seconds in attempt.timings.items())
    details = (
        attempt.message,
        f"answer: {attempt.response}" if attempt.response else None,
        f"hint: {attempt.hint}" if attempt.hint else None,
        ", ".join(
            part
            for part in (f"{words.size(attempt.bytes_sent)} sent" if attempt.bytes_sent else "", timings)
            if part
        ),
        f"reference: {attempt.reference}" if attempt.reference else None,
        follows(attempt, now),
    )
    for detail in details:
        if detail:
            typer.echo("     " + detail.replace("\n", "\n     "))


def follows(attempt: AttemptRecord, now: int) -> str | None:
    """What the end of an attempt led to, and when."""
    from conveyor.cli import words
    from conveyor.clock import SECOND
    from conveyor.status.times import iso

    due = attempt.next_attempt_at
    charge = "charged" if attempt.charged else "not charged"
    at = ""
    if due is not None and attempt.finished_at is not None:
        later = words.span((due - attempt.finished_at) / SECOND)
        at = f" {later} later, {words.moment(iso(due))}"
        at += f" ({words.when(iso(due), now)})" if due > now else ""
    sentences = {
        "retry": f"next try{at or ' at once'} ({charge})",
        "throttle": f"the destination asked for a pause; next try{at} ({charge})",
        "hold": "the whole destination is held until it is put right (not charged)",
        "final": f"final ({charge})",
    }
    return sentences.get(attempt.follows or "")


def _left(cleanup: CleanupRecord, now: int) -> str:
    from conveyor.cli import words
    from conveyor.status.times import iso

    if cleanup.done_at is not None:
        end = f": {cleanup.message}" if cleanup.message else ""
        gone = words.when(iso(cleanup.done_at), now)
        return f"what it had begun at {cleanup.destination} was removed {gone}{end}"
    why = f" (last: {cleanup.message})" if cleanup.message else ""
    return (
        f"what it had begun at {cleanup.destination} is still to be removed: {cleanup.attempts} tries, "
        f"next {words.when(iso(cleanup.next_at), now)}{why}"
    )
