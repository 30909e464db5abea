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
from conveyor.kit.naming import saved_candidates, sound_segments
from conveyor_gcs import SPEC
from conveyor_gcs.errors import Taken, forbidden
from conveyor_gcs.objects import Bucket, Stored, mismatch
from conveyor_gcs.options import GcsOptions
from conveyor_gcs.sessions import Sessions, Upload

NAMES, SIZE_MAX = SPEC.capabilities.names, SPEC.capabilities.max_size or 0
RESERVED = ".well-known/acme-challenge/"
"""No object's name begins so (https://cloud.google.com/storage/docs/objects#naming)."""
TURNS = 3
"""How often an object may come and go while it is being created."""


class Occupied(Exception):
    """Another writer's object stands there; None when it may not be looked at. Never leaves the connector."""

    def __init__(self, there: Stored | None) -> None:
        super().__init__()
        self.there = there


class Placer:
    """Stores parcels by their conflict policy.

    Args:
        bucket: Where to.
        options: The destination's.
    """

    def __init__(self, bucket: Bucket, options: GcsOptions) -> None:
        self._bucket = bucket
        self._options = options
        self._sessions = Sessions(bucket, options.chunk_size)

    def place(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        """Store the parcel, or say why not.

        Raises:
            DeliveryError: as the contract says; CONFLICT under ``fail``.
        """
        self._check_name(target)
        if parcel.size > SIZE_MAX:
            text = f"the file has {parcel.size} bytes; Cloud Storage takes {SIZE_MAX}"
            raise DeliveryError(ErrorKind.TOO_LARGE, text)
        if target.conflict is ConflictPolicy.OVERWRITE:
            made = self._store(parcel, self.name(target.path), context, create=False)
            return self.receipt(parcel, target, target.path, made)
        for path in saved_candidates(parcel, target, context, NAMES):
            try:
                made = self._create(parcel, self.name(path), context)
            except Occupied as occupied:
                if target.conflict is ConflictPolicy.RENAME:
                    continue
                return self._leave(target, occupied.there)
            return self.receipt(parcel, target, path, made)
        raise DeliveryError(ErrorKind.CONFLICT, f"every name tried for {target.path} is taken")

    def name(self, path: str) -> str:
        """The object's name for a path below the prefix."""
        return f"{self._options.prefix}{path}"

    def receipt(self, parcel: Parcel, target: Target, path: str, made: Stored) -> Receipt:
        """What the bucket holds now."""
        return Receipt(
            reference=f"gs://{self._options.bucket}/{made.name}",
            size=made.size,
            digest=None if made.md5 is None else f"md5:{made.md5}",
            verified="size" if made.md5 is None else "md5",
            version=made.generation,
            path=path,
            renamed=path != target.path,
        )

    def abandon(self, upload: Upload, context: AttemptContext) -> None:
        """End an upload; one that is gone is fine."""
        self._sessions.abandon(upload, context)

    # --- inside ---------------------------------------------------------------------------------

    def _check_name(self, target: Target) -> None:
        list(sound_segments(target, NAMES))
        try:
            self.name(target.path).encode()
        except UnicodeEncodeError:
            raise DeliveryError(ErrorKind.NAME, "the path is not valid Unicode") from None
        if any(ord(sign) < 32 for sign in target.path):
            raise DeliveryError(ErrorKind.NAME, "the path has a line break or another control character")
        if self.name(target.path).startswith(RESERVED):
            raise DeliveryError(ErrorKind.NAME, f"Cloud Storage keeps names that begin with {RESERVED}")

    def _leave(self, target: Target, there: Stored | None) -> Receipt:
        """What ``fail`` and ``skip`` say to a name that is taken."""
        if target.conflict is ConflictPolicy.FAIL:
            raise DeliveryError(ErrorKind.CONFLICT, f"{target.path} exists already")
        return Receipt(
            reference=f"gs://{self._options.bucket}/{self.name(target.path)}",
            size=None if there is None else there.size,
            verified="skipped",
            version=None if there is None else there.generation,
            path=target.path,
            skipped=True,
        )

    def _create(self, parcel: Parcel, name: str, context: AttemptContext) -> Stored:
        """Store where nothing stands, or recognise this delivery's own object there.

        Raises:
            Occupied: something else stands there.
        """
        for _ in range(TURNS):
            try:
                return self._store(parcel, name, context, create=True)
            except Taken:
                there = self._look(name, context)
            if there is not None:
                if there.written_by(parcel):
                    return there
                raise Occupied(there)
        raise DeliveryError(ErrorKind.TRANSIENT, f"{name} came and went while it was being created")

    def _look(self, name: str, context: AttemptContext) -> Stored | None:
        """What stands there.

        Raises:
            Occupied: The account may create and not look (roles/storage.objectCreator).
        """
        try:
            return self._bucket.head(name, context)
        except DeliveryError as error:
            if forbidden(error):
                raise Occupied(None) from None
            raise

    def _store(self, parcel: Parcel, name: str, context: AttemptContext, *, create: bool) -> Stored:
        """Send the parcel, and compare what was kept.

        Raises:
            Taken: ``create``, and something stands there.
            DeliveryError: INTEGRITY, when other bytes arrived: they are removed.
        """
        try:
            made = self._sent(parcel, name, context, create=create)
        except Taken:
            self._drop(context)
            raise
        except DeliveryError as error:
            if error.kind is ErrorKind.INTEGRITY:
                self._drop(context)
            raise
        if made.holds(parcel) and made.name == name:
            return made
        context.save(upload=None)
        try:
            self._bucket.delete(made, context)
        except DeliveryError as error:
            context.log.warning("an object with other bytes could not be removed", code=error.code)
        raise mismatch(made)

    def _sent(self, parcel: Parcel, name: str, context: AttemptContext, *, create: bool) -> Stored:
        for last in (False, True):
            upload = Upload.load(context.state)
            if upload is not None and (upload.name, upload.create) != (name, create):
                self._drop(context)
                upload = None
            if upload is None and parcel.size <= self._options.resumable_above:
                return self._bucket.put(parcel, name, context, create=create)
            try:
                resumed = upload is not None
                upload = upload or self._sessions.begin(parcel, name, context, create=create)
                return self._sessions.send(parcel, upload, context, resumed=resumed)
            except DeliveryError as error:
                if error.kind is not ErrorKind.SESSION_LOST or last:
                    raise
            # It has ended: by our own last piece, whose answer was lost, or by its age.
            context.save(upload=None)
            if (own := self._own(parcel, name, context)) is not None:
                return own
            context.log.info("the upload has ended; beginning again")
        raise AssertionError("unreachable")

    def _own(self, parcel: Parcel, name: str, context: AttemptContext) -> Stored | None:
        try:
            there = self._bucket.head(name, context)
        except DeliveryError as error:
            if forbidden(error):
                return None
            raise
        return there if there is not None and there.written_by(parcel) else None

    def _drop(self, context: AttemptContext) -> None:
        """End an upload that will not be continued; one that stays ends by itself within a week."""
        upload = Upload.load(context.state)
        if upload is None:
            return
        try:
            self._sessions.abandon(upload, context)
        except DeliveryError as error:
            context.log.info("an upload was left to end by itself", code=error.code)
        context.save(upload=None)
