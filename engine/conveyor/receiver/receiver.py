"""The receiver: a threaded HTTP server over a folder."""

from __future__ import annotations

import itertools
import os
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from conveyor.receiver.forms import Form, Unreadable, read_form, save
from conveyor.receiver.server import Incoming, Reply, Server
from conveyor.receiver.verify import Verifier

_SEGMENT_MAX = 200
"""Bytes of a saved name; file systems take 255, and a number may be added."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer instead of saving.

    Attributes:
        status: HTTP status.
        retry_after: For the header: seconds, or text as it is (an HTTP date).
        body: Answer body.
        early: Answer and close before the request's body is read.
    """

    status: int
    retry_after: float | str | None = None
    body: bytes = b""
    early: bool = False


@dataclass(frozen=True, slots=True)
class Received:
    """A file that was verified and saved. ``duplicate``: the same delivery id had come before."""

    delivery_id: str
    path: Path
    size: int
    format: str
    filename: str | None
    media_type: str | None
    session_id: str | None
    image_id: str | None
    image_index: int | None
    tags: tuple[str, ...]
    verified: tuple[str, ...]
    """The signature headers that were right."""
    duplicate: bool
    fields: Mapping[str, Any]
    """Text fields of a form, or the JSON document without its data."""
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    """One request and how it was answered.

    Attributes:
        verdicts: For each signature header that came, whether it is right; empty where none was looked at.
    """

    delivery_id: str | None
    status: int
    note: str
    received: Received | None = None
    verdicts: Mapping[str, bool] = field(default_factory=dict)


