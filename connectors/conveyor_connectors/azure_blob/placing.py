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
from conveyor.kit.naming import length, saved_candidates
from conveyor_connectors.azure_blob.blob import Head, Stored
from conveyor_connectors.azure_blob.blocks import BlockSender
from conveyor_connectors.azure_blob.container import Container, Taken
from conveyor_connectors.azure_blob.errors import forbidden
from conveyor_connectors.azure_blob.options import AzureBlobOptions
from conveyor_connectors.azure_blob.spec import NAMES


class Occupied(Exception):
    """Another writer's blob stands under the name. Never leaves the connector."""

    def __init__(self, head: Head | None) -> None:
        super().__init__()
        self.head = head


class Placer:
    """Stores parcels by their conflict policy.

    Args:
        container: Where to.
        options: The destination's options.
    """

    def __init__(self, container: Container, options: AzureBlobOptions) -> None:
        self._container = container
        self._single_put = options.single_put
        self._sender = BlockSender(container, options)

    def place(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        """Store the parcel, or say why not.

        Raises:
            DeliveryError: as the contract says; CONFLICT under ``fail``.
        """
        check_name(target.path)
        if target.conflict is ConflictPolicy.OVERWRITE:
            stored = self._store(parcel, target.path, context, create=False)
            return self.receipt(parcel, target, target.path, stored)
        if target.conflict is ConflictPolicy.RENAME:
            return self._rename(parcel, target, context)
        try:
            stored = self._create(parcel, target.path, context)
        except Occupied as occupied:
            return self._leave(target, occupied.head)
        return self.receipt(parcel, target, target.path, stored)

    def receipt(self, parcel: Parcel, target: Target, path: str, stored: Stored) -> Receipt:
        """What the container holds now."""
        etag = stored.etag.strip('"')
        extra = {"etag": etag} | ({"blocks": stored.blocks} if stored.blocks else {})
        return Receipt(
            reference=f"{self._container.address}/{path}",
            size=parcel.size,
            digest=stored.digest,
            verified=stored.verified,
            version=stored.version or etag or None,
            path=path,
            renamed=path != target.path,
            extra=extra,
        )

    def _store(self, parcel: Parcel, path: str, context: AttemptContext, *, create: bool) -> Stored:
        if self._whole(parcel):
            return self._container.put(parcel, path, context, create=create)
        return self._sender.send(parcel, path, context, create=create)

    def _whole(self, parcel: Parcel) -> bool:
        return parcel.size <= self._single_put or parcel.size == 0

    def _leave(self, target: Target, head: Head | None) -> Receipt:
        if target.conflict is ConflictPolicy.FAIL:
            raise DeliveryError(ErrorKind.CONFLICT, f"{target.path} exists already")
        return Receipt(
            reference=f"{self._container.address}/{target.path}",
            size=head.size if head else None,
            verified="skipped",
            version=(head.version or head.etag.strip('"')) if head else None,
            path=target.path,
            skipped=True,
        )

    def _rename(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        for path in saved_candidates(parcel, target, context, NAMES, marked=True):
            try:
                stored = self._create(parcel, path, context)
            except Occupied:
                continue
            return self.receipt(parcel, target, path, stored)
        raise DeliveryError(ErrorKind.CONFLICT, f"every name tried for {target.path} is taken")

    def _create(self, parcel: Parcel, path: str, context: AttemptContext) -> Stored:
        """Store where nothing stands, or recognise this delivery's own blob there.

        Raises:
            Occupied: something else stands there.
        """
        look_first = not self._whole(parcel)  # a name that is taken is not worth gigabytes
        for _ in range(3):
            if look_first and (head := self._look(path, context)) is not None:
                return self._recognise(head, parcel)
            try:
                return self._store(parcel, path, context, create=True)
            except Taken:
                look_first = True
                if self._blind(path, context):
                    raise Occupied(None) from None
        raise DeliveryError(ErrorKind.TRANSIENT, f"{path} came and went while it was being created")

    def _look(self, path: str, context: AttemptContext) -> Head | None:
        """What stands there, as far as the sign-in may see it."""
        try:
            return self._container.head(path, context)
        except DeliveryError as error:
            if forbidden(error):
                return None
            raise

    def _blind(self, path: str, context: AttemptContext) -> bool:
        """Whether the sign-in may not look at what is certainly there."""
        try:
            self._container.head(path, context)
        except DeliveryError as error:
            if forbidden(error):
                return True
            raise
        return False

    def _recognise(self, head: Head, parcel: Parcel) -> Stored:
        if not head.written_by(parcel.delivery_id, parcel.size):
            raise Occupied(head)
        return Stored.of(head, parcel)


def check_name(path: str) -> None:
    """Refuse a name that Azure would refuse, or change before it checks the signature.

    Raises:
        DeliveryError: NAME.
    """
    segments = path.split("/")
    for what, text, longest in [("name", path, NAMES.path_max)] + [
        ("level", segment, NAMES.segment_max) for segment in segments
    ]:
        if length(text, NAMES.unit) > longest:
            raise DeliveryError(
                ErrorKind.NAME, f"a {what} has {length(text, NAMES.unit)} characters; {longest} are allowed"
            )
    # ".." is resolved after signing, so that the service would answer with a refused signature.
    if any(part in ("", ".", "..") for part in segments):
        raise DeliveryError(ErrorKind.NAME, "the name has an empty segment, . or ..")
    if any(part.endswith(".") for part in segments):
        raise DeliveryError(ErrorKind.NAME, "the name has a segment that ends with a dot")
    if any(char in NAMES.forbidden or ord(char) < 32 for char in path):
        raise DeliveryError(ErrorKind.NAME, "the name holds a backslash or a control character")
