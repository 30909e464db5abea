"""The conflict policies, at a service where names are not unique.

A second file of one name is no accident that Drive prevents: what stands there is looked up, one at a time
for each name within this process. Two processes that create one name in the same instant leave two files of
that name; neither replaces the other.
"""

from __future__ import annotations

import time

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
from conveyor.kit.naming import candidates, sound_segments
from conveyor.kit.turns import Turns
from conveyor_connectors.google_drive.making import Maker
from conveyor_connectors.google_drive.options import GoogleDriveOptions
from conveyor_connectors.google_drive.service import Service, Stored, in_trash
from conveyor_connectors.google_drive.spec import MAX_SIZE, NAMES

LAG = 60.0
"""Seconds that a listing may not show yet what this process has made."""

_TURNS = Turns()
_MADE: dict[tuple[str, str], tuple[str, float]] = {}
"""By folder and name: the id of what was made here, and when. Its entries are few: LAG is short."""


class Placer:
    """Stores a parcel by its conflict policy; made for one attempt."""

    def __init__(self, service: Service, folders: Folders, options: GoogleDriveOptions) -> None:
        self._service = service
        self._folders = folders
        self._levels = options.levels
        self._maker = Maker(service, options.chunk_size)
        self._stray: Stored | None = None
        """The parcel's file, whole, in a folder that is in the trash."""

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
        made = self._maker.earlier(parcel, context.state)
        if made is not None and not made.trashed:
            return self._received(made, parcel, str(context.state.get("path") or target.path), target)
        if made is not None and made.discarded:
            self._maker.forget(context)  # somebody has put it into the trash, where it stays
        elif made is not None:
            self._stray = made
        return self._folders.within(
            self.parents(target), context, lambda folder: self._in(folder, parcel, target, context)
        )

    def earlier(self, parcel: Parcel, context: AttemptContext) -> Stored | None:
        """The file that an earlier attempt of this delivery has made, unless it is in the trash."""
        made = self._maker.earlier(parcel, context.state)
        return None if made is None or made.trashed else made

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
        if self._stray is None:
            made = self._maker.create(folder, path, parcel, context)
        elif folder in self._stray.parents:
            raise in_trash()
        else:
            context.save(path=path, folder=folder)
            context.before_commit()
            made = self._service.move(self._stray, folder, name)
        if made.discarded:
            raise DeliveryError(ErrorKind.TRANSIENT, "somebody has put the file into the trash")
        if made.trashed:
            # The folder went there after it was remembered: it is looked for again, and the file moved.
            self._stray = made
            raise in_trash()
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
        return newest if newest.holds(parcel) else self._maker.renew(newest, parcel, context)

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
