"""One delivery: temporary file, verification, publication by MOVE; and what earlier attempts left."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from conveyor.contract import (
    AttemptContext,
    ConflictPolicy,
    DeliveryError,
    ErrorKind,
    Parcel,
    Receipt,
    State,
    Target,
)
from conveyor.kit.naming import saved_candidates
from conveyor.kit.turns import Turns
from conveyor_connectors.webdav import names
from conveyor_connectors.webdav.chunks import folder_of
from conveyor_connectors.webdav.client import Answer
from conveyor_connectors.webdav.dav import Dav, outcome_unknown
from conveyor_connectors.webdav.errors import of_answer
from conveyor_connectors.webdav.folders import Folders
from conveyor_connectors.webdav.upload import Uploader

_publishing = Turns()

_PAUSES = (0.0, 0.05, 0.1, 0.2)
"""Seconds before each try to remove the temporary file of a failed attempt."""


class Placer:
    """Places parcels by their conflict policy.

    Args:
        dav: The server.
        folders: Makes folders on it.
        uploader: Fills temporary files.
    """

    def __init__(self, dav: Dav, folders: Folders, uploader: Uploader) -> None:
        self._dav = dav
        self._folders = folders
        self._uploader = uploader

    def place(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        """Deliver, or raise and leave nothing visible.

        Raises:
            DeliveryError: as the contract says; CONFLICT under ``fail``.
        """
        names.check(target.path)
        if (done := self.earlier(parcel, target, context)) is not None:
            return done
        if (taken := self._taken_already(target, context)) is not None:
            return taken
        temporary = self._prepare(parcel, target, context)
        with self._discarded_on_failure(temporary, context):
            with context.phase("transfer"):
                verified, digest = self._uploader.fill(parcel, temporary, context)
            with context.phase("commit"):
                path, answer = self._publish(parcel, target, temporary, context)
        if path is None:
            self._dav.remove(self._dav.file_at(temporary), context)
            return self._taken(target, context)
        return self._receipt(parcel, target, path, verified, digest, answer)

    def earlier(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt | None:
        """The receipt, when an earlier attempt of this delivery arrived although nobody heard of it.

        Its temporary file and its chunks are gone: it was renamed, or never was. So the bytes at the chosen
        name decide, by the checksum that the server keeps with a file, or read back.
        """
        temporary, path = context.state.get("temporary"), context.state.get("path")
        if not isinstance(temporary, str) or not isinstance(path, str):
            return None
        if self._is_there(temporary, context):
            return None
        digest = self.same_bytes(parcel, path, context)
        if digest is None:
            return None
        self.clear(context.state, context)
        return self._receipt(parcel, target, path, digest.partition(":")[0], digest, None)

    def _is_there(self, temporary: str, context: AttemptContext) -> bool:
        """Of a file that another worker's request still writes, rclone says 500: it is there."""
        try:
            return self._dav.stat(temporary, context) is not None
        except DeliveryError as error:
            if error.code == "500":
                return True
            raise

    def same_bytes(self, parcel: Parcel, path: str, context: AttemptContext) -> str | None:
        """``algorithm:hex`` when the file at ``path`` is the payload byte for byte, else None."""
        there = self._dav.stat(path, context)
        if there is None or there.is_folder or there.size not in (None, parcel.size):
            return None
        for name in ("sha256", "sha1"):
            if name in there.checksums and name in parcel.digests:
                same = there.checksums[name] == parcel.digests[name]
                return f"{name}:{parcel.digests[name]}" if same else None
        sha256 = parcel.digests["sha256"]
        return f"sha256:{sha256}" if self._dav.sha256(path, context) == sha256 else None

    def clear(self, state: State, context: AttemptContext) -> None:
        """Remove the temporary file and the chunks that ``state`` remembers; nothing there is no matter."""
        temporary, chunks = state.get("temporary"), folder_of(state)
        if chunks is not None:
            self._dav.remove(f"{chunks}/", context)
        if isinstance(temporary, str):
            self._dav.remove(self._dav.file_at(temporary), context)

    # --- before the transfer ----------------------------------------------------------------------

    def _taken_already(self, target: Target, context: AttemptContext) -> Receipt | None:
        if target.conflict not in (ConflictPolicy.SKIP, ConflictPolicy.FAIL):
            return None
        return self._taken(target, context) if self._dav.stat(target.path, context) else None

    def _taken(self, target: Target, context: AttemptContext) -> Receipt:
        """What ``skip`` and ``fail`` answer to a name that is taken."""
        if target.conflict is ConflictPolicy.FAIL:
            raise DeliveryError(ErrorKind.CONFLICT, f"{target.path} exists already")
        there = self._dav.stat(target.path, context)
        size = there.size if there is not None else None
        url = self._dav.url_of(target.path)
        return Receipt(url, size, verified="skipped", path=target.path, skipped=True)

    def _prepare(self, parcel: Parcel, target: Target, context: AttemptContext) -> str:
        """Save the temporary name before it exists; returns it.

        An upload in chunks is bound to its name, so that the next worker continues under the same one. All
        others are this attempt's alone, and what earlier ones left goes.
        """
        saved = context.state.get("temporary")
        if self._uploader.chunked(parcel) and folder_of(context.state) and isinstance(saved, str):
            return saved
        if saved is not None:
            context.abandon_later(temporary=saved)
        with contextlib.suppress(DeliveryError):
            self.clear(context.state, context)
        temporary = names.temporary(target.path, parcel.delivery_id, context.fence)
        path = context.state.get("path", target.path)
        context.save(temporary=temporary, path=path, upload=None, chunk=None)
        return temporary

    @contextlib.contextmanager
    def _discarded_on_failure(self, temporary: str, context: AttemptContext) -> Iterator[None]:
        """Leave nothing behind but chunks, to be continued, and what the server may rename yet."""
        try:
            yield
        except BaseException as error:
            unknown = isinstance(error, DeliveryError) and error.kind is ErrorKind.UNKNOWN_OUTCOME
            if not unknown and folder_of(context.state) is None:
                self._discard(temporary)
            raise

    def _discard(self, temporary: str) -> None:
        """Remove what a failed attempt wrote.

        The server may still be busy with the request that was cut: rclone answers 423 meanwhile, or has not
        made the file yet. What it makes later goes with the next attempt, or by ``abandon``.
        """
        for pause in _PAUSES:
            time.sleep(pause)
            with contextlib.suppress(DeliveryError):
                if self._dav.remove(self._dav.file_at(temporary), Ending()):
                    return

    # --- publication ------------------------------------------------------------------------------

    def _publish(
        self, parcel: Parcel, target: Target, temporary: str, context: AttemptContext
    ) -> tuple[str | None, Answer]:
        """MOVE to the final name; the path is None when ``skip`` or ``fail`` met a taken one."""
        if target.conflict is ConflictPolicy.OVERWRITE:
            return target.path, self._replace(target.path, temporary, context)
        answer = Answer(412, {})
        for path in saved_candidates(parcel, target, context, names.NUMBERED):
            answer = self._create(temporary, path, context)
            if answer.done:
                self._expect_own(parcel, path, context)
                return path, answer
            if target.conflict is not ConflictPolicy.RENAME:
                return None, answer
        raise DeliveryError(ErrorKind.CONFLICT, f"every name tried for {target.path} is taken")

    def _create(self, temporary: str, path: str, context: AttemptContext) -> Answer:
        """Rename where nothing stands, or 412.

        Apache and others look first and rename then: two requests at the same instant can both succeed. So
        the threads of this process take turns, and what another process did is looked for afterwards.
        """
        with _publishing.take(self._dav.url_of(path), context.check):
            return self._rename(temporary, path, context, overwrite=False)

    def _expect_own(self, parcel: Parcel, path: str, context: AttemptContext) -> None:
        """Notice when another process renamed to the same name in the same instant: its file stands there.

        The file that it replaced is sent again, under another name. A file that is gone already was
        fetched by its reader. A name with the delivery's id in it is no other delivery's.

        Raises:
            DeliveryError: TRANSIENT.
        """
        if parcel.delivery_id in path:
            return
        there = self._dav.stat(path, context)
        if there is None or there.size is None or there.size == parcel.size:
            return
        raise DeliveryError(
            ErrorKind.TRANSIENT,
            f"another writer took the name {path} in the same instant and replaced the file",
        )

    def _replace(self, path: str, temporary: str, context: AttemptContext) -> Answer:
        """Rename over a file, never over a folder: ``Overwrite: T`` would remove all that is in it.

        RFC 4918 §9.9.3. So the server is first asked without.
        """
        answer = self._rename(temporary, path, context, overwrite=False)
        if answer.done:
            return answer
        there = self._dav.stat(path, context)
        if there is not None and there.is_folder:
            raise DeliveryError(ErrorKind.NAME, f"a folder stands where the file {path} is needed")
        answer = self._rename(temporary, path, context, overwrite=True)
        if answer.done:
            return answer
        raise of_answer(answer, f"rename to {path}")

    def _rename(self, temporary: str, path: str, context: AttemptContext, *, overwrite: bool) -> Answer:
        """One MOVE: done, or 412 because the name is taken.

        Raises:
            DeliveryError: anything else; UNKNOWN_OUTCOME when a gateway gave up on it.
        """
        context.before_commit()
        source, destination = self._dav.file_at(temporary), self._dav.file_at(path)
        answer = self._dav.move(source, destination, context, overwrite=overwrite)
        if answer.done or answer.status == 412:
            return answer
        error = of_answer(answer, f"rename to {path}")
        if outcome_unknown(answer):
            error.kind = ErrorKind.UNKNOWN_OUTCOME
        if answer.status in (404, 409, 500):
            self._folders.forget()
            error.kind = ErrorKind.TRANSIENT
        raise error

    def _receipt(
        self,
        parcel: Parcel,
        target: Target,
        path: str,
        verified: str,
        digest: str | None,
        answer: Answer | None,
    ) -> Receipt:
        headers = answer.headers if answer is not None else {}
        etag = (headers.get("OC-ETag") or headers.get("ETag") or "").removeprefix("W/").strip('"')
        return Receipt(
            reference=self._dav.url_of(path),
            size=parcel.size,
            digest=digest,
            verified=verified,
            version=etag[:200] or None,
            path=path,
            renamed=path != target.path,
        )


class Ending:
    """The limits of the last request of an attempt that has failed: nothing stops it but its own time."""

    def check(self) -> None:
        """Go on."""

    def remaining(self) -> float:
        """Seconds for removing the temporary file."""
        return 5.0
