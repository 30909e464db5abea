"""Large files, in parts that another worker can continue.

https://developer.box.com/guides/uploads/chunked/: Box chooses the size of a part; parts come in any order,
each with its SHA-1; a session lives for seven days.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from box_sdk_gen.schemas.upload_part import UploadPart

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind, Parcel, State
from conveyor.kit.bodies import Body, Counting, digest_of
from conveyor.kit.saved import load, save_or_undo
from conveyor.kit.waits import pause
from conveyor_connectors.box.errors import Taken
from conveyor_connectors.box.service import Service, Stored, missing, times_of

PAGE = 1000
"""Parts listed in one answer."""
LISTED_TO = 10_000
"""The last offset at which Box lists parts; it refuses one beyond with 400 (description of ``offset``)."""
LATE = 1.0
"""Seconds between two orders to commit while Box still joins the parts, where it states none."""
PATIENCE = 300.0
"""Seconds that it may take to join them."""

_LOST = frozenset({ErrorKind.SESSION_LOST})


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload session, as it is saved.

    Attributes:
        id: Of the session.
        path: Of the file, below the destination's folder.
        over: The id of the file whose content it replaces; None for a new file.
        part_size: Bytes of each part but the last.
        put, list, commit, abort: Addresses that Box named.
    """

    id: str
    path: str
    over: str | None
    part_size: int
    put: str
    list: str
    commit: str
    abort: str

    @classmethod
    def load(cls, state: State) -> Upload | None:
        """The saved session, if there is one."""
        return load(cls, state, "session")


