"""``conveyor listen``: a receiver for developing what takes a webhook's deliveries."""

from __future__ import annotations

import json
import re
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conveyor.cli import filters
from conveyor.errors import UsageError

if TYPE_CHECKING:
    from conveyor.receiver import Answer, Receiver, Request

PORT = 8765
"""Where `conveyor listen` listens and the config of `conveyor init` sends to."""

SECRET_VARIABLE = "CONVEYOR_LISTEN_SECRET"  # noqa: S105 -- the name of a variable

_FAIL = re.compile(r"([1-5]\d\d)(?::(.+))?", re.DOTALL)

HELP = """Receive webhook deliveries on this machine: checks signatures, saves the files, shows each request.

With --fail it refuses, to see retries happen. It needs no config, and ends with Ctrl-C.
"""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        "listen",
        help=HELP,
        epilog=filters.examples("conveyor listen", "conveyor listen --secret whsec_… --fail 503:5 --times 2"),
    )(listen)


def listen(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 chooses a free one.")] = PORT,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    folder: Annotated[Path, typer.Option(help="Where files are saved.")] = Path("received"),
    secret: Annotated[
        list[str] | None,
        typer.Option(
            envvar=SECRET_VARIABLE,
            help="Refuse what it has not signed; several during a rotation. Without: nothing is checked.",
        ),
    ] = None,
    fail: Annotated[
        str | None, typer.Option(metavar="STATUS[:RETRY_AFTER]", help="Answer this instead of saving.")
    ] = None,
    times: Annotated[
        int | None, typer.Option(min=1, help="With --fail: only so often, then save.", show_default=False)
    ] = None,
    prefix: Annotated[str, typer.Option(help="The sender's header_prefix.")] = "X-Aptr-",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Receive webhook deliveries."""
    if times is not None and fail is None:
        raise UsageError("--times has a meaning only with --fail")
    answer = _answer(fail) if fail is not None else None
    stop = _until_signal()
    show = _Lines(as_json)
    receiver = _open(host, port, folder=folder, secrets=secret or (), prefix=prefix, on_request=show)
    if answer is not None and times is not None:
        receiver.answer_next(*[answer] * times)
    else:
        receiver.answer_always(answer)
    with receiver:
        show.begin(receiver, checked=bool(secret))
        stop.wait()
    show.end(receiver)


def _open(host: str, port: int, **settings: Any) -> Receiver:
    from conveyor.receiver import Receiver

    folder = settings["folder"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror}", cure="name another --folder") from None
    try:
        return Receiver(host=host, port=port, **settings)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}:{port}: {error.strerror}", cure="--port 0 chooses a free port"
        ) from None


def _until_signal() -> threading.Event:
    import signal

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _answer(fail: str) -> Answer:
    from conveyor.receiver import Answer

    match = _FAIL.fullmatch(fail)
    if match is None:
        raise typer.BadParameter(
            f"expected a status such as 503, or 503:30 with Retry-After, not {fail!r}", param_hint="--fail"
        )
    after: str | None = match[2]
    number = after is not None and re.fullmatch(r"\d+(\.\d+)?", after)
    return Answer(int(match[1]), retry_after=float(number[0]) if number else after)


class _Lines:
    """Prints each request as it comes; called from the receiver's threads."""

    def __init__(self, as_json: bool) -> None:
        self._json = as_json
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> None:
        with self._lock:
            if self._json:
                self._line(_document(request))
            else:
                typer.echo(_sentence(request))

    def begin(self, receiver: Receiver, *, checked: bool) -> None:
        """Say where to post."""
        folder = str(receiver.folder.absolute())
        if self._json:
            self._line({"event": "listening", "url": receiver.url, "folder": folder, "signatures": checked})
            return
        typer.echo(f"listening at {receiver.url}, saving to {folder}; Ctrl-C ends")
        if not checked:
            typer.echo("signatures are not checked: --secret checks them")

    def end(self, receiver: Receiver) -> None:
        """Say what came."""
        saved = sum(not received.duplicate for received in receiver.received)
        count = len(receiver.requests)
        if self._json:
            self._line({"event": "ended", "requests": count, "files": saved})
        else:
            typer.echo(f"\n{count} requests, {saved} files")

    def _line(self, document: dict[str, Any]) -> None:
        typer.echo(json.dumps(document, ensure_ascii=False))


def _sentence(request: Request) -> str:
    text = f"{time.strftime('%H:%M:%S')}  {request.status}  {request.delivery_id or '-'}  {request.note}"
    received = request.received
    if received is not None:
        text += f": {received.path} ({received.size} bytes, {received.format}"
        text += f", {received.media_type})" if received.media_type else ")"
    verdicts = [f"{name} {'ok' if right else 'WRONG'}" for name, right in request.verdicts.items()]
    return text + (f"  [{', '.join(verdicts)}]" if verdicts else "")


def _document(request: Request) -> dict[str, Any]:
    document: dict[str, Any] = {
        "event": "request",
        "delivery_id": request.delivery_id,
        "status": request.status,
        "note": request.note,
        "signatures": dict(request.verdicts),
    }
    received = request.received
    if received is not None:
        document |= {
            "path": str(received.path),
            "size": received.size,
            "format": received.format,
            "filename": received.filename,
            "media_type": received.media_type,
            "session_id": received.session_id,
            "image_id": received.image_id,
            "image_index": received.image_index,
            "tags": list(received.tags),
            "duplicate": received.duplicate,
        }
    return document
