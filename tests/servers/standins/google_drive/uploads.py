"""Routes of ``/upload``: content in one request, with metadata beside it, or by a session.

Sources: manage-uploads as in :mod:`servers.standins.google_drive.sessions`; the description's ``mediaUpload``
(5 TiB, any type but the literal ``*/*``). ``media`` and ``multipart`` are for 5 MB or less by that page; more
is refused here, though the real service is known to take it (``small``). The description's address
``/resumable/upload/…`` is none of Google's answers
(github.com/google/google-api-objectivec-client-for-rest/issues/580).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from typing import Any

from servers.standins.google_drive.content import Growing, received, too_large
from servers.standins.google_drive.description import check_query, method
from servers.standins.google_drive.errors import bad, error, missing
from servers.standins.google_drive.metadata import Metadata
from servers.standins.google_drive.sessions import Session, agree, progress, span, take
from servers.standins.google_drive.state import FOLDER, GOOGLE_TYPE, MIME, Caller
from servers.standins.kit import route
from servers.standins.messages import Answer, Refused, Request, Spooled
from servers.standins.multipart import Malformed, Parts

UPLOAD = "/upload/drive/v3/files"


class Uploads(Metadata):
    """Class attributes that tests may lower: see the package's docstring."""

    unit: int = 256 * 1024
    small: int = 5 * 1024 * 1024
    largest: int = int(method("files.create")["mediaUpload"]["maxSize"])
    session_life: float = 7 * 86400.0
    lenient_units: bool = False
    short: int = 0
    gone: int = 404

    @route("POST", UPLOAD)
    def upload(self, request: Request) -> Answer:
        """files.create with content."""
        return self._upload("files.create", None, request)

    @route("PATCH", UPLOAD + "/{file}")
    def upload_again(self, request: Request) -> Answer:
        """files.update with content."""
        return self._upload("files.update", request.params["file"], request)

    def _upload(self, name: str, file: str | None, request: Request) -> Answer:
        if "upload_id" in request.query:
            return self.chunk(request)
        caller = self.enter(name, request, upload=True)
        kind = caller.query.get("uploadType")
        if kind == "media":
            return self._simple(file, caller, {}, request.headers.get("Content-Type"), request)
        if kind == "multipart":
            return self._multipart(file, caller, request)
        if kind == "resumable":
            return self._open(file, caller, request)
        raise bad(f"Upload type {kind} is not supported.")

    # --- in one request ------------------------------------------------------------------------------

    def _simple(
        self,
        file: str | None,
        caller: Caller,
        meta: dict[str, Any],
        said: str | None,
        request: Request,
        blocks: Iterator[bytes] | None = None,
    ) -> Answer:
        limit = min(self.small, self.largest)
        if blocks is None and (request.body.length or 0) > limit:
            raise too_large()
        typed = self._typed(meta, said, new=file is None)
        content = received(self.folder, blocks or request.body.blocks(), limit)
        return Answer(200, self._store(file, caller, typed, content))

    def _multipart(self, file: str | None, caller: Caller, request: Request) -> Answer:
        """Exactly two parts: metadata of JSON, then the content of any type."""
        try:
            parts = iter(Parts(request.body.blocks(), request.headers, "multipart/related", bare=True))
            told = next(parts)
            if told.headers.get_content_type() != "application/json":
                raise Malformed(f"metadata of type {told.headers.get_content_type()}")
            text = b"".join(told.blocks)
            if len(text) > 1 << 20:
                raise Malformed("too much metadata")
            meta = self.metadata(text or b"{}")
            media = next(parts)
            content = received(self.folder, media.blocks, min(self.small, self.largest))
            try:
                if next(parts, None) is not None:
                    raise Malformed("more than two parts")
                said = media.headers.get("Content-Type")
                if said is None:
                    raise Malformed("the media part has no Content-Type")
                typed = self._typed(meta, said, new=file is None)
            except BaseException:
                content.path.unlink()
                raise
        except (Malformed, StopIteration) as wrong:
            raise bad(f"Malformed multipart body. {wrong}") from None
        return Answer(200, self._store(file, caller, typed, content))

    def _typed(self, meta: dict[str, Any], said: str | None, *, new: bool) -> dict[str, Any]:
        """The metadata with the type of the content, where the metadata has none.

        A new revision may have another type (File.mimeType); one of which nothing is said keeps the old.
        """
        if said is not None and not MIME.fullmatch(said):
            raise bad("Invalid MIME type provided for the uploaded content.")
        kind = meta.get("mimeType") or (said.partition(";")[0].strip() if said else None)
        if kind is None:
            kind = "application/octet-stream" if new else None
        if kind == FOLDER or (kind or "").startswith(GOOGLE_TYPE):
            raise bad("The requested conversion is not supported.")
        told = {key: value for key, value in meta.items() if key != "mimeType"}
        return told if kind is None else {**told, "mimeType": kind}

    def _store(
        self, file: str | None, caller: Caller, meta: dict[str, Any], content: Spooled, keep: bool = False
    ) -> dict[str, Any]:
        """The file, made or renewed once every rule has agreed; else the content goes, but for ``keep``."""
        try:
            with self.lock:
                if file is None:
                    node = self.make(meta, caller, content)
                else:
                    node = self.find(file, caller)
                    self.check_content(node)
                    self.check_room(content.size - node.size, node.drive, caller)
                    self.alter(node, meta, caller)
                    self.fill(node, content)
                return self.show(node, caller)
        except Refused:
            if not keep:
                content.path.unlink()
            raise

    # --- by a session --------------------------------------------------------------------------------

    def _open(self, file: str | None, caller: Caller, request: Request) -> Answer:
        meta, told = self.body(request), request.headers.get("X-Upload-Content-Length")
        if told is not None and not re.fullmatch(r"\d+", told, re.ASCII):
            raise bad("Invalid X-Upload-Content-Length header.")
        total = None if told is None else int(told)
        if total is not None and total > self.largest:
            raise too_large()
        typed = self._typed(meta, request.headers.get("X-Upload-Content-Type"), new=file is None)
        with self.lock:
            self._forget_old()
            if file is None:
                self.check_id(typed)
                drive = self.parent(typed, caller).drive
                self.check_room(total or 0, drive, caller)
            else:
                node = self.find(file, caller)
                self.check_content(node)
                self.check_room((total or 0) - node.size, node.drive, caller)
            key, part = secrets.token_urlsafe(24), Growing(self.folder)
            until = self.now() + self.session_life
            self.sessions[key] = Session(typed, file, caller, total, part, until, request.path)
        # By the name that the client came by, so that a proxy in between stays in between.
        base = f"{self.url.partition('://')[0]}://{request.headers['Host']}"
        where = f"{base}{request.path}?uploadType=resumable&upload_id={key}"
        return Answer(200, headers={"Location": where, "X-GUploader-UploadID": key})

    def _forget_old(self) -> None:
        for key in [key for key, each in self.sessions.items() if each.until <= self.now()]:
            gone = self.sessions.pop(key)
            if gone.done is None:
                gone.end()

    @route("PUT", UPLOAD)
    @route("PUT", UPLOAD + "/{file}")
    def chunk(self, request: Request) -> Answer:
        """A piece of an upload, or ``Content-Range: bytes */N``, which asks how far it came."""
        session = self._session(request)
        brought = span(request)
        with self.lock:
            if session.done is not None:
                return Answer(200, session.done)
            agree(session, brought, self.largest)
        if brought.first is None:
            whole = session.total is not None and session.part.safe == session.total == brought.total
            return self._end(session) if whole else progress(session, request)
        last = brought.last is None or brought.last + 1 == session.total
        length = 0 if last or brought.last is None else brought.last - brought.first + 1
        if length % self.unit and not self.lenient_units:
            raise bad(f"Invalid request. A chunk but the last is a multiple of {self.unit} bytes.")
        if take(session, brought, request, unit=self.unit, short=self.short, largest=self.largest):
            return self._end(session)
        return progress(session, request)

    def _session(self, request: Request) -> Session:
        if request.headers.get("Authorization"):
            self.authenticate(request)
        name = "files.update" if request.params.get("file") else "files.create"
        check_query(name, request.query, upload=True, session=True)
        key = request.query.get("upload_id")
        if key is None:
            raise error(400, "required", "Required parameter: upload_id", location="upload_id")
        with self.lock:
            if key in self.ended:
                raise missing(key) if self.gone == 404 else Refused(self.gone)
            found = self.sessions.get(key)
            if found is not None and found.until <= self.now():
                self._forget_old()
                found = None
        if found is None or found.path != request.path:
            raise missing(key)
        return found

    def _end(self, session: Session) -> Answer:
        with self.lock:
            if session.done is None:
                content = session.part.spooled()
                session.done = self._store(session.file, session.caller, session.meta, content, keep=True)
            return Answer(200, session.done)

    @route("DELETE", UPLOAD)
    @route("DELETE", UPLOAD + "/{file}")
    def cancel(self, request: Request) -> Answer:
        """End a session: 499. A file that it has made already stays."""
        session = self._session(request)
        with self.lock:
            key = request.query["upload_id"]
            self.sessions.pop(key, None)
            self.ended.add(key)
            if session.done is None:
                session.end()
        return Answer(499)
