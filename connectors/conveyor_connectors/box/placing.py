"""The conflict policies: under which name a parcel is stored, and what to do about what stands there."""

from __future__ import annotations

from conveyor.contract import (
    AttemptContext,
    ConflictPolicy,
    DeliveryError,
    ErrorKind,
    Parcel,
    Receipt,
    Target,
)
from conveyor.kit.folders import Folders
from conveyor.kit.naming import saved_candidates, sound_segments, tried_before
from conveyor.kit.waits import pause
from conveyor_connectors.box.errors import Item, Taken
from conveyor_connectors.box.options import BoxOptions
from conveyor_connectors.box.service import Service, Stored, missing
from conveyor_connectors.box.sessions import Sessions, Upload
from conveyor_connectors.box.spec import NAMES

LOOK_FIRST = 1 << 20
"""Bytes from which a name is looked at before the file is sent: a name that is taken is not worth more."""
RESERVED = 10
"""Seconds that another upload of the same name may take to end."""


class Placer:
    """Stores parcels by their conflict policy."""

    def __init__(self, service: Service, folders: Folders, options: BoxOptions) -> None:
        self._service = service
        self._folders = folders
        self._sessions = Sessions(service)
        self._direct_limit = options.direct_limit

    def place(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        """Store the parcel, or say why not.

        Raises:
            DeliveryError: as the contract says; CONFLICT under ``fail``.
        """
        check_names(target)
        return self._folders.within(
            target.parents, context, lambda folder: self._in(folder, parcel, target, context)
        )

    def _in(self, folder: str, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        if target.conflict is ConflictPolicy.OVERWRITE:
            return self._overwrite(folder, parcel, target, context)
        earlier, upload = tried_before(target, context), Upload.load(context.state)
        whole = parcel.size < self._direct_limit
        for path in saved_candidates(parcel, target, context, NAMES, marked=whole):
            try:
                made = self._create(folder, path, parcel, context)
            except Taken as taken:
                if taken.item is None and earlier == path:
                    text = f"Box did not say what is in the way of {path}, which may be ours"
                    raise DeliveryError(ErrorKind.TRANSIENT, text) from None
                if (mine := self.own(taken.item, path, parcel, earlier, upload)) is not None:
                    return self.receipt(mine, path, target)
                if target.conflict is not ConflictPolicy.RENAME:
                    return self._leave(taken.item, target)
            else:
                return self.receipt(made, path, target)
        raise DeliveryError(ErrorKind.CONFLICT, f"every name tried for {target.path} is taken")

    def own(
        self, item: Item | None, path: str, parcel: Parcel, tried: str | None, upload: Upload | None
    ) -> Stored | None:
        """The file under a name, where an earlier attempt of this delivery, which was about to take the path
        ``tried``, has made it.

        An upload in parts began when the name was free; a file in one request has the delivery's time.
        """
        if item is None or item.folder or item.sha1 not in (None, parcel.digests["sha1"]):
            return None
        if tried != path and (upload is None or upload.path != path):
            return None
        there = self._service.file(item.id)
        in_parts = upload is not None and upload.path == path and upload.over is None
        return there if there.written_for(parcel) or (in_parts and there.holds(parcel)) else None

    def _leave(self, item: Item | None, target: Target) -> Receipt:
        if target.conflict is ConflictPolicy.FAIL:
            raise DeliveryError(ErrorKind.CONFLICT, f"{target.path} exists already")
        number = item.id if item is not None else ""
        return Receipt(
            reference=f"file {number}" if number else target.path,
            verified="skipped",
            version=item.etag if item is not None else None,
            path=target.path,
            skipped=True,
        )

    def _overwrite(self, folder: str, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        for _ in range(3):
            item = self._service.look(folder, target.name, parcel.size)
            try:
                if item is None:
                    made = self._create(folder, target.path, parcel, context, looked=True)
                else:
                    made = self._replace(folder, item, target, parcel, context)
            except Taken:
                continue  # made by somebody else meanwhile
            except DeliveryError as error:
                if item is None or not (error.kind is ErrorKind.CONFLICT or missing(error)):
                    raise
                continue  # changed or removed by somebody else meanwhile
            return self.receipt(made, target.path, target)
        # Box answers 412 for parts that are not the file, too: the next attempt begins a session of its own.
        self._sessions.forget(context)
        raise DeliveryError(ErrorKind.TRANSIENT, f"{target.path} kept changing while it was being replaced")

    def _replace(
        self, folder: str, item: Item, target: Target, parcel: Parcel, context: AttemptContext
    ) -> Stored:
        if item.folder:
            raise DeliveryError(ErrorKind.NAME, f"a folder is called {target.name} where the file should be")
        there = self._service.file(item.id)
        if there.holds(parcel):
            self._sessions.forget(context)
            return there
        if parcel.size < self._direct_limit:
            return self._service.upload_version(parcel, there, context)
        return self._sessions.send(parcel, folder, target.path, context, over=there)

    def _create(
        self, folder: str, path: str, parcel: Parcel, context: AttemptContext, *, looked: bool = False
    ) -> Stored:
        """Store where nothing stands; waits for another upload of the same name to end."""
        name = path.rpartition("/")[2]
        for _ in range(RESERVED):
            try:
                if parcel.size >= self._direct_limit:
                    return self._sessions.send(parcel, folder, path, context)
                look = parcel.size >= LOOK_FIRST and not looked
                if look and (item := self._service.look(folder, name, parcel.size)) is not None:
                    raise Taken(item)
                return self._service.upload(parcel, folder, name, context)
            except DeliveryError as error:
                if error.code != "name_temporarily_reserved":
                    raise
                reserved = error
            pause(1.0, context)
        raise reserved

    def receipt(self, made: Stored, path: str, target: Target) -> Receipt:
        """What the folder holds now."""
        return Receipt(
            reference=f"file {made.id}",
            size=made.size,
            digest=f"sha1:{made.sha1}",
            verified="sha1",
            version=made.version or made.etag,
            path=path,
            renamed=path != target.path,
            extra={"file_id": made.id},
        )


def check_names(target: Target) -> None:
    """Refuse before any request what Box would refuse.

    Raises:
        DeliveryError: NAME.
    """
    for segment in sound_segments(target, NAMES):
        if segment != segment.strip(" ") or any(
            char in NAMES.forbidden or ord(char) < 32 for char in segment
        ):
            raise DeliveryError(ErrorKind.NAME, f"Box takes no name like {segment[:60]!r}")
