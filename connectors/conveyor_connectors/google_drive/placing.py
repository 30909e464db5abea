"""The conflict policies, at a service where names are not unique.

A second file of one name is no accident that Drive prevents: what stands there is looked up, one at a time
for each name within this process. Two processes that create one name in the same instant leave two files of
that name; neither replaces the other.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

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
from conveyor.kit.folders import Folders
from conveyor.kit.naming import candidates, sound_segments
from conveyor.kit.turns import Turns
from conveyor_connectors.google_drive.options import GoogleDriveOptions
from conveyor_connectors.google_drive.service import OWN, Service, Stored, body_of, missing, stamp
from conveyor_connectors.google_drive.sessions import Sessions, Upload
from conveyor_connectors.google_drive.spec import MAX_SIZE, NAMES

LAG = 60.0
"""Seconds that a listing may not show yet what this process has made."""

_TURNS = Turns()
_MADE: dict[tuple[str, str], tuple[str, float]] = {}
"""By folder and name: the id of what was made here, and when. Its entries are few: LAG is short."""


class Placer:
    """Stores parcels by their conflict policy."""

    def __init__(self, service: Service, folders: Folders, options: GoogleDriveOptions) -> None:
        self._service = service
        self._folders = folders
        self._levels = options.levels
        self._sessions = Sessions(service, options.chunk_size)

    def parents(self, target: Target) -> tuple[str, ...]:
        """The folders above a file."""
        return (*self._levels, *target.parents)

    def place(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        """Store the parcel, or say why not.

        Raises:
            DeliveryError: as the contract says; CONFLICT under ``fail``.
        """
        check_names(target)
        if parcel.size > MAX_SIZE:
            raise DeliveryError(ErrorKind.TOO_LARGE, "Drive takes files of at most 5 TiB")
        if (made := self.earlier(parcel, context.state)) is not None:
            return self._received(made, parcel, str(context.state.get("path") or target.path), target)
        return self._folders.within(
            self.parents(target), context, lambda folder: self._in(folder, parcel, target, context)
        )

    def earlier(self, parcel: Parcel, state: State) -> Stored | None:
        """The file that an earlier attempt of this delivery has made, under the id that it saved."""
        number = state.get("id")
        if not isinstance(number, str):
            return None
        there = self._service.by_id(number)
        own = there is not None and not there.trashed and there.delivery == parcel.delivery_id
        return there if own and there is not None and there.holds(parcel) else None

    def _in(self, folder: str, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        for path in candidates(parcel, target, context, NAMES):
            name = path.rpartition("/")[2]
            with _TURNS.take(f"{folder}/{name}", context.check):
                there = self.there(folder, name)
                own = next((each for each in there if each.delivery == parcel.delivery_id), None)
                if own is not None and own.holds(parcel):
                    return self._received(own, parcel, path, target)
                if there and target.conflict is ConflictPolicy.RENAME:
                    continue
                if there and target.conflict is not ConflictPolicy.OVERWRITE:
                    return self._leave(there[-1], target)
                made = self._renew(there, parcel, context) if there else None
                made = made or self._create(folder, path, parcel, context)
                return self._received(made, parcel, path, target)
        raise DeliveryError(ErrorKind.CONFLICT, f"every name tried for {target.path} is taken")

    def there(self, folder: str, name: str) -> list[Stored]:
        """Files of this name, the oldest first, with what a listing may not show yet."""
        listed = self._service.named(folder, name, folders=False)
        number, since = _MADE.get((folder, name), ("", 0.0))
        if not number or time.monotonic() - since > LAG:
            _MADE.pop((folder, name), None)
            return listed
        if any(each.id == number for each in listed):
            return listed
        made = self._service.by_id(number)
        return listed if made is None or made.trashed or made.name != name else [*listed, made]

    def _leave(self, there: Stored, target: Target) -> Receipt:
        if target.conflict is ConflictPolicy.FAIL:
            raise DeliveryError(ErrorKind.CONFLICT, f"{target.path} exists already")
        return Receipt(
            reference=f"file {there.id}",
            size=there.size,
            verified="skipped",
            version=there.version,
            path=target.path,
            skipped=True,
        )

    # --- storing ---------------------------------------------------------------------------------

    def _create(self, folder: str, path: str, parcel: Parcel, context: AttemptContext) -> Stored:
        name = path.rpartition("/")[2]
        number = context.state.get("id")
        if not isinstance(number, str) or context.state.get("folder") != folder:
            number = self._service.new_id()
        if context.state.get("id") != number or context.state.get("path") != path:
            self._drop(context)
            # Before the create: whatever becomes of its answer, no second file is made.
            context.save(id=number, path=path, folder=folder, upload=None)
        made = self._made(body_of(parcel, number, folder, name), None, parcel, context)
        now = time.monotonic()
        for key in [key for key, (_, since) in list(_MADE.items()) if now - since > LAG]:
            _MADE.pop(key, None)
        _MADE[folder, name] = made.id, now
        return made

    def _renew(self, there: list[Stored], parcel: Parcel, context: AttemptContext) -> Stored | None:
        """New content for the newest of the files that have the name; None when it is gone."""
        newest = there[-1]
        if len(there) > 1:
            context.log.warning("several files have this name; the newest is replaced", name=newest.name)
        if newest.holds(parcel):
            return newest
        body = {"modifiedTime": stamp(parcel.submitted_at), "appProperties": {OWN: parcel.delivery_id}}
        upload = Upload.load(context.state)
        if upload is not None and upload.id != newest.id:
            self._drop(context)
            context.save(upload=None)
        context.save(id=newest.id, path=None, folder=None)
        try:
            return self._made(body, newest.id, parcel, context)
        except DeliveryError as error:
            if missing(error):
                return None
            raise

    def _made(
        self, body: Mapping[str, Any], over: str | None, parcel: Parcel, context: AttemptContext
    ) -> Stored:
        number = over or str(body["id"])
        for last in (False, True):
            try:
                return self._checked(self._sent(body, over, parcel, context), over, parcel, context)
            except DeliveryError as error:
                if error.code == "fileIdInUse":
                    there = self._service.by_id(number)
                    if there is not None and there.holds(parcel):
                        return there
                    # Under our id stands what an attempt has left that ended otherwise.
                    raise DeliveryError(ErrorKind.INTEGRITY, "the file is there with other bytes") from None
                if error.kind is not ErrorKind.SESSION_LOST or last:
                    raise
            # The session has ended: by our own last chunk, whose answer was lost, or by its age.
            context.save(upload=None)
            there = self._service.by_id(number)
            if there is not None and there.holds(parcel) and there.delivery == parcel.delivery_id:
                return there
            context.log.info("the upload session is gone; beginning again")
        raise AssertionError("unreachable")

    def _sent(
        self, body: Mapping[str, Any], over: str | None, parcel: Parcel, context: AttemptContext
    ) -> Stored:
        if not parcel.size and over is None:
            return self._service.empty(body)
        upload = Upload.load(context.state)
        resumed = upload is not None
        if upload is None:
            upload = self._sessions.begin(parcel, body, context, over=over)
        if not parcel.size:
            context.before_commit()
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

    def _checked(self, made: Stored, over: str | None, parcel: Parcel, context: AttemptContext) -> Stored:
        """The file as Drive reports it, which must be what was sent.

        Raises:
            DeliveryError: INTEGRITY; a file that this delivery has made is removed. One that was there before
                stays: what it held is among its revisions, which removing it would destroy.
        """
        if made.holds(parcel):
            return made
        if over is None and made.id == context.state.get("id"):
            self._service.delete(made.id)
        context.save(upload=None, id=None)  # the next attempt begins with nothing of this one
        text = f"Drive holds {made.size} bytes with MD5 {made.md5}, which is not what was sent"
        raise DeliveryError(ErrorKind.INTEGRITY, text)

    def _received(self, made: Stored, parcel: Parcel, path: str, target: Target) -> Receipt:
        return Receipt(
            reference=f"file {made.id}",
            size=made.size,
            digest=f"md5:{made.md5}",
            verified="md5",
            version=made.version,
            path=path,
            renamed=path != target.path,
            extra={"file_id": made.id},
        )

    receipt = _received


def check_names(target: Target) -> None:
    """Refuse before any request what cannot be a name.

    Raises:
        DeliveryError: NAME.
    """
    for segment in sound_segments(target, NAMES):
        if any(ord(char) < 32 for char in segment):
            raise DeliveryError(ErrorKind.NAME, "a name holds a control character")