class Sessions:
    """Sends files in parts."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._client = service.client

    def send(
        self, parcel: Parcel, folder: str, path: str, context: AttemptContext, *, over: Stored | None = None
    ) -> Stored:
        """A new file, or new content of ``over``.

        Raises:
            Taken: The name is in use.
            DeliveryError: SESSION_LOST, when a second session is gone, too.
        """
        for last in (False, True):
            resumed = self._saved(path, over, context)
            upload = resumed or self._begin(parcel, folder, path, over, context)
            try:
                there = self._listed(upload) if resumed else {}
                self._fill(parcel, upload, there, context)
                with context.phase("commit"):
                    return self._commit(parcel, upload, over, there, context)
            except Taken:
                self._drop(upload, context)
                raise
            except DeliveryError as error:
                if error.kind is ErrorKind.INTEGRITY and error.code == "precondition_failed":
                    self._drop(upload, context)  # its parts are not the file: they are sent anew
                if error.kind not in _LOST and not missing(error):
                    raise
                if error.code != "not_found":  # the folder was trashed, or Box gave the session up
                    self.abandon(upload)
                context.save(session=None)
                if last:
                    text = f"the upload session is gone: {error.message}"
                    raise DeliveryError(ErrorKind.SESSION_LOST, text, code=error.code) from None
                context.log.info("the upload session is gone; beginning again", code=error.code)
        raise AssertionError("unreachable")

    def abandon(self, upload: Upload) -> None:
        """Remove a session with its parts; one that is gone is fine."""
        try:
            self._service.call(
                "remove the upload session",
                lambda: self._client.chunked.delete_file_upload_session_by_url(self._known(upload.abort)),
            )
        except DeliveryError as error:
            if error.kind not in _LOST and not missing(error):
                raise

    def forget(self, context: AttemptContext) -> None:
        """Remove the session that is saved, if there is one: it will not be continued."""
        if (upload := Upload.load(context.state)) is not None:
            self._drop(upload, context)

    def _drop(self, upload: Upload, context: AttemptContext) -> None:
        self.abandon(upload)
        context.save(session=None)

    def _saved(self, path: str, over: Stored | None, context: AttemptContext) -> Upload | None:
        upload = Upload.load(context.state)
        if upload is None:
            return None
        if upload.path == path and upload.over == (over.id if over else None):
            return upload
        self._drop(upload, context)
        return None

    def _begin(
        self, parcel: Parcel, folder: str, path: str, over: Stored | None, context: AttemptContext
    ) -> Upload:
        name, chunked = path.rpartition("/")[2], self._client.chunked
        if over is None:
            made: Any = self._service.call(
                "begin the upload", lambda: chunked.create_file_upload_session(folder, parcel.size, name)
            )
        else:
            made = self._service.call(
                "begin the upload",
                lambda: chunked.create_file_upload_session_for_existing_file(over.id, parcel.size),
            )
        where = made.session_endpoints
        upload = Upload(
            id=str(made.id),
            path=path,
            over=over.id if over else None,
            part_size=int(made.part_size),
            put=self._known(where.upload_part),
            list=self._known(where.list_parts),
            commit=self._known(where.commit),
            abort=self._known(where.abort),
        )
        save_or_undo(lambda: context.save(session=asdict(upload)), lambda: self.abandon(upload))
        return upload

    def _known(self, url: str) -> str:
        return self._client.check_address(str(url))

    def _fill(
        self, parcel: Parcel, upload: Upload, there: dict[int, UploadPart], context: AttemptContext
    ) -> None:
        """Send the parts that are not there yet."""
        with parcel.open() as stream, context.phase("transfer"):
            for offset in range(0, parcel.size, upload.part_size):
                if offset not in there:
                    size = min(upload.part_size, parcel.size - offset)
                    there[offset] = self._part(stream, offset, size, parcel.size, upload, context)

    def _listed(self, upload: Upload) -> dict[int, UploadPart]:
        """The parts that Box holds, by offset.

        Raises:
            DeliveryError: SESSION_LOST, when Box holds more than it lists: without what it says of a part
                the part can be neither sent again nor joined.
        """
        found: dict[int, UploadPart] = {}
        while True:
            page: Any = self._service.call(
                "list the parts",
                lambda: self._client.chunked.get_file_upload_session_parts_by_url(
                    upload.list, offset=len(found), limit=PAGE
                ),
            )
            before = len(found)
            found.update({int(part.offset): part for part in page.entries or []})
            # Pages may be shorter than was asked for; one that brings nothing new is the last.
            if len(found) == before or len(found) >= (page.total_count or 0):
                return found
            if len(found) > LISTED_TO:
                text = f"Box lists no more than {len(found)} parts of the {page.total_count} that it holds"
                raise DeliveryError(ErrorKind.SESSION_LOST, text)

    def _part(
        self, stream: BinaryIO, offset: int, size: int, whole: int, upload: Upload, context: AttemptContext
    ) -> UploadPart:
        digest = base64.b64encode(digest_of(stream, offset, size, "sha1")).decode()
        body = Body(stream, offset, size, Counting(context))

        def request() -> Any:
            body.begin()
            return self._client.chunked.upload_file_part_by_url(
                upload.put,
                body,  # type: ignore[arg-type]
                f"sha={digest}",
                f"bytes {offset}-{offset + size - 1}/{whole}",
            )

        try:
            part: UploadPart = self._service.call("upload a part", request).part
        except DeliveryError as error:
            # Sent before, by a request whose answer was lost.
            if error.kind is ErrorKind.CONFLICT and (there := self._listed(upload).get(offset)) is not None:
                return there
            raise _differs(error) from None
        return part

    def _commit(
        self,
        parcel: Parcel,
        upload: Upload,
        over: Stored | None,
        there: Mapping[int, UploadPart],
        context: AttemptContext,
    ) -> Stored:
        parts = [there[offset] for offset in sorted(there)]
        digest = base64.b64encode(bytes.fromhex(parcel.digests["sha1"])).decode()
        end, ordered = time.monotonic() + PATIENCE, False
        times, etag = times_of(parcel), over.etag if over else None

        def order() -> Any:
            return self._client.commit(upload.commit, parts, f"sha={digest}", times, etag)

        while True:
            context.before_commit()
            try:
                answer = self._service.call("join the parts", order, sent=lambda: True)
                if answer is not None:
                    return self._service.checked(answer, parcel)
                ordered = True
            except DeliveryError as error:
                if ordered and missing(error):  # it went on without us; who looks finds the file
                    raise _unknown(f"{error.message}, which was to be joined") from None
                # Right after the last part Box may not have counted them all.
                if error.code != "parts_mismatch":
                    raise (error if over else _differs(error)) from None
                if time.monotonic() > end:
                    raise DeliveryError(ErrorKind.SESSION_LOST, error.message, code=error.code) from None
            if time.monotonic() > end:
                raise _unknown(f"Box has not joined the parts within {PATIENCE:.0f} s")
            pause(self._client.stated_delay() or LATE, context)


def _unknown(text: str) -> DeliveryError:
    """Without Box's code: by ``not_found`` it would count as a session that is gone."""
    return DeliveryError(ErrorKind.UNKNOWN_OUTCOME, text)


def _differs(error: DeliveryError) -> DeliveryError:
    """Without If-Match the precondition that failed is the digest's."""
    if error.code != "precondition_failed":
        return error
    return DeliveryError(ErrorKind.INTEGRITY, error.message, code=error.code)
