"""Routes of upload sessions."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Any

from servers.standins.box.errors import invalid, refused
from servers.standins.box.folders import Folders
from servers.standins.box.items import Item, key, when
from servers.standins.box.service import CHOSEN, UPLOAD, Call, operation
from servers.standins.box.sessions import Session, digest_header, stored
from servers.standins.messages import Answer

SESSIONS = "/files/upload_sessions"
ONE = SESSIONS + "/{upload_session_id}"
_ID = re.compile(r"[0-9A-F]{32}")


class Chunked(Folders):
    """The routes."""

    @operation("POST", SESSIONS, UPLOAD)
    def create_session(self, call: Call) -> Answer:
        """A session for a new file; name, size and quota are checked now, and again at the commit."""
        if not call.body["folder_id"].isdigit():
            raise invalid("folder_id", "Invalid value", "invalid_folder_id")
        with self.lock:
            folder = self.check_place(call.body["folder_id"], call.body["file_name"])
            return self._open(call, folder, call.body["file_name"], None)

    @operation("POST", "/files/{file_id}/upload_sessions", UPLOAD)
    def create_version_session(self, call: Call) -> Answer:
        """A session for new content of a file."""
        with self.lock:
            item = self.tree.find("file", call.id)
            assert item.parent is not None
            self.check_folder(item.parent)
            name = call.body.get("file_name", item.name)
            self.tree.check_name(name)
            self.tree.check_free(item.parent, name, self.file_conflicts, item)
            return self._open(call, item.parent, name, item)

    def _open(self, call: Call, folder: Item, name: str, file: Item | None) -> Answer:
        size = call.body["file_size"]
        if size < self.chunked_floor:
            raise refused("file_size_too_small")
        self.check_size(size)
        number, until = secrets.token_hex(16).upper(), self.now() + self.session_life
        session = Session(number, folder, name, size, self.part_size, until, call.account, file)
        self.sessions[number] = session
        return Answer(201, self._described(call, session))

    def _described(self, call: Call, session: Session) -> dict[str, Any]:
        # By the name that the client came by, so that a proxy in between stays in between.
        scheme = self.url.partition("://")[0]
        base = f"{scheme}://{call.header('host')}{CHOSEN}{SESSIONS}/{session.id}"
        where = {
            "upload_part": base, "commit": base + "/commit", "abort": base,
            "list_parts": base + "/parts", "status": base, "log_event": base + "/log",
        }  # fmt: skip
        return {
            "id": session.id,
            "type": "upload_session",
            "session_expires_at": when(session.until),
            "part_size": session.part_size,
            "total_parts": session.total_parts,
            "num_parts_processed": len(session.parts),
            "session_endpoints": where,
        }

    def _session(self, call: Call) -> Session:
        """Raises:
        Refused: 400 for an id of another form, 404 for one that is over, 410 when its time is up, 403.
        """
        if not _ID.fullmatch(call.id):
            raise refused("invalid_upload_session_id")
        session = self.sessions.get(call.id)
        if session is None or (self.only_server_urls and not call.request.path.startswith(CHOSEN)):
            raise refused("not_found")
        if session.until <= self.now():
            raise refused("session_expired")
        if session.owner != call.account:
            raise refused("forbidden")
        if session.id in self.broken and call.request.method != "DELETE":
            raise refused("upload_failed")
        return session

    def _running(self, call: Call) -> Session:
        session = self._session(call)
        if session.result is not None:
            raise refused("not_found")
        return session

    @operation("GET", ONE, UPLOAD, CHOSEN)
    def get_session(self, call: Call) -> Answer:
        """How far it got."""
        with self.lock:
            return Answer(200, self._described(call, self._running(call)))

    @operation("PUT", ONE, UPLOAD, CHOSEN)
    def upload_part(self, call: Call) -> Answer:
        """One part, whole, with its digest; once."""
        digest = digest_header(call.header("digest") or "")
        with self.lock:
            session = self._running(call)
            offset, size = session.place(call.header("content-range") or "")
            if offset in session.parts:
                raise refused("conflict", "The part overlaps with a part that was uploaded before")
        kept = stored(call.request.body.blocks(), self.folder)
        try:
            if kept.size != size:
                raise refused("requested_range_not_satisfiable")
            if kept.sha1 != digest:
                raise refused("precondition_failed", "The digest does not match the part")
            with self.lock:
                part = self._running(call).add(offset, kept)
        except BaseException:
            kept.path.unlink(missing_ok=True)
            raise
        return Answer(200, {"part": part.shown()})

    @operation("GET", ONE + "/parts", UPLOAD, CHOSEN)
    def list_parts(self, call: Call) -> Answer:
        """What has arrived, by offset."""
        start, limit = call.query.get("offset", 0), call.query.get("limit", 1000)
        if start > self.listed_to:
            raise invalid("offset", "Offset exceeds the maximum", "invalid_offset")
        with self.lock:
            session = self._running(call)
            shown = [session.parts[offset].shown() for offset in sorted(session.parts)]
        page = {"total_count": len(shown), "limit": limit, "offset": start}
        order = [{"by": "type", "direction": "ASC"}]
        return Answer(200, {"entries": shown[start : start + limit], "order": order, **page})

    @operation("DELETE", ONE, UPLOAD, CHOSEN)
    def abort_session(self, call: Call) -> Answer:
        """All that was uploaded is gone."""
        with self.lock:
            session = self._running(call)
            if session.committing:
                raise refused("operation_blocked_temporary")
            del self.sessions[session.id]
            session.discard()
        return Answer(204)

    @operation("POST", ONE + "/commit", UPLOAD, CHOSEN)
    def commit(self, call: Call) -> Answer:
        """Join the parts; 202 or 400 parts_mismatch first, as often as is set."""
        digest = digest_header(call.header("digest") or "")
        with self.lock:
            session = self._session(call)
            if session.result is not None:
                if not self.commit_again:
                    raise refused("not_found")
                return self.one(201, session.result, call)
            if session.committing:
                raise refused("operation_blocked_temporary")
            if session.answered_late < self.mismatches + self.put_off:
                session.answered_late += 1
                if session.answered_late <= self.mismatches:
                    raise refused("parts_mismatch")
                return Answer(202, headers={"Retry-After": str(self.retry_after)})
            session.check_parts(call.body["parts"])
            self._check_end(call, session)
            session.committing = True
        try:
            if session.digest() != digest:
                raise refused("precondition_failed", "The digest does not match the file")
            return self._finish(call, session, digest)
        finally:
            session.committing = False

    def _check_end(self, call: Call, session: Session) -> None:
        """What was checked at the start may be otherwise now."""
        self.check_etag(call, session.file)
        if session.folder.gone or (session.file is not None and session.file.gone):
            raise refused("trashed")
        self.check_folder(session.folder)
        self.check_size(session.size)
        self.tree.check_free(session.folder, session.name, self.file_conflicts, session.file)
        self.tree.check_reserved(session.folder, session.name)

    def _finish(self, call: Call, session: Session, digest: str) -> Answer:
        given = call.body.get("attributes", {})
        times = self.times(given)
        mine = session.folder.id, key(session.name)
        with self.lock:
            self._check_end(call, session)
            if session.file is not None:  # under the lock, so that If-Match holds for two commits at once
                return self._placed(call, session, session.join(), digest, times)
            self.tree.reserved.add(mine)
        try:
            content = session.join()
            with self.lock:
                return self._placed(call, session, content, digest, times)
        finally:
            with self.lock:
                self.tree.reserved.discard(mine)

    def _placed(
        self, call: Call, session: Session, content: Path, digest: str, times: dict[str, float]
    ) -> Answer:
        item = session.file
        if item is None:
            known = {"content": content, "size": session.size, "sha1": digest}
            item = self.tree.add(session.folder, session.name, **known, **times)
        else:
            if session.name != item.name:
                self.tree.place(item, session.folder, session.name)
            self.tree.renew(item, content, session.size, digest, times.get("content_changed"))
        session.result = item
        session.discard()
        return self.one(201, item, call)
