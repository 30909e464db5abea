"""``conveyor send``: submit files, and wait for them if asked."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conveyor.cli import filters, reading, session
from conveyor.errors import ConveyorError, Exit, UsageError

if TYPE_CHECKING:
    from conveyor.cli.sources import Found
    from conveyor.installation import Installation
    from conveyor.intake import Item
    from conveyor.ledger.records import Submitted
    from conveyor.status.views import DeliveryStatus

MANY = 20
"""Files from which on a bar is worth it."""
LARGE = 16 << 20
"""Bytes from which on a bar is worth it."""

INTERRUPTED = 130

HELP = """Submit files for delivery; prints a job id for each.

When it returns, files and jobs are stored and survive a power failure; `conveyor run` delivers them.

With --wait it ends once all is delivered (exit 0), something failed or is held (1), or --timeout is over
(75). Where no worker is running and the ledger is a file, it delivers them itself meanwhile.
"""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        "send",
        help=HELP,
        epilog=filters.examples(
            "conveyor send photo.jpg --to backend,archive --tag order:7 --wait",
            "conveyor send photos/ --session ses_42",
        ),
    )(send)


@dataclass
class _Order:
    """What one call sends, and what came of it."""

    found: Sequence[Found]
    fields: dict[str, Any]
    done: list[Submitted] = field(default_factory=list)

    @property
    def bytes(self) -> int | None:
        """Of all files; None when some are URLs."""
        sizes = [each.size for each in self.found if each.size is not None]
        return sum(sizes) if len(sizes) == len(self.found) else None

    @property
    def big(self) -> bool:
        """Worth a progress bar."""
        return len(self.found) >= MANY or self.bytes is None or self.bytes >= LARGE

    def sent(self) -> Iterator[tuple[Found, Submitted]]:
        """The files that were accepted, with the answers."""
        return zip(self.found, self.done, strict=False)


Priority = Annotated[
    int,
    typer.Option(
        "--priority",
        "-p",
        min=0,
        max=9,
        help="From 0 to 9; the higher one first. A step counts like ten minutes of waiting.",
    ),
]


def send(
    context: typer.Context,
    source: Annotated[list[str], typer.Argument(help="Files, folders (--recursive), http(s) URLs.")],
    to: Annotated[
        list[str] | None,
        typer.Option("--to", "-t", help="Destinations, with commas; else default_destinations."),
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Send the files in folders.")] = False,
    tag: Annotated[list[str] | None, typer.Option(help="key:value or a word; may be repeated.")] = None,
    meta: Annotated[list[str] | None, typer.Option(help="key=value; may be repeated.")] = None,
    session_id: Annotated[str | None, typer.Option("--session", help="The session they belong to.")] = None,
    key: Annotated[
        str | None, typer.Option(help="Idempotency key: sent again with the same bytes, it is the same job.")
    ] = None,
    in_place: Annotated[
        bool,
        typer.Option("--in-place", help="Copy nothing: the file stays, unchanged, where all workers see it."),
    ] = False,
    priority: Priority = 0,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for the end of all deliveries.")] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            parser=reading.seconds, metavar="TIME", help="With --wait: how long at most, e.g. 90 or 5m."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list.")] = False,
) -> None:
    """Submit files for delivery."""
    if timeout is not None and not wait:
        raise UsageError("--timeout has a meaning only with --wait")
    fields = {
        "to": reading.listed(to) if to else None,
        "tags": tuple(tag or ()),
        "meta": reading.pairs(meta or (), "--meta"),
        "session_id": session_id,
        "key": key,
        "in_place": in_place,
        "priority": priority,
    }
    with session.of(context).installation() as installation:
        order = _order(installation, source, recursive, fields)
        stop = _on_signals()
        try:
            _submit(installation, order, stop)
        finally:
            if not as_json:
                _print_jobs(order)
            elif order.done and len(order.done) < len(order.found):
                session.print_json(_documents(order, ()))  # what was accepted before it broke off
        statuses: list[DeliveryStatus] = []
        if wait:
            statuses = _wait(installation, order, stop, timeout, quiet=as_json)
        else:
            _mention_workers(installation)
        if as_json:
            session.print_json(_documents(order, statuses))
    raise typer.Exit(_code(wait, stop, statuses))


def _order(
    installation: Installation, source: Sequence[str], recursive: bool, fields: dict[str, Any]
) -> _Order:
    """Look at everything that can be wrong before anything is accepted."""
    from conveyor.cli.sources import resolve

    for name in fields["to"] or ():
        installation.known(name)
    skipped: list[str] = []
    found = resolve(source, recursive=recursive, skipped=skipped.append)
    for path in skipped:
        _tell(f"note: left out, not a regular file: {path}")
    if fields["key"] is not None and len(found) > 1:
        raise UsageError(
            f"--key names one file, and these are {len(found)}",
            cure="send them one by one, each with its key",
        )
    return _Order(found, fields)


def _on_signals() -> threading.Event:
    """From here on Ctrl-C lets a commit end before it stops; a second one leaves at once."""
    from conveyor import log
    from conveyor.delivery.runner import Signals

    signals = Signals(log.get())
    signals.install()
    return signals.stop


def _submit(installation: Installation, order: _Order, stop: threading.Event) -> None:
    """Submit all files.

    Raises:
        KeyboardInterrupt: ``stop`` was set; nothing is half-done, ``order.done`` tells what is.
    """
    from conveyor import tracing
    from conveyor.cli.progress import bar
    from conveyor.submission import BatchError

    count = order.bytes is None
    total = len(order.found) if count else order.bytes
    with bar("sending", total, wanted=order.big, size=not count) as advance:

        def read(size: int) -> None:
            if stop.is_set():
                raise KeyboardInterrupt
            if not count:
                advance(size)

        try:
            items = _items(order, stop, (lambda: advance(1)) if count else (lambda: None))
            with tracing.joining(os.environ):
                installation.submitter().submit_many(items, progress=read, done=order.done)
        except BatchError as error:
            raise _refused(error.error, order) from None


def _items(order: _Order, stop: threading.Event, begun: Callable[[], None]) -> Iterator[Item]:
    from conveyor.intake import Item

    for each in order.found:
        if stop.is_set():
            raise KeyboardInterrupt
        yield Item(each.source, **order.fields)
        begun()


def _refused(error: ConveyorError, order: _Order) -> ConveyorError:
    """The error of one file, with how far the others came."""
    if len(order.found) == 1:
        return error
    place = order.found[len(order.done)].source
    message = error.message if place in error.message else f"{place}: {error.message}"
    told = ConveyorError(
        f"{message} ({len(order.done)} of {len(order.found)} files were sent)", cure=error.cure
    )
    told.exit_code = error.exit_code
    return told


def _wait(
    installation: Installation, order: _Order, stop: threading.Event, timeout: float | None, *, quiet: bool
) -> list[DeliveryStatus]:
    from conveyor.cli.progress import bar, shown
    from conveyor.cli.visitor import FINAL, Visitor, hint_of, sentence

    ids = [ident for job in order.done for ident in job.deliveries.values()]
    wanted = {name for job in order.done for name in job.deliveries}
    many = len(ids) >= MANY
    later: list[str] = []
    say = later.append if shown(many) else typer.echo
    with bar("delivering", len(ids), wanted=many) as advance:

        def told(status: DeliveryStatus) -> None:
            advance(1)
            if not quiet:
                say(sentence(status, hint_of(installation, status)))

        with Visitor(installation, wanted, stop, say=_tell) as visitor:
            statuses = visitor.wait(ids, timeout, told)
    for text in later:
        typer.echo(text)
    if not quiet:
        for status in statuses:
            if status.status not in FINAL:
                typer.echo(sentence(status, hint_of(installation, status)))
    return statuses


def _mention_workers(installation: Installation) -> None:
    from conveyor.cli.visitor import live_workers

    if not live_workers(installation):
        _tell("note: no worker is running; deliver with: conveyor run")


def _print_jobs(order: _Order) -> None:
    for each, job in order.sent():
        typer.echo(f"{job.job_id}  {each.source}" + ("" if job.created else "  (as before)"))


def _documents(order: _Order, statuses: Sequence[DeliveryStatus]) -> list[dict[str, Any]]:
    known = {status.id: status.as_dict() for status in statuses}
    return [
        {
            "job_id": job.job_id,
            "source": each.source,
            "created": job.created,
            "deliveries": [
                known.get(ident, {"id": ident, "destination": name}) for name, ident in job.deliveries.items()
            ],
        }
        for each, job in order.sent()
    ]


def _code(wait: bool, stop: threading.Event, statuses: Sequence[DeliveryStatus]) -> int:
    from conveyor.cli.visitor import exit_code

    code = exit_code(statuses) if wait else Exit.OK
    if code is Exit.WAITING and stop.is_set():
        _tell("what still waits is kept; deliver with: conveyor run")
        return INTERRUPTED
    return code


def _tell(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        typer.echo(text, err=True)
