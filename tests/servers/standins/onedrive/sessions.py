"""Upload sessions (learn.microsoft.com/graph/api/driveitem-createuploadsession)."""

from __future__ import annotations

import re
import secrets
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from servers.standins.kit import StandIn, route
from servers.standins.messages import Answer, Request
from servers.standins.onedrive.described import described, failed, stamp
from servers.standins.onedrive.drive import Content, Digests, Drive, Item, taken

UNIT = 320 * 1024
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@dataclass
class Session:
    """An upload that is not a file yet."""

    token: str
    parent: Item
    name: str
    behavior: str
    until: float
    path: Path
    size: int | None = None
    deferred: bool = False
    info: dict[str, str] = field(default_factory=dict)
    total: int | None = None
    uneven: bool = False
    digests: Digests = field(default_factory=Digests)
    lock: Any = field(default_factory=threading.Lock)


class Sessions(StandIn):
    """The address that createUploadSession gives; it needs no token, and refuses one."""

    drive: Drive
    fragment_limit = 60 << 20
    """Each fragment is smaller (bytes)."""
    strict_fragments = False
    """Refuse a fragment that is no multiple of 320 KiB at once, in place of the whole at the last one."""
    session_life = 15 * 60.0 * 96

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sessions: dict[str, Session] = {}

    def open_session(
        self, request: Request, parent: Item, name: str, behavior: str, asked: dict[str, Any]
    ) -> Answer:
        """Answer createUploadSession; on business the session holds the name (onedrive-api-docs#747)."""
        item = asked.get("item", {})
        with self.lock:
            held = any(s.parent is parent and s.name.casefold() == name.casefold() for s in self._living())
            if held and self.drive.business:
                raise taken()
            self.drive.conflict(parent, name, behavior)
            self.drive.room(item.get("fileSize", 0))
            token = secrets.token_urlsafe(32)
            with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
                path = Path(file.name)
            session = Session(
                token, parent, name, behavior, self.now() + self.session_life, path, item.get("fileSize"),
                asked.get("deferCommit", False), item.get("fileSystemInfo", {}),
            )  # fmt: skip
            self.sessions[token] = session
        # By the name that the client came by, so that a proxy in between stays in between.
        where = f"{self.url.partition('://')[0]}://{request.headers['Host']}/up/{token}"
        return described("uploadSession", {"uploadUrl": where, **self._status(session)})

    def _living(self) -> list[Session]:
        for session in [s for s in self.sessions.values() if s.until < self.now()]:
            self.drop(session)
        return list(self.sessions.values())

    def drop(self, session: Session) -> None:
        """End it, with its bytes if they became no file."""
        with self.lock:
            self.sessions.pop(session.token, None)
        session.path.unlink(missing_ok=True)

    def _status(self, session: Session) -> dict[str, Any]:
        done = session.total is not None and session.digests.size >= session.total
        ranges = [] if done else [f"{session.digests.size}-"]
        return {"expirationDateTime": stamp(session.until), "nextExpectedRanges": ranges}

    def session(self, token: str) -> Session:
        """Raises Refused 404 for one that is unknown, ended or expired."""
        with self.lock:
            self._living()
            if token not in self.sessions:
                raise failed(
                    404, "itemNotFound", "The upload session was not found.", "uploadSessionNotFound"
                )
            return self.sessions[token]

    def _addressed(self, request: Request) -> Session:
        if "Authorization" in request.headers:
            raise failed(401, "unauthenticated", "Do not send the Authorization header to the upload URL.")
        return self.session(request.params["token"])

    @route("GET", "/up/{token}")
    def session_status(self, request: Request) -> Answer:
        """What is missing."""
        return described("uploadSession", self._status(self._addressed(request)))

    @route("DELETE", "/up/{token}")
    def cancel_session(self, request: Request) -> Answer:
        """The bytes are thrown away."""
        self.drop(self._addressed(request))
        return Answer(204)

    @route("PUT", "/up/{token}")
    def fragment(self, request: Request) -> Answer:
        """Bytes in order; the last ones make the file."""
        session = self._addressed(request)
        with session.lock:
            self._range(session, request)
        with tempfile.TemporaryFile(dir=self.folder) as kept:
            for block in request.body.blocks():
                kept.write(block)
            kept.seek(0)
            return self._taken(session, request, kept)

    def _taken(self, session: Session, request: Request, kept: IO[bytes]) -> Answer:
        """A whole fragment, if it is still the next one: a slow sender keeps nobody else from sending."""
        with session.lock:
            first, last, total = self._range(session, request)
            digests = session.digests.copy()
            with session.path.open("r+b") as file:
                file.seek(first)
                while block := kept.read(1 << 20):
                    file.write(block)
                    digests.update(block)
            session.digests, session.total = digests, total
            if last + 1 < total:
                session.uneven = session.uneven or bool((last + 1 - first) % UNIT)
                return described("uploadSession", self._status(session), 202)
            if session.uneven:
                raise failed(
                    400, "invalidRequest", "A fragment was no multiple of 320 KiB.", "uploadSessionFailed"
                )
            if session.deferred:
                return described("uploadSession", self._status(session), 202)
            return self.commit(session, session.parent, session.name, session.behavior)

    def _range(self, session: Session, request: Request) -> tuple[int, int, int]:
        match = _RANGE.fullmatch(request.headers.get("Content-Range") or "")
        if match is None:
            raise failed(400, "invalidRequest", "The Content-Range header is missing or malformed.")
        first, last, total = (int(number) for number in match.groups())
        size = last + 1 - first
        if size <= 0 or last >= total:
            raise failed(400, "invalidRequest", "The Content-Range header is malformed.")
        if request.body.length != size:
            raise failed(400, "invalidRequest", "Content-Length does not match Content-Range.")
        if size >= self.fragment_limit:
            raise failed(413, "invalidRequest", "The fragment is too large.", "maxFragmentLengthExceeded")
        known = session.total if session.total is not None else session.size
        if known is not None and known != total:
            raise failed(
                400,
                "invalidRange",
                "The declared total size is another than before.",
                "fragmentLengthMismatch",
            )
        if first < session.digests.size:
            raise failed(
                416, "invalidRange", "Uploaded fragment overlaps with existing data.", "fragmentOverlap"
            )
        if first > session.digests.size:
            raise failed(416, "invalidRange", "Uploaded fragment is out of order.", "fragmentOutOfOrder")
        if self.strict_fragments and last + 1 < total and size % UNIT:
            raise failed(400, "invalidRequest", "Fragments must be multiples of 320 KiB.")
        return first, last, total

    @route("POST", "/up/{token}")
    def commit_session(self, request: Request) -> Answer:
        """Complete a deferred upload; only on business."""
        session = self._addressed(request)
        if request.data():
            raise failed(400, "invalidRequest", "The request must have no content.")
        if not self.drive.business:
            raise failed(400, "notSupported", "Complete the session by PUT with @microsoft.graph.sourceUrl.")
        with session.lock:
            return self.commit(session, session.parent, session.name, session.behavior)

    def commit(self, session: Session, parent: Item, name: str, behavior: str) -> Answer:
        """Make the file; where that is refused the session stays."""
        if session.total is None or session.digests.size < session.total or session.uneven:
            raise failed(400, "invalidRequest", "Bytes are missing.", "uploadSessionIncomplete")
        content = Content(session.path, session.digests)
        with self.lock:
            if session.token not in self.sessions:
                raise failed(
                    404, "itemNotFound", "The upload session was not found.", "uploadSessionNotFound"
                )
            item, new = self.drive.write(parent, name, content, behavior, session.info)
            del self.sessions[session.token]
        return described("driveItem", self.drive.document(item), 201 if new else 200)

    def unfinished(self) -> set[str]:
        """Names of uploads that are no file yet."""
        with self.lock:
            return {"/".join([*self.drive.names_of(s.parent), s.name]) for s in self._living()}
