"""Resumable uploads: the protocol of one session's address.

Sources: https://developers.google.com/workspace/drive/api/guides/manage-uploads (units of 256 KiB, 308 with
Range, ``bytes */N``, 404 when it is over after a week) and an older copy of that page with all headers
(github.com/mulesoft/api-console, demo/models/google-drive-api/docs/upload-files.md). Where it is silent, what
is told of the same upload server:

* the address authenticates: Google's examples of chunks have no Authorization, and for Cloud Storage
  (https://cloud.google.com/storage/docs/resumable-uploads#session-uris) it is said outright. A token that is
  sent nevertheless has to be valid;
* POST is taken as PUT (rclone, backend/drive/upload.go); ``X-GUploader-No-308: yes`` turns 308 into 200 with
  ``X-HTTP-Status-Code-Override: 308`` (github.com/floci-io/floci-gcp/pull/132);
* bytes that it has already are skipped; a chunk behind a gap is 503 in plain text; a session that is done
  answers with the file (same pull request, compared with the live service; the gap was seen at Drive, too);
* ``bytes */N`` with N bytes there ends the upload (github.com/floci-io/floci-gcp/issues/34);
* only whole units of an interrupted chunk are kept. Of a chunk that is no multiple of 256 KiB and not the
  last one, Drive was seen to keep the whole units; here it is refused, since the page forbids it, unless
  ``lenient_units`` is set;
* DELETE answers 499, as on Cloud Storage's page performing-resumable-uploads and in "Canceling an upload" of
  https://developers.google.com/gdata/docs/resumable_upload. What comes after is 404, as for any session that
  is over, or what ``gone`` says: 499 by that second page (neither could be read again up to that section),
  410 at Cloud Storage for one that has failed (github.com/googleapis/gcs-resumable-upload/pull/16);
* a refused end (quota, an id that is in use) may be asked for again: the bytes stay. Nothing is documented.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Any

from servers.standins.google_drive.content import Growing, too_large
from servers.standins.google_drive.errors import bad, documented
from servers.standins.google_drive.state import Caller
from servers.standins.messages import Answer, Refused, Request


@dataclass
class Session:
    """A resumable upload.

    Attributes:
        meta: Of the file; checked.
        file: The id of the file that gets new content; None for a new file.
        caller: Who began it, and with which parameters.
        total: Bytes it will have, as soon as they are known.
        part: What has arrived.
        until: When it is over, in seconds since the epoch.
        path: Of its address.
        done: What the end was answered with.
        turn: Counts requests that bring bytes; the newest one has it.
    """

    meta: dict[str, Any]
    file: str | None
    caller: Caller
    total: int | None
    part: Growing
    until: float
    path: str
    done: dict[str, Any] | None = None
    turn: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def end(self) -> None:
        """Its bytes go; a request that still brings some is too late."""
        with self.lock:
            self.turn += 1
            self.part.discard()


@dataclass(frozen=True)
class Span:
    """A Content-Range: ``first`` is None where it only asks, ``last`` where the body's end tells."""

    first: int | None
    last: int | None
    total: int | None


def span(request: Request) -> Span:
    """What a request to a session brings.

    Raises:
        Refused: 400.
    """
    given, length = request.headers.get("Content-Range"), request.body.length
    if given is None:
        return Span(0, None if length is None else length - 1, length)
    if asked := re.fullmatch(r"bytes \*/(\d+|\*)", given, re.ASCII):
        if length:
            raise bad("Invalid request. The Content-Range header has no range for the bytes sent.")
        return Span(None, None, None if asked[1] == "*" else int(asked[1]))
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", given, re.ASCII)
    if match is None:
        raise bad("Failed to parse Content-Range header.")
    first, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    if last < first or (length is not None and last - first + 1 != length):
        raise bad("Invalid request. The number of bytes sent is not that of the Content-Range header.")
    if total is not None and last >= total:
        raise bad("Invalid request. The Content-Range header goes past its total.")
    return Span(first, last, total)


def agree(session: Session, brought: Span, largest: int) -> None:
    """Hold a request to what was said before; a total is remembered.

    Raises:
        Refused: 400, or 413 above ``largest``.
    """
    if brought.total is not None:
        if session.total not in (None, brought.total):
            raise bad("Invalid request. The total is another than before.")
        if brought.total < session.part.safe:
            raise bad("Invalid request. The total is less than what is uploaded already.")
    size = max(brought.total or 0, (brought.last or 0) + 1 if brought.first is not None else 0)
    if size > largest:
        raise too_large()
    if session.total is not None and brought.last is not None and brought.last >= session.total:
        raise bad("Invalid request. The Content-Range header goes past the total.")
    if brought.total is not None:
        session.total = brought.total


def gap(first: int, have: int) -> Refused:
    """What a chunk gets that begins too late; in plain text, with two blanks."""
    text = (
        f"Invalid request.  According to the Content-Range header, the upload offset is {first} byte(s), "
        f"which exceeds already uploaded size of {have} byte(s)."
    )
    refused = Refused(503)
    refused.answer.body, refused.answer.media_type = text.encode(), "text/plain; charset=utf-8"
    return refused


def progress(session: Session, request: Request) -> Answer:
    """308, with how much there is."""
    have = session.part.safe
    headers = {"Range": f"bytes=0-{have - 1}"} if have else {}
    if request.headers.get("X-GUploader-No-308") == "yes":
        return Answer(200, headers={**headers, "X-HTTP-Status-Code-Override": "308"})
    return Answer(308, headers=headers)


def overtaken() -> Refused:
    """What a request gets that still brings bytes when a newer one does, or when the session has ended."""
    refused = documented("backendError")
    refused.answer.status = refused.answer.document["error"]["code"] = 503
    return refused


def take(session: Session, brought: Span, request: Request, *, unit: int, short: int, largest: int) -> bool:
    """Write what a request brings; whether that was the rest.

    Args:
        session: It is the newest request's.
        brought: Its range; ``first`` is known.
        request: Its body is read.
        unit: Bytes.
        short: So many units of the end of a chunk are lost; the sender has to see it by the Range.
        largest: Bytes of a file.

    Raises:
        Refused: 400 where bytes are missing, 413, 503 behind a gap or when a newer request has come.
    """
    assert brought.first is not None
    with session.lock:
        session.turn += 1
        turn = session.turn
        session.part.roll_back()
        have = session.part.size
    if brought.first > have:
        raise gap(brought.first, have)
    total = session.total
    ends = total is None if brought.last is None else brought.last + 1 == total
    stop = None  # where to stop writing
    if not ends and brought.last is not None:
        stop = max(have, (brought.last + 1) // unit * unit - short * unit)
    at = brought.first
    with session.part.opened() as out:
        for block in request.body.blocks():
            fresh = block[max(0, have - at) :] if at < have else block
            at += len(block)
            if at > largest:
                raise too_large()
            if stop is not None:
                fresh = fresh[: max(0, len(fresh) - max(0, at - stop))]
            with session.lock:
                if session.turn != turn:
                    raise overtaken()
                session.part.write(out, fresh, unit)
    return _arrived(session, brought, at, turn, ends)


def _arrived(session: Session, brought: Span, at: int, turn: int, ends: bool) -> bool:
    with session.lock:
        if session.turn != turn:
            raise overtaken()
        if brought.last is None and session.total is None:
            session.total = at
        whole = at == (session.total if brought.last is None else brought.last + 1)
        if not whole:
            session.part.roll_back()
            raise bad("Invalid request. The number of bytes sent is not the one that was said.")
        if ends or session.part.size == session.total:
            session.part.keep()
            return True
        return False
