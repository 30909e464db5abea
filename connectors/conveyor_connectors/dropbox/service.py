"""Dropbox's operations as the connector needs them: each one request, its errors the contract's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from dropbox import files

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind, Parcel
from conveyor.kit.bodies import Body, Counting, Publishing
from conveyor.kit.digests import new_hasher
from conveyor_connectors.dropbox.client import Client
from conveyor_connectors.dropbox.errors import Taken, classify, conflict, correct_offset, kept_in, rejected

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Stored:
    """A file at Dropbox.

    Attributes:
        hash: Its content hash, hex (https://www.dropbox.com/developers/reference/content-hash).
        modified: When its client says it was changed; whole seconds since the epoch.
    """

    id: str
    path: str
    rev: str
    size: int
    hash: str
    modified: int | None

    def holds(self, parcel: Parcel) -> bool:
        """It has the parcel's bytes."""
        return self.size == parcel.size and self.hash == parcel.digests["dropbox"]

    def written_for(self, parcel: Parcel) -> bool:
        """It has the parcel's bytes and its time of submission, as an upload of this delivery would."""
        return self.holds(parcel) and self.modified == int(parcel.submitted_at)


class Offset(Exception):
    """The session stands elsewhere. Never leaves the connector."""

    def __init__(self, correct: int) -> None:
        super().__init__(correct)
        self.correct = correct


class Service:
    """Requests to Dropbox, for one attempt: none waits longer than the attempt may take.

    Attributes:
        kept: The session with the bytes of an upload that Dropbox has read and could not commit.
    """

    def __init__(self, client: Client, context: AttemptContext) -> None:
        self._client = client
        self._context = context
        self.kept: str | None = None

    def call(
        self, doing: str, request: Callable[[], _Answer], *, sent: Callable[[], bool] | None = None
    ) -> _Answer:
        """Make a request; once more with another token when Dropbox rejects the first.

        Raises:
            Taken: Something stands under the path.
            Offset: The session stands elsewhere.
            DeliveryError: Anything else.
        """
        self._client.limit(self._context.remaining())
        try:
            try:
                return request()
            except Exception as error:
                if not rejected(error):
                    raise
            self._client.renew()
            return request()
        except Exception as error:
            self.kept = kept_in(error) or self.kept
            if (taken := conflict(error)) is not None:
                raise taken from None
            if (offset := correct_offset(error)) is not None:
                raise Offset(offset) from None
            delay = self._client.stated_delay()
            raise classify(error, doing, sent=sent() if sent else False, delay=delay) from None

    # --- looking ---------------------------------------------------------------------------------

    def look(self, path: str) -> Stored | str | None:
        """The file at a path, ``"folder"``, or None."""
        try:
            found: Any = self.call("look at the path", lambda: self._client.files_get_metadata(path))
        except DeliveryError as error:
            if error.code == "not_found":
                return None
            raise
        return stored(found) if isinstance(found, files.FileMetadata) else "folder"

    # --- changing --------------------------------------------------------------------------------

    def upload(self, parcel: Parcel, commit: files.CommitInfo, context: AttemptContext) -> Stored:
        """A whole file in one request.

        Raises:
            Taken: Something stands under the path.
            DeliveryError: Anything else. After either, ``kept`` may name a session with the bytes.
        """
        with parcel.open() as stream, context.phase("transfer"):
            body = Body(stream, 0, parcel.size, Publishing(context))

            def request() -> Any:
                body.begin()
                if not parcel.size:
                    context.before_commit()  # there is no last byte to wait for
                with self._client.sending(body) as data:
                    return self._client.files_upload(
                        data,
                        commit.path,
                        mode=commit.mode,
                        client_modified=commit.client_modified,
                        strict_conflict=commit.strict_conflict,
                        content_hash=parcel.digests["dropbox"],
                    )

            return self.checked(self.call("upload the file", request, sent=lambda: body.finished), parcel)

    def begin(self, parcel: Parcel, size: int, context: AttemptContext) -> str:
        """A session with its first ``size`` bytes; returns its id."""
        whole = size == parcel.size

        def request(data: bytes, digest: str) -> Any:
            return self._client.files_upload_session_start(data, close=whole, content_hash=digest)

        made: Any = self._chunk(parcel, 0, size, request, "begin the upload", context)
        return str(made.session_id)

    def append(self, parcel: Parcel, session: str, offset: int, size: int, context: AttemptContext) -> None:
        """The next bytes of a session.

        Raises:
            Offset: It stands elsewhere.
        """
        cursor = files.UploadSessionCursor(session, offset)
        last = offset + size == parcel.size

        def request(data: bytes, digest: str) -> Any:
            return self._client.files_upload_session_append_v2(data, cursor, close=last, content_hash=digest)

        self._chunk(parcel, offset, size, request, "upload a chunk", context)

    def _chunk(
        self,
        parcel: Parcel,
        offset: int,
        size: int,
        request: Callable[[bytes, str], _Answer],
        doing: str,
        context: AttemptContext,
    ) -> _Answer:
        with parcel.open() as stream, context.phase("transfer"):
            digest = _hash(Body(stream, offset, size, Counting(context), sending=False))
            body = Body(stream, offset, size, Counting(context))

            def send() -> _Answer:
                body.begin()
                with self._client.sending(body) as data:
                    return request(data, digest)

            return self.call(doing, send)

    def standing(self, session: str, size: int) -> int:
        """How many bytes a session holds; ``size``, all of them, where it takes no more.

        Raises:
            DeliveryError: SESSION_LOST, when it is gone.
        """
        cursor = files.UploadSessionCursor(session, 0)
        try:
            self.call(
                "ask how far the upload got",
                lambda: self._client.files_upload_session_append_v2(b"", cursor),
            )
        except Offset as offset:
            return offset.correct
        except DeliveryError as error:
            if error.code != "closed":
                raise
            return size  # whole, or a file already: finishing tells which
        return 0

    def finish(
        self, parcel: Parcel, session: str, commit: files.CommitInfo, context: AttemptContext
    ) -> Stored:
        """Make a session's bytes a file.

        Raises:
            Taken: Something stands under the path; the session stays.
        """
        cursor = files.UploadSessionCursor(session, parcel.size)

        def request() -> Any:
            context.before_commit()
            return self._client.files_upload_session_finish(b"", cursor, commit)

        try:
            with context.phase("commit"):
                return self.checked(self.call("commit the file", request, sent=lambda: True), parcel)
        except Offset as stands:
            text = f"the upload session ended with {stands.correct} of {parcel.size} bytes"
            raise DeliveryError(ErrorKind.SESSION_LOST, text) from None

    def checked(self, answer: Any, parcel: Parcel) -> Stored:
        """The file that an upload answers with, which must be what was sent.

        Raises:
            DeliveryError: INTEGRITY; the file is removed, unless somebody has changed it since.
        """
        made = stored(answer)
        if not made.holds(parcel):
            self.delete(made.id, made.rev)
            text = (
                f"Dropbox holds {made.size} bytes with content hash {made.hash}, which is not what was sent"
            )
            raise DeliveryError(ErrorKind.INTEGRITY, text)
        return made

    def make_folder(self, path: str) -> None:
        """A folder; one that is there is fine."""
        try:
            self.call("create the folder", lambda: self._client.files_create_folder_v2(path))
        except Taken as taken:
            if taken.kind != "folder":
                raise DeliveryError(ErrorKind.NAME, f"a file is where the folder {path} should be") from None

    def delete(self, path: str, rev: str | None = None) -> None:
        """Remove a file by path or id, of that revision where one is given; one that is gone is fine."""
        try:
            self.call("delete the file", lambda: self._client.files_delete_v2(path, parent_rev=rev))
        except Taken:
            return  # another revision by now, which is not ours to remove
        except DeliveryError as error:
            if error.code != "not_found":
                raise


def commit_of(parcel: Parcel, path: str, *, overwrite: bool) -> files.CommitInfo:
    """How a parcel is committed: under that path alone, with its time of submission."""
    modified = datetime.fromtimestamp(int(parcel.submitted_at), UTC).replace(tzinfo=None)
    mode = files.WriteMode.overwrite if overwrite else files.WriteMode.add
    return files.CommitInfo(path, mode=mode, client_modified=modified, strict_conflict=not overwrite)


def stored(found: Any) -> Stored:
    """The SDK's file as ours."""
    modified = found.client_modified
    return Stored(
        str(found.id),
        str(found.path_display or found.path_lower or found.name),
        str(found.rev),
        int(found.size),
        str(found.content_hash),
        None if modified is None else int(modified.replace(tzinfo=UTC).timestamp()),
    )


def _hash(body: Body) -> str:
    hasher = new_hasher("dropbox")
    for block in body:
        hasher.update(block)
    return hasher.hexdigest()
