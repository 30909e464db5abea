"""Calls that bring bytes to Dropbox."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from dropbox import files

from servers.standins.dropbox.calls import Calls
from servers.standins.dropbox.described import answered, call, failed
from servers.standins.dropbox.sessions import Session, lookup
from servers.standins.dropbox.state import BLOCK, Content, Entry, Failed, kept
from servers.standins.messages import Answer, Refused, Request


class Uploads(Calls):
    """Whole files and sessions."""

    @call(files.upload)
    def upload(self, request: Request) -> Answer:
        """A whole file in one request."""
        argument = self.called(request, files.upload)
        content = self._received(request, argument, files.upload, files.UploadError)
        try:
            entry = self.written(
                request, argument.path, lambda tree, path: tree.commit(path, argument, content)
            )
        except Failed as refused:
            # files.stone, UploadWriteFailed: the data waits in a session, to be committed by finish.
            session = self._session()
            session.append(0, content)
            session.closed = True
            reason = files.UploadWriteFailed(refused.error, session.id)
            raise failed(files.upload, files.UploadError.path(reason)) from None
        return answered(files.upload, entry.metadata())

    def _received(self, request: Request, argument: Any, where: Any, errors: Any) -> Content:
        """The request's bytes, which are not too many, and those that were meant."""
        if request.body.length is not None and request.body.length > self.upload_limit:
            raise failed(where, errors.payload_too_large)
        content = kept(request.body.blocks(), self.folder)
        wrong = None
        if content.size > self.upload_limit:
            wrong = errors.payload_too_large
        elif argument.content_hash is not None and argument.content_hash != content.hash:
            wrong = errors.content_hash_mismatch
        if wrong is not None:
            content.path.unlink()
            raise failed(where, wrong)
        return content

    def _session(self, *, concurrent: bool = False) -> Session:
        number, path = "pid_upload_session:" + secrets.token_urlsafe(18), self.folder / secrets.token_hex(8)
        path.touch()
        made = Session(number, path, self.now() + self.session_life, concurrent=concurrent)
        with self.lock:
            self.sessions[number] = made
        return made

    @call(files.upload_session_start)
    def session_start(self, request: Request) -> Answer:
        """A session, with its first bytes."""
        where, errors = files.upload_session_start, files.UploadSessionStartError
        argument = self.called(request, where)
        content = self._received(request, argument, where, errors)
        concurrent = argument.session_type is not None and argument.session_type.is_concurrent()
        if concurrent and content.size:
            raise failed(where, errors.concurrent_session_data_not_allowed)
        if concurrent and argument.close:
            raise failed(where, errors.concurrent_session_close_not_allowed)
        session = self._session(concurrent=concurrent)
        with session.lock:
            session.append(0, content)
            session.closed = argument.close
        return answered(where, files.UploadSessionStartResult(session.id))

    @call(files.upload_session_start_batch)
    def session_start_batch(self, request: Request) -> Answer:
        """Empty sessions."""
        where = files.upload_session_start_batch
        argument = self.called(request, where)
        concurrent = argument.session_type is not None and argument.session_type.is_concurrent()
        made = [self._session(concurrent=concurrent).id for _ in range(argument.num_sessions)]
        return answered(where, files.UploadSessionStartBatchResult(made))

    def _lookup(self, number: str, errors: Callable[..., Refused]) -> Session:
        """The session.

        Raises:
            Refused: There is none, or it has ended, or has become a file.
        """
        session = self.sessions.get(number)
        if session is None or session.until <= self.now():
            raise errors("not_found")
        if session.committed:
            raise errors(self.after_commit)
        return session

    @call(files.upload_session_append_v2)
    def session_append(self, request: Request) -> Answer:
        """More bytes."""
        where = files.upload_session_append_v2
        argument = self.called(request, where)
        errors = _errors(where)
        content = self._received(request, argument, where, files.UploadSessionAppendError)
        try:
            session = self._lookup(argument.cursor.session_id, errors)
            with session.lock:
                self._lookup(session.id, errors)  # another request may have ended it meanwhile
                if self.closed_before_offset:
                    session.check_open(errors)
                session.check_offset(argument.cursor.offset, errors)
                session.check_open(errors)
                if session.concurrent and content.size % BLOCK and not argument.close:
                    raise errors("concurrent_session_invalid_data_size")
                self._add(session, argument.cursor.offset, content, errors)
                session.closed = argument.close
        finally:
            content.path.unlink(missing_ok=True)
        return answered(where, None)

    def _add(self, session: Session, offset: int, content: Content, errors: Callable[..., Refused]) -> None:
        if offset + content.size > self.max_file:
            raise errors("too_large")
        session.append(offset, content)

    @call(files.upload_session_finish)
    def session_finish(self, request: Request) -> Answer:
        """The last bytes, and the commit. When it fails, the session stays and can be committed again."""
        where = files.upload_session_finish
        argument = self.called(request, where)
        content = self._received(request, argument, where, files.UploadSessionFinishError)
        try:
            entry = self._finish(request, argument, content)
        except Unfinished as unfinished:
            raise failed(where, unfinished.error) from None
        finally:
            content.path.unlink(missing_ok=True)
        return answered(where, entry.metadata())

    @call(files.upload_session_finish_batch_v2)
    def session_finish_batch(self, request: Request) -> Answer:
        """Commits of sessions that are closed, each with its own outcome."""
        where, entry = files.upload_session_finish_batch_v2, files.UploadSessionFinishBatchResultEntry
        argument = self.called(request, where)
        outcomes = []
        for one in argument.entries:
            try:
                outcomes.append(entry.success(self._finish(request, one, None).metadata()))
            except Unfinished as unfinished:
                outcomes.append(entry.failure(unfinished.error))
        return answered(where, files.UploadSessionFinishBatchResult(outcomes))

    def _finish(
        self, request: Request, argument: files.UploadSessionFinishArg, content: Content | None
    ) -> Entry:
        """Make a session a file; without content as one of a batch, which wants it closed.

        Raises:
            Unfinished: With the call's error; bytes that came with the request are in the session by then.
            Refused: Contention.
        """
        kind, cursor = files.UploadSessionFinishError, argument.cursor
        word = lookup(files.upload_session_finish)

        def errors(tag: str, value: Any = None) -> Unfinished:
            return Unfinished(word(tag, value))

        session = self._lookup(cursor.session_id, errors)
        with session.lock:
            self._lookup(session.id, errors)
            if not session.concurrent or cursor.offset != session.size:
                session.check_offset(cursor.offset, errors)
            if content is None and not session.closed:
                raise errors("not_closed")
            if session.concurrent:
                _check_concurrent(session, content)
            elif content is not None and content.size:
                session.check_open(errors)
            try:
                number, path = self.at(request, argument.commit.path)
                with self.committing(number) as busy:
                    if content is not None and content.size:
                        self._add(session, cursor.offset, content, errors)
                    if busy is not None:
                        raise Failed(busy)
                    whole = session.content()
                    with self.lock:
                        entry = self.trees[number].commit(path, argument.commit, whole)
            except Failed as refused:
                if refused.error.is_too_many_write_operations() and content is None:
                    raise Unfinished(kind.too_many_write_operations) from None
                raise Unfinished(kind.path(refused.error)) from None
            session.committed = True
        return entry


class Unfinished(Refused):
    """A commit that failed, with its :class:`files.UploadSessionFinishError`."""

    def __init__(self, error: Any) -> None:
        super().__init__(409)
        self.error = error


def _check_concurrent(session: Session, content: Content | None) -> None:
    """files.stone, UploadSessionFinishError: what concurrent sessions want."""
    kind = files.UploadSessionFinishError
    if content is not None and content.size:
        raise Unfinished(kind.concurrent_session_data_not_allowed)
    if not session.closed:
        raise Unfinished(kind.concurrent_session_not_closed)
    if not session.complete:
        raise Unfinished(kind.concurrent_session_missing_data)


def _errors(where: Any) -> Callable[..., Refused]:
    word = lookup(where)

    def errors(tag: str, value: Any = None) -> Refused:
        return failed(where, word(tag, value))

    return errors
