"""A large file in blocks: our own loop, so that another worker can continue a half-sent file.

The ids of the blocks begin with text that is random for each upload and saved before the first block is
sent. So two uploads of one name never mix, as they did with ids made of offsets
(https://github.com/Azure/azure-sdk-for-python/issues/26790), and a worker that finds the saved text keeps the
blocks that the service lists and sends the rest.

Blocks that are never committed are invisible and removed by the service after a week, or when anything is
stored under their name (https://learn.microsoft.com/rest/api/storageservices/put-block). Nothing else removes
them: storing an empty blob and deleting it would, but readers and event subscriptions would see that blob.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind, Json, Parcel
from conveyor_connectors.azure_blob.blob import Stored
from conveyor_connectors.azure_blob.container import Container, Taken
from conveyor_connectors.azure_blob.errors import forbidden
from conveyor_connectors.azure_blob.options import AzureBlobOptions
from conveyor_connectors.azure_blob.spec import MAX_BLOCK, MAX_BLOCKS
from conveyor_connectors.azure_blob.staging import Staging

UPLOAD = "upload"
"""The key in the delivery's state."""

ID_LENGTH = 32
"""Characters of a block's id, where nothing else decides; the service takes 64 bytes."""

DIGITS = 5
"""Characters of an id that count the blocks, of which there are at most 50,000."""

SHORTEST = DIGITS + 8
"""Shorter ids leave too little room for chance."""

FOREIGN = "InvalidBlobOrBlock"
"""The code for an id whose length differs from that of the blocks already waiting."""

FINAL = frozenset({ErrorKind.SOURCE, ErrorKind.TOO_LARGE, ErrorKind.NAME, ErrorKind.SESSION_LOST})
"""Errors after which the saved upload is of no use to anybody."""

_ALPHABET = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload in progress, as it is saved."""

    prefix: str
    path: str
    block_size: int

    @classmethod
    def begin(cls, path: str, block_size: int, length: int = ID_LENGTH) -> Upload:
        """A new one, with ids of that length."""
        chosen = "".join(secrets.choice(_ALPHABET) for _ in range(length - DIGITS))
        return cls(chosen, path, block_size)

    @classmethod
    def load(cls, state: Mapping[str, object]) -> Upload | None:
        """The saved upload, or None."""
        saved = state.get(UPLOAD)
        if not isinstance(saved, Mapping):
            return None
        return cls(str(saved["prefix"]), str(saved["path"]), int(str(saved["block_size"])))

    def save(self, context: AttemptContext) -> None:
        """Commit it to the delivery's state."""
        saved: Json = {"prefix": self.prefix, "path": self.path, "block_size": self.block_size}
        context.save(**{UPLOAD: saved})

    def id(self, number: int) -> str:
        """The id of the block with that number, from 0."""
        return f"{self.prefix}{number:0{DIGITS}d}"


def block_size(size: int, chosen: int) -> int:
    """The size of a block: ``chosen``, doubled until the service's 50,000 suffice.

    Raises:
        DeliveryError: TOO_LARGE, when no block that the service takes (4000 MiB) does.
    """
    if size > MAX_BLOCKS * MAX_BLOCK:
        raise DeliveryError(ErrorKind.TOO_LARGE, f"{size} bytes are more than {MAX_BLOCKS} blocks hold")
    while -(-size // chosen) > MAX_BLOCKS:
        chosen = min(2 * chosen, MAX_BLOCK)
    return chosen


class BlockSender:
    """Sends one parcel in blocks.

    Args:
        container: Where to.
        options: The destination's options.
    """

    def __init__(self, container: Container, options: AzureBlobOptions) -> None:
        self._container = container
        self._options = options

    def send(self, parcel: Parcel, path: str, context: AttemptContext, *, create: bool) -> Stored:
        """Send the blocks that the service lacks and make a blob of all.

        Raises:
            Taken: ``create``, and something stands there.
        """
        size = block_size(parcel.size, self._options.block_size)
        upload, have = self._open(parcel, path, size, context)
        if not have and upload is not None and (own := self._own(parcel, path, context)) is not None:
            return own
        if upload is None:
            upload = Upload.begin(path, size)
            upload.save(context)
        try:
            upload = self._fill(upload, have, parcel, context)
            count = -(-parcel.size // upload.block_size)
            ids = [upload.id(number) for number in range(count)]
            context.before_commit()
            return self._container.commit(parcel, path, ids, context, create=create)
        except Taken:
            context.save(**{UPLOAD: None})
            raise
        except DeliveryError as error:
            if error.kind is ErrorKind.SESSION_LOST and (own := self._own(parcel, path, context)) is not None:
                return own
            if error.kind in FINAL:
                context.save(**{UPLOAD: None})
            raise

    def _open(
        self, parcel: Parcel, path: str, size: int, context: AttemptContext
    ) -> tuple[Upload | None, dict[int, int]]:
        """The saved upload for this path, and the sizes of its blocks by number."""
        saved = Upload.load(context.state)
        if saved is None or saved.path != path or -(-parcel.size // saved.block_size) > MAX_BLOCKS:
            return None, {}
        listed = {block.id: block.size for block in self._container.blocks(path, context)}
        count = -(-parcel.size // saved.block_size)
        have = {n: listed[saved.id(n)] for n in range(count) if saved.id(n) in listed}
        context.log.info("a half-sent upload is continued", blocks=len(have), of=count)
        return saved, have

    def _own(self, parcel: Parcel, path: str, context: AttemptContext) -> Stored | None:
        """Blocks that are gone may have been committed, and only the answer was lost."""
        try:
            head = self._container.head(path, context)
        except DeliveryError as error:
            if forbidden(error):  # may not look
                return None
            raise
        if head is None or not head.written_by(parcel.delivery_id, parcel.size):
            return None
        return Stored.of(head, parcel)

    def _fill(self, upload: Upload, have: dict[int, int], parcel: Parcel, context: AttemptContext) -> Upload:
        """Send what is missing; returns the upload that has it all."""
        try:
            self._stage(upload, have, parcel, context)
        except DeliveryError as error:
            if error.code != FOREIGN:
                raise
            upload = self._beside(upload, context, error)
            self._stage(upload, {}, parcel, context)
        return upload

    def _stage(self, upload: Upload, have: dict[int, int], parcel: Parcel, context: AttemptContext) -> None:
        staging = Staging(self._container, parcel, upload.path, upload.id, upload.block_size, context)
        with context.phase("transfer"):
            staging.run(have, self._options.parallel_blocks)

    def _beside(self, upload: Upload, context: AttemptContext, error: DeliveryError) -> Upload:
        """Another program's unfinished blocks wait under this name: take ids as long as theirs.

        The service wants one length for all waiting blocks of a name. Clearing theirs would need a blob in
        their place and would break that program's upload.
        """
        lengths = {block.length for block in self._container.blocks(upload.path, context)}
        length = lengths.pop() if len(lengths) == 1 else 0
        if not SHORTEST <= length <= 64:
            raise DeliveryError(
                ErrorKind.TRANSIENT,
                f"another program's unfinished upload of {upload.path} is in the way",
                hint="Finish that upload or store anything there; else Azure removes it after a week.",
                code=error.code,
            )
        context.log.info("another program's unfinished upload waits under this name", id_length=length)
        beside = Upload.begin(upload.path, upload.block_size, length)
        beside.save(context)
        return beside
