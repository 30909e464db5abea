"""The conflict policies: under which path a parcel is stored, and what to do about what stands there."""

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
from conveyor.kit.naming import saved_candidates, sound_segments, tried_before
from conveyor_connectors.dropbox.errors import Taken
from conveyor_connectors.dropbox.options import DropboxOptions
from conveyor_connectors.dropbox.service import Offset, Service, Stored, commit_of
from conveyor_connectors.dropbox.spec import MAX_SIZE, NAMES


class Placer:
    """Stores parcels by their conflict policy."""

    def __init__(self, service: Service, options: DropboxOptions) -> None:
        self._service = service
        self._root = options.root
        self._direct_limit = options.direct_limit
        self._chunk = options.chunk_size

    def place(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        """Store the parcel, or say why not.

        Raises:
            DeliveryError: as the contract says; CONFLICT under ``fail``.
        """
        check_names(target)
        if parcel.size > MAX_SIZE:
            raise DeliveryError(ErrorKind.TOO_LARGE, "Dropbox takes files of at most 2 TiB")
        if target.conflict is ConflictPolicy.OVERWRITE:
            try:
                made = self._store(parcel, target.path, context, overwrite=True)
            except Taken as taken:
                raise self._in_the_way(taken, target) from None
            return self.receipt(made, target.path, target)
        earlier = tried_before(target, context)
        whole = parcel.size <= self._direct_limit
        for path in saved_candidates(parcel, target, context, NAMES, marked=whole):
            try:
                made = self._store(parcel, path, context, overwrite=False)
            except Taken as taken:
                if taken.kind == "file_ancestor":
                    raise self._in_the_way(taken, target) from None
                there = self._service.look(self.full(path))
                if isinstance(there, Stored) and self.own(there, path, parcel, earlier):
                    return self.receipt(there, path, target)
                if target.conflict is not ConflictPolicy.RENAME:
                    return self._leave(there, target)
            else:
                return self.receipt(made, path, target)
        raise DeliveryError(ErrorKind.CONFLICT, f"every name tried for {target.path} is taken")

    def full(self, path: str) -> str:
        """The path as Dropbox knows it."""
        return f"{self._root}/{path}"

    def own(self, there: Stored, path: str, parcel: Parcel, tried: str | None) -> bool:
        """Whether an earlier attempt of this delivery, which was about to take ``tried``, has made it."""
        return path == tried and there.written_for(parcel)

    def _in_the_way(self, taken: Taken, target: Target) -> DeliveryError:
        folder = taken.kind == "folder"
        what = "a folder is called like the file" if folder else "a file is where a folder should be"
        return DeliveryError(ErrorKind.NAME, f"{target.path}: {what}")

    def _leave(self, there: Stored | str | None, target: Target) -> Receipt:
        if target.conflict is ConflictPolicy.FAIL:
            raise DeliveryError(ErrorKind.CONFLICT, f"{target.path} exists already")
        file = there if isinstance(there, Stored) else None
        return Receipt(
            reference=self.full(target.path),
            size=file.size if file else None,
            verified="skipped",
            version=file.rev if file else None,
            path=target.path,
            skipped=True,
        )

    # --- storing ---------------------------------------------------------------------------------

    def _store(self, parcel: Parcel, path: str, context: AttemptContext, *, overwrite: bool) -> Stored:
        """Store under a path.

        Raises:
            Taken: Something stands there; a session may have the bytes for the next path.
        """
        commit = commit_of(parcel, self.full(path), overwrite=overwrite)
        for last in (False, True):
            session = context.state.get("session")
            try:
                if isinstance(session, str):
                    self._fill(parcel, session, context)
                elif parcel.size <= self._direct_limit:
                    return self._service.upload(parcel, commit, context)
                else:
                    session = self._service.begin(parcel, min(self._chunk, parcel.size), context)
                    context.save(session=session)
                    self._fill(parcel, session, context, start=min(self._chunk, parcel.size))
                return self._service.finish(parcel, session, commit, context)
            except (Taken, DeliveryError) as error:
                if (kept := self._service.kept) is not None and kept != session:
                    context.save(session=kept)
                if isinstance(error, Taken) or error.kind is not ErrorKind.SESSION_LOST or last:
                    raise
            # The session has ended: by our own commit, whose answer was lost, or by its age.
            context.save(session=None)
            there = self._service.look(self.full(path))
            # Under overwrite the bytes alone count: Dropbox leaves those that are there, and their time.
            if isinstance(there, Stored) and (there.holds if overwrite else there.written_for)(parcel):
                return there
            context.log.info("the upload session is gone; beginning again")
        raise AssertionError("unreachable")

    def _fill(
        self, parcel: Parcel, session: str, context: AttemptContext, *, start: int | None = None
    ) -> None:
        """Send what the session does not hold yet."""
        offset = self._service.standing(session, parcel.size) if start is None else start
        for _ in range(3):
            try:
                while offset < parcel.size:
                    size = min(self._chunk, parcel.size - offset)
                    self._service.append(parcel, session, offset, size, context)
                    offset += size
                return
            except Offset as stands:  # a chunk whose answer was lost
                offset = stands.correct
        raise DeliveryError(ErrorKind.TRANSIENT, "another worker writes to the same upload session")

    def receipt(self, made: Stored, path: str, target: Target) -> Receipt:
        """What the folder holds now."""
        return Receipt(
            reference=made.path,
            size=made.size,
            digest=f"dropbox:{made.hash}",
            verified="dropbox",
            version=made.rev,
            path=path,
            renamed=path != target.path,
            extra={"file_id": made.id},
        )


def check_names(target: Target) -> None:
    """Refuse before any request what Dropbox would refuse.

    Raises:
        DeliveryError: NAME.
    """
    for segment in sound_segments(target, NAMES):
        bad = any(char in NAMES.forbidden or ord(char) < 32 for char in segment) or segment.endswith(" ")
        if bad or segment.lower() in NAMES.reserved_exact:
            raise DeliveryError(ErrorKind.NAME, f"Dropbox takes no name like {segment[:60]!r}")
