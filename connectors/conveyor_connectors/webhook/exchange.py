"""One POST: sending the body, and reading an answer that may come before, after or never.

The contract needs to know exactly what happened: whether every byte went out, whether the answer came
first, how long the answer may still take. urllib3 opens the connection (policy, TLS, proxy) and
``http.client`` parses the answer; the sending in between is done here.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind
from conveyor_connectors.webhook.body import Body
from conveyor_connectors.webhook.headers import is_token, is_value
from conveyor_connectors.webhook.wire import Reader, Wire

ANSWER_LIMIT = 64 * 1024
"""Bytes of an answer's body that are read."""
_BODY_TIME = 5.0
"""Seconds that an answer's body may take once its status is known."""
_EARLY_TIME = 30.0
"""Seconds that an answer may take which began before the whole body was out."""
_LAST_WORDS = 2.0
"""Seconds to wait for an answer after a send broke."""
_INTERIM_LIMIT = 100
"""Interim answers (1xx) that are passed over, each of which may have as many headers as any other."""
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: |\r|\n)")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver said.

    Attributes:
        status: HTTP status, never 1xx.
        headers: Names in lower case; of repeated ones the last.
        body: Its first ``ANSWER_LIMIT`` bytes.
        complete: The whole request body went out.
        reusable: The connection may carry another request.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    complete: bool
    reusable: bool


def request_head(target: str, headers: Sequence[tuple[str, str]]) -> bytes:
    """The request line and headers.

    Raises:
        ValueError: a name or value cannot stand there.
    """
    lines = [f"POST {target} HTTP/1.1"]
    for name, value in headers:
        if not is_token(name) or not is_value(value):
            raise ValueError(f"the header {name!r} cannot be sent")
        lines.append(f"{name}: {value}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


class Exchange:
    """One request on ``wire`` and its answer."""

    def __init__(self, wire: Wire, context: AttemptContext) -> None:
        self._wire = wire
        self._context = context
        self._complete = False
        self._early: Reader | None = None
        self._interim = 0

    def run(self, head: bytes, body: Body) -> Answer:
        """Send and read.

        Raises:
            DeliveryError: TRANSIENT when the connection ended before the whole body was out and nothing was
                answered; UNKNOWN_OUTCOME when it was out.
        """
        broken: Exception | None = None
        with self._context.phase("transfer"):
            try:
                self._send(head, body)
            except (OSError, http.client.HTTPException) as error:
                broken = error
        with self._context.phase("commit"):
            return self._answer(broken)

    def _send(self, head: bytes, body: Body) -> None:
        if body.length == 0:
            self._context.before_commit()
        if not self._push(head, lambda count: None):
            return
        for piece, last in _marked(body.pieces()):
            if last:
                self._context.before_commit()
            if not self._push(piece, self._context.progress):
                return
        self._complete = True
        self._context.uploaded()

    def _push(self, data: bytes, report: Callable[[int], None]) -> bool:
        """Send ``data``; False when the receiver has ended the matter by its answer."""
        out = 0

        def sent(count: int) -> None:
            nonlocal out
            out += count
            report(count)

        while not self._wire.send(memoryview(data)[out:], sent, listen=self._early is None):
            if not self._go_on():
                return False
        return True

    def _go_on(self) -> bool:
        """Something arrived before the body was out: True when the body should be sent all the same.

        An interim answer means nothing. A 2xx counts only if the receiver takes the rest of the body too.
        """
        if self._wire.ended and not self._wire.pending():
            return False
        reader = Reader(self._wire, time.monotonic() + min(_EARLY_TIME, self._context.remaining()))
        status = self._next_status(reader)
        if status is None:
            return True
        self._early = reader
        return 200 <= status < 300

    def _next_status(self, reader: Reader) -> int | None:
        """Read one status line: None for an interim answer, which is consumed.

        Raises:
            http.client.HTTPException: it is not HTTP/1, or one interim answer too many.
            OSError: nothing more comes.
        """
        status = _interim_or_status(reader)
        if status is None:
            self._interim += 1
            if self._interim > _INTERIM_LIMIT:
                raise http.client.HTTPException
        return status

    def _answer(self, broken: Exception | None) -> Answer:
        reader = self._early or Reader(self._wire, 0.0)
        started = time.monotonic()
        limit = self._context.remaining()
        if not self._complete:
            limit = min(limit, _EARLY_TIME if broken is None else _LAST_WORDS)
        reader.until = started + limit
        try:
            response = self._parse(reader)
        except TimeoutError:
            raise self._silent(broken, f"no answer within {limit:.0f} s") from None
        except (OSError, http.client.HTTPException) as error:
            raise self._silent(broken or error, None) from None
        if not self._complete and 200 <= response.status < 300:
            raise DeliveryError(
                ErrorKind.TRANSIENT,
                f"answered {response.status} before the whole file was sent, and took no more of it",
                code=response.status,
                hint="the receiver must read the whole request body before it answers",
            )
        return self._with_body(response, reader)

    def _parse(self, reader: Reader) -> http.client.HTTPResponse:
        while self._early is None:
            if self._next_status(reader) is not None:
                break
        response = http.client.HTTPResponse(cast("http.client.socket", reader), method="POST")  # type: ignore[name-defined]
        response.begin()
        return response

    def _with_body(self, response: http.client.HTTPResponse, reader: Reader) -> Answer:
        reader.until = min(reader.until, time.monotonic() + _BODY_TIME)
        body = b""
        with contextlib.suppress(OSError, http.client.HTTPException):
            body = response.read(ANSWER_LIMIT)
        done = response.isclosed() or response.length == 0
        clean = done and not response.will_close and not self._wire.pending() and not self._wire.ended
        return Answer(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            body,
            self._complete,
            clean and self._complete and self._early is None,
        )

    def _silent(self, error: Exception | None, message: str | None) -> DeliveryError:
        """Nothing that could be understood was answered."""
        if isinstance(error, http.client.RemoteDisconnected) or (error is None and message is None):
            reason = "the receiver closed the connection without an answer"
        elif isinstance(error, http.client.HTTPException):
            reason = "the receiver's answer is not HTTP"
        else:
            reason = message or f"the connection broke: {getattr(error, 'strerror', None) or error}"
        if self._complete:
            return DeliveryError(
                ErrorKind.UNKNOWN_OUTCOME,
                f"{reason}, after the whole file was sent",
                hint="the receiver may have it; it is sent again with the same delivery id",
            )
        return DeliveryError(ErrorKind.TRANSIENT, f"{reason}, before the whole file was sent")


def _interim_or_status(reader: Reader) -> int | None:
    """Read one status line: consume an interim answer and return None, or leave a final one and return it.

    Raises:
        http.client.HTTPException: it is not HTTP/1.
        OSError: nothing more comes.
    """
    line = reader.readline()
    if not line:
        raise http.client.RemoteDisconnected("closed without an answer")
    match = _STATUS_LINE.match(line)
    if match is None:
        raise http.client.BadStatusLine("")
    status = int(match[1])
    if status < 200:
        http.client.parse_headers(reader)
        return None
    reader.push_back(line)
    return status


def _marked(pieces: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each piece, and whether it is the last."""
    held: bytes | None = None
    for piece in pieces:
        if held is not None:
            yield held, False
        held = piece
    if held is not None:
        yield held, True
