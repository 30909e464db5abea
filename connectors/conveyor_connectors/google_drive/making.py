"""One file made, or renewed: once, whatever becomes of the answers.

What stands in the delivery's state: ``id`` of the file, ``path`` and ``folder`` that it is made at, and
``upload`` while one is under way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind, Parcel, State
from conveyor_connectors.google_drive.service import OWN, Service, Stored, body_of, missing, stamp
from conveyor_connectors.google_drive.sessions import Sessions, Upload
from conveyor_connectors.google_drive.single import SMALL, Single


class Maker:
    """Makes files.

    Args:
        service: Asked in this attempt.
        chunk: Bytes of a file sent at a time; what is no larger, nor than SMALL, goes by one request.
    """

    def __init__(self, service: Service, chunk: int) -> None:
        self._service = service
        self._small = min(SMALL, chunk)
        self._single = Single(service)
        self._sessions = Sessions(service, chunk)

    def earlier(self, parcel: Parcel, state: State) -> Stored | None:
        """The file that an earlier attempt of this delivery has made, under the id that it saved, wherever
        it lies by now: in the trash, too.
        """
        number = state.get("id")
        return self._own(number, parcel) if isinstance(number, str) else None

    def create(self, folder: str, path: str, parcel: Parcel, context: AttemptContext) -> Stored:
        """A new file.

        Raises:
            DeliveryError: INTEGRITY, when Drive holds other bytes; they are removed.
        """
        name = path.rpartition("/")[2]
        for _ in range(2):
            number = self._planned(folder, path, context)
            try:
                return self._made(body_of(parcel, number, folder, name), None, parcel, context)
            except DeliveryError as error:
                if error.code != "fileIdInUse":
                    raise
            if (own := self._own(number, parcel)) is not None:
                return own
            # Under our id is nothing any more, or what an attempt has left that ended otherwise.
            self.forget(context)
        raise DeliveryError(ErrorKind.TRANSIENT, "Drive calls a new id a used one")

    def renew(self, there: Stored, parcel: Parcel, context: AttemptContext) -> Stored | None:
        """New content for a file; None when it is gone.

        Raises:
            DeliveryError: INTEGRITY, when Drive holds other bytes; the content from before stands again.
        """
        body = {"modifiedTime": stamp(parcel.submitted_at), "appProperties": {OWN: parcel.delivery_id}}
        upload = Upload.load(context.state)
        if upload is not None and upload.id != there.id:
            self._drop(context)
            context.save(upload=None)
        context.save(id=there.id, path=None, folder=None)
        try:
            made = self._made(body, there, parcel, context)
        except DeliveryError as error:
            if missing(error):
                return None
            raise
        return None if made.trashed else made

    def abandon(self, upload: Upload) -> None:
        """End an upload; one that is gone is fine."""
        self._sessions.abandon(upload)

    def forget(self, context: AttemptContext) -> None:
        """Begin anew, under another id."""
        self._drop(context)
        context.save(id=None, upload=None)

    # --- inside ---------------------------------------------------------------------------------

    def _own(self, number: str, parcel: Parcel) -> Stored | None:
        there = self._service.by_id(number)
        own = there is not None and there.delivery == parcel.delivery_id and there.holds(parcel)
        return there if own else None

    def _planned(self, folder: str, path: str, context: AttemptContext) -> str:
        """The id to make it under; saved before, so that no second file is made whatever happens."""
        number = context.state.get("id")
        if not isinstance(number, str) or context.state.get("folder") != folder:
            number = self._service.new_id()
        if context.state.get("id") != number or context.state.get("path") != path:
            self._drop(context)
            context.save(id=number, path=path, folder=folder, upload=None)
        return number

    def _made(
        self, body: Mapping[str, Any], over: Stored | None, parcel: Parcel, context: AttemptContext
    ) -> Stored:
        number = str(body["id"]) if over is None else over.id
        for last in (False, True):
            try:
                return self._checked(self._sent(body, over, parcel, context), over, parcel, context)
            except DeliveryError as error:
                if error.kind is not ErrorKind.SESSION_LOST or last:
                    raise
            # The session has ended: by our own last chunk, whose answer was lost, or by its age.
            context.save(upload=None)
            if (own := self._own(number, parcel)) is not None:
                return own
            context.log.info("the upload session is gone; beginning again")
        raise AssertionError("unreachable")

    def _sent(
        self, body: Mapping[str, Any], over: Stored | None, parcel: Parcel, context: AttemptContext
    ) -> Stored:
        number = None if over is None else over.id
        upload = Upload.load(context.state)
        resumed = upload is not None
        if upload is None:
            if parcel.size <= self._small:
                return self._single.send(parcel, body, context, over=number)
            upload = self._sessions.begin(parcel, body, context, over=number)
        return self._sessions.send(parcel, upload, context, resumed=resumed)

    def _drop(self, context: AttemptContext) -> None:
        """End an upload that will not be continued; one that stays ends by itself within a week."""
        upload = Upload.load(context.state)
        if upload is None:
            return
        try:
            self._sessions.abandon(upload)
        except DeliveryError as error:
            context.log.info("an upload was left to end by itself", code=error.code)

    def _checked(self, made: Stored, over: Stored | None, parcel: Parcel, context: AttemptContext) -> Stored:
        """The file as Drive reports it, which must be what was sent.

        Raises:
            DeliveryError: INTEGRITY. A file that this delivery has made is removed; of one that was there
                before, the new content alone.
        """
        if made.holds(parcel):
            return made
        try:
            if over is None and made.id == context.state.get("id"):
                self._service.delete(made.id)
            elif over is not None and made.id == over.id and made.version not in (None, over.version):
                self._service.drop_version(made.id, str(made.version))
        except DeliveryError as error:
            context.log.warning("content that differs could not be removed", code=error.code)
        context.save(upload=None, id=None)  # the next attempt begins with nothing of this one
        text = f"Drive holds {made.size} bytes with MD5 {made.md5}, which is not what was sent"
        raise DeliveryError(ErrorKind.INTEGRITY, text)
