"""The conflict policies: under which name a parcel is stored, and what to do about what stands there."""

from __future__ import annotations

from dataclasses import asdict, replace

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
from conveyor.kit.naming import saved_candidates, sound_segments
from conveyor.kit.waits import pause
from conveyor_connectors.onedrive.drive import Drive, Stored
from conveyor_connectors.onedrive.options import OneDriveOptions
from conveyor_connectors.onedrive.sessions import FAIL, REPLACE, Sessions, Taken, Upload
from conveyor_connectors.onedrive.spec import MAX_SIZE, NAMES

LOOKS = 5
"""How often a hash that is not made yet is looked for, half a second apart."""


class Placer:
    """Stores parcels by their conflict policy."""

    def __init__(self, drive: Drive, folders: Folders, options: OneDriveOptions) -> None:
        self._drive = drive
        self._folders = folders
        self._levels = options.levels
        self._sessions = Sessions(drive, options.fragment_size)

    def parents(self, target: Target) -> tuple[str, ...]:
        """The folders above a file, from the drive's root on."""
        return (*self._levels, *target.parents)

    def place(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        """Store the parcel, or say why not.

        Raises:
            DeliveryError: as the contract says; CONFLICT under ``fail``.
        """
        check_names(target)
        if parcel.size > MAX_SIZE:
            raise DeliveryError(ErrorKind.TOO_LARGE, "OneDrive takes files of at most 250 GB")
        return self._folders.within(
            self.parents(target), context, lambda folder: self._in(folder, parcel, target, context)
        )

    def _in(self, folder: str, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        if target.conflict is ConflictPolicy.OVERWRITE:
            try:
                made = self._store(folder, target.path, REPLACE, parcel, context, patient=True)
            except Taken:
                text = f"a folder is called {target.name} where the file should be"
                raise DeliveryError(ErrorKind.NAME, text) from None
            return self.receipt(self._checked(made, parcel, context), parcel, target.path, target)
        # Not the session: where it still lives, what has the name is somebody else's.
        earlier = {"path": context.state.get("path"), "free": context.state.get("free")}
        patient = target.conflict is not ConflictPolicy.RENAME
        for path in saved_candidates(parcel, target, context, NAMES):
            try:
                made = self._store(folder, path, FAIL, parcel, context, patient=patient)
            except Taken:
                there = self._drive.look(folder, path.rpartition("/")[2])
                if isinstance(there, Stored) and self.own(there, path, parcel, earlier):
                    return self.receipt(there, parcel, path, target)
                if target.conflict is not ConflictPolicy.RENAME:
                    return self._leave(there, target)
            else:
                return self.receipt(self._checked(made, parcel, context), parcel, path, target)
        raise DeliveryError(ErrorKind.CONFLICT, f"every name tried for {target.path} is taken")

    def own(self, there: Stored, path: str, parcel: Parcel, state: State) -> bool:
        """Whether an earlier attempt of this delivery has made it."""
        upload = Upload.load(state)
        began = upload is not None and upload.path == path and upload.behavior == FAIL
        if began and (there.rewritten or there.holds(parcel)):
            return True
        if not parcel.size:
            return there.size == 0 and state.get("free") == path
        return state.get("path") == path and there.written_for(parcel)

    def _leave(self, there: Stored | str | None, target: Target) -> Receipt:
        if target.conflict is ConflictPolicy.FAIL:
            raise DeliveryError(ErrorKind.CONFLICT, f"{target.path} exists already")
        file = there if isinstance(there, Stored) else None
        return Receipt(
            reference=f"item {file.id}" if file else target.path,
            size=file.size if file else None,
            verified="skipped",
            version=file.etag if file else None,
            path=target.path,
            skipped=True,
        )

    # --- storing ---------------------------------------------------------------------------------

    def _store(
        self,
        folder: str,
        path: str,
        behavior: str,
        parcel: Parcel,
        context: AttemptContext,
        *,
        patient: bool,
    ) -> Stored:
        if not parcel.size:
            return self._empty(folder, path, behavior, context)
        for last in (False, True):
            saved = Upload.load(context.state)
            try:
                if saved is not None and saved.folder == folder and saved.behavior == behavior:
                    return self._continue(saved, path, parcel, context)
                if saved is not None:
                    self._drop(saved, context)
                upload = self._sessions.begin(parcel, folder, path, behavior, context, patient=patient)
                return self._sent(upload, parcel, context, resumed=False)
            except DeliveryError as error:
                if error.kind is not ErrorKind.SESSION_LOST or last:
                    raise
                saved = Upload.load(context.state)
            # The session has ended: by our own last fragment, whose answer was lost, or by its age.
            context.save(session=None)
            there = self._drive.look(folder, path.rpartition("/")[2])
            if isinstance(there, Stored) and (
                self.own(there, path, parcel, {"session": asdict(saved) if saved else None, "path": path})
                or (behavior == REPLACE and there.written_for(parcel))
            ):
                return there
            if saved is not None:
                self._sessions.abandon(saved)  # one that is merely out of sight would hold the name
            context.log.info("the upload session is gone; beginning again")
        raise AssertionError("unreachable")

    def _empty(self, folder: str, path: str, behavior: str, context: AttemptContext) -> Stored:
        """A file of no bytes. It can be given no time of submission, and has no session that began while its
        name was free: that the name was free is looked up, and saved in its place.
        """
        name = path.rpartition("/")[2]
        if behavior == FAIL:
            if self._drive.look(folder, name) is not None:
                raise Taken
            context.save(free=path)
        try:
            return self._drive.empty(folder, name, behavior)
        except DeliveryError as error:
            if error.code != "nameAlreadyExists":
                raise
        context.save(free=None)
        raise Taken

    def _continue(self, saved: Upload, path: str, parcel: Parcel, context: AttemptContext) -> Stored:
        """A session of an earlier attempt, or of the name tried before this one."""
        if saved.path == path:
            return self._sent(saved, parcel, context, resumed=True)
        renamed = replace(saved, path=path)
        context.save(session=asdict(renamed))
        return self._sessions.commit(renamed, context)

    def _sent(self, upload: Upload, parcel: Parcel, context: AttemptContext, *, resumed: bool) -> Stored:
        try:
            return self._sessions.send(parcel, upload, context, resumed=resumed)
        except DeliveryError as error:
            if error.code == "nameAlreadyExists":  # taken since the session began; it stays
                raise Taken from None
            raise

    def _drop(self, upload: Upload, context: AttemptContext) -> None:
        self._sessions.abandon(upload)
        context.save(session=None)

    def _checked(self, made: Stored, parcel: Parcel, context: AttemptContext) -> Stored:
        """The file as the service reports it, which must be what was sent.

        Raises:
            DeliveryError: INTEGRITY; the file is removed, unless somebody has changed it meanwhile.
        """
        first = made
        for _ in range(LOOKS):
            if made.hash is not None or made.rewritten:
                break
            pause(0.5, context)
            made = self._drive.by_id(made.id)
        if made.rewritten or made.holds(parcel):
            return made
        self._drive.delete(made.id, first.etag)
        text = f"OneDrive holds {made.size} bytes with quickXorHash {made.hash}, not what was sent"
        raise DeliveryError(ErrorKind.INTEGRITY, text)

    def receipt(self, made: Stored, parcel: Parcel, path: str, target: Target) -> Receipt:
        """What the folder holds now."""
        same = made.hash == parcel.digests["quickxor"]
        extra = {"item_id": made.id}
        if made.rewritten and not same:
            return self._received(made, path, target, "accepted", extra | {"rewritten": "by SharePoint"})
        return self._received(made, path, target, "quickxor" if same else "size", extra)

    def _received(
        self, made: Stored, path: str, target: Target, verified: str, extra: dict[str, str]
    ) -> Receipt:
        return Receipt(
            reference=f"item {made.id}",
            size=made.size,
            digest=f"quickxor:{made.hash}" if made.hash else None,
            verified=verified,
            version=made.etag or None,
            path=path,
            renamed=path != target.path,
            extra=extra,
        )


def check_names(target: Target) -> None:
    """Refuse before any request what OneDrive would refuse.

    Raises:
        DeliveryError: NAME.
    """
    for segment in sound_segments(target, NAMES):
        plain = segment.lower()
        bad = any(char in NAMES.forbidden or ord(char) < 32 for char in segment)
        bad = bad or segment[0] in NAMES.forbidden_starts or segment[-1] in NAMES.forbidden_ends
        bad = bad or plain in NAMES.reserved_exact or plain.partition(".")[0] in NAMES.reserved
        if bad or any(part in plain for part in NAMES.forbidden_parts):
            raise DeliveryError(ErrorKind.NAME, f"OneDrive takes no name like {segment[:60]!r}")