class Receiver:
    """Listens for deliveries and saves their files below ``folder``.

    Args:
        folder: Made when missing.
        secrets: Any of them may have signed; none: signatures are not required.
        host: Address to listen on.
        port: TCP port; 0 chooses a free one.
        prefix: The sender's header prefix.
        tls: Server context for https.
        on_request: Called after each request, from the thread that served it.
        max_size: Larger request bodies are answered 413 without being read.
        clock: Seconds since the epoch.

    Attributes:
        received: What was saved, in order.
        requests: All requests, in order.
    """

    def __init__(
        self,
        folder: Path,
        *,
        secrets: Sequence[str] = (),
        host: str = "127.0.0.1",
        port: int = 0,
        prefix: str = "X-Aptr-",
        tls: ssl.SSLContext | None = None,
        on_request: Callable[[Request], None] = lambda request: None,
        max_size: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder
        self.received: list[Received] = []
        self.requests: list[Request] = []
        self._secrets = tuple(secrets)
        self._prefix = prefix.lower()
        self._on_request = on_request
        self._max_size = max_size
        self._clock = clock
        self._lock = threading.Lock()
        self._script: deque[Answer] = deque()
        self._always: Answer | None = None
        self._paths: dict[str, Path] = {}
        self._numbers = itertools.count()
        self._server = Server((host, port), self._handle, tls)

    @property
    def url(self) -> str:
        """Where to post."""
        return self._server.url

    def start(self) -> Receiver:
        """Listen, in a thread."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._server.start()
        return self

    def stop(self) -> None:
        """Close every connection and end the threads; idempotent."""
        self._server.stop()

    def __enter__(self) -> Receiver:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def answer_next(self, *answers: Answer) -> None:
        """Give the next requests these answers, one each, instead of saving."""
        with self._lock:
            self._script.extend(answers)

    def answer_always(self, answer: Answer | None) -> None:
        """Give every request this answer once the script has ended; None repairs the receiver."""
        with self._lock:
            self._always = answer

    def forget(self) -> None:
        """Forget what came so far; a repeated delivery counts as new."""
        with self._lock:
            self._paths.clear()
            self.received.clear()
            self.requests.clear()

    def _handle(self, incoming: Incoming) -> Reply:
        reply, request = self._serve(incoming)
        with self._lock:
            self.requests.append(request)
            if request.received is not None:
                self.received.append(request.received)
        self._on_request(request)
        return reply

    def _serve(self, incoming: Incoming) -> tuple[Reply, Request]:
        delivery = incoming.headers.get("webhook-id") or incoming.headers.get(f"{self._prefix}delivery-id")
        with self._lock:
            scripted = self._script.popleft() if self._script else self._always
        if scripted is not None and scripted.early:
            return _scripted(scripted), Request(delivery, scripted.status, "as asked, before the body")
        if self._max_size is not None and incoming.length > self._max_size:
            return Reply(413, b"too large\n", close=True), Request(delivery, 413, "too large")
        spool = self.folder / f".incoming-{os.getpid()}-{next(self._numbers)}"
        try:
            verifier = self._spool(incoming, spool)
            if scripted is not None:
                request = Request(delivery, scripted.status, "as asked", None, self._verdicts(verifier))
                return _scripted(scripted), request
            return self._accept(incoming, spool, verifier, delivery)
        finally:
            spool.unlink(missing_ok=True)

    def _spool(self, incoming: Incoming, spool: Path) -> Verifier:
        verifier = Verifier(incoming.headers, self._secrets, self._clock(), self._prefix)
        with spool.open("wb") as out:
            for chunk in incoming.chunks():
                verifier.update(chunk)
                out.write(chunk)
        return verifier

    def _accept(
        self, incoming: Incoming, spool: Path, verifier: Verifier, delivery: str | None
    ) -> tuple[Reply, Request]:
        problem: tuple[int, str] | None = None
        if verifier.damaged():
            problem = (400, "the body does not match its Content-Digest")
        elif not verifier.trusted():
            problem = (401, "the signature is missing or wrong")
        elif not delivery:
            problem = (400, "no delivery id")
        else:
            try:
                received = self._keep(incoming, spool, verifier, delivery)
            except Unreadable as error:
                problem = (400, str(error))
        if problem is not None:
            request = Request(delivery, *problem, None, self._verdicts(verifier))
            return Reply(problem[0], problem[1].encode() + b"\n"), request
        note = "received again" if received.duplicate else "saved"
        return Reply(200, b"ok\n"), Request(delivery, 200, note, received, self._verdicts(verifier))

    def _verdicts(self, verifier: Verifier) -> Mapping[str, bool]:
        return verifier.verdicts() if self._secrets else {}

    def _keep(self, incoming: Incoming, spool: Path, verifier: Verifier, delivery: str) -> Received:
        headers = incoming.headers
        form = read_form(spool, headers, self._prefix)
        part = spool.with_name(spool.name + ".file")
        try:
            size = save(spool, form, part)
            path, duplicate = self._place(delivery, self._wish(form, headers))
            path.parent.mkdir(parents=True, exist_ok=True)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        index = headers.get(f"{self._prefix}image-index", "")
        return Received(
            delivery_id=delivery,
            path=path,
            size=size,
            format=form.format,
            filename=form.filename,
            media_type=form.media_type,
            session_id=headers.get(f"{self._prefix}session-id"),
            image_id=headers.get(f"{self._prefix}image-id"),
            image_index=int(index) if index.isascii() and index.isdigit() else None,
            tags=form.tags,
            verified=tuple(name for name, right in verifier.verdicts().items() if right),
            duplicate=duplicate,
            fields=form.fields,
            headers=headers,
        )

    def _wish(self, form: Form, headers: Mapping[str, str]) -> Path:
        """Where the sender wants it, made harmless: nothing it says leads out of the folder."""
        rendered = unquote(headers.get(f"{self._prefix}path", ""))
        session = headers.get(f"{self._prefix}session-id", "")
        text = rendered or f"{session.replace('/', '_')}/{(form.filename or 'file').replace('/', '_')}"
        segments = [safe for part in text.split("/") if (safe := _safe(part))]
        return self.folder.joinpath(*(segments or ["file"]))

    def _place(self, delivery: str, wish: Path) -> tuple[Path, bool]:
        """The path of this delivery: its own when it came before, else the first free name."""
        with self._lock:
            if delivery in self._paths:
                return self._paths[delivery], True
            taken = set(self._paths.values())
            path, number = wish, 0
            while path in taken or path.exists():
                number += 1
                path = wish.with_name(f"{wish.stem} ({number}){wish.suffix}")
            self._paths[delivery] = path
            return path, False


def _scripted(answer: Answer) -> Reply:
    after = answer.retry_after
    extra = {} if after is None else {"Retry-After": after if isinstance(after, str) else f"{after:g}"}
    return Reply(answer.status, answer.body, extra, close=answer.early)


def _safe(segment: str) -> str:
    """A name that is one level, visible, not hidden, and not too long."""
    kept = "".join("_" if c < " " or c in "\x7f\\\ufffd" or "\ud800" <= c <= "\udfff" else c for c in segment)
    kept = kept.strip().lstrip(".")
    if len(kept.encode()) <= _SEGMENT_MAX:
        return kept
    stem, dot, suffix = kept.rpartition(".")
    suffix = suffix[:16] if stem else ""
    room = _SEGMENT_MAX - len((dot + suffix).encode())
    return (stem or kept).encode()[:room].decode("utf-8", "ignore") + (dot + suffix if stem else "")
