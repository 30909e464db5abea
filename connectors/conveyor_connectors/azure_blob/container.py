"""One container: the service's operations with our parameters, our limits and our errors."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobBlock, ContentSettings, StandardBlobTier

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind, Parcel
from conveyor.kit.bodies import Body, BodyStopped, Publishing
from conveyor.kit.errors import causes
from conveyor.kit.pools import CONNECT_TIMEOUT, READ_TIMEOUT
from conveyor_connectors.azure_blob.blob import DELIVERY, SHA256, Head, Stored
from conveyor_connectors.azure_blob.errors import classify, code_of
from conveyor_connectors.azure_blob.listing import Block, blocks_in
from conveyor_connectors.azure_blob.options import AzureBlobOptions

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient, ContainerClient

COMMIT_TIMEOUT = 300.0
"""Seconds to wait for the answer to a block list, which may name 50,000 blocks."""

_TAKEN = frozenset({"BlobAlreadyExists", "ResourceAlreadyExists", "PathAlreadyExists", "ConditionNotMet"})


class Taken(Exception):
    """A precondition failed: something stands under the name. Never leaves the connector."""


class Limits(Protocol):
    """What a single call needs of an attempt."""

    def check(self) -> None:
        """Raise when the attempt must stop."""

    def remaining(self) -> float:
        """Seconds until the attempt's deadline."""


class Container:
    """Operations on the destination's container.

    Args:
        client: The shared SDK client.
        options: The destination's options.
    """

    def __init__(self, client: ContainerClient, options: AzureBlobOptions) -> None:
        self._client = client
        self._options = options

    @property
    def address(self) -> str:
        """``https://account…/container``, without any signature."""
        return f"{self._options.account.url}/{self._options.place}"

    # --- looking -----------------------------------------------------------------------------------

    def exists(self, context: Limits) -> None:
        """Ask for the container itself.

        Raises:
            DeliveryError: it is not there, or the sign-in may not look.
        """
        with self._errors("look at the container"):
            self._client.get_container_properties(**self._limits(context))

    def head(self, name: str, context: Limits) -> Head | None:
        """What stands under the name; None for nothing."""
        try:
            with self._errors("look at the blob"):
                found = self._blob(name).get_blob_properties(**self._limits(context))
        except DeliveryError as error:
            if error.code in ("BlobNotFound", "ResourceNotFound"):
                return None
            raise
        md5 = found.content_settings.content_md5
        metadata = {key.lower(): value for key, value in (found.metadata or {}).items()}
        return Head(found.size, found.etag, metadata, found.version_id, bytes(md5).hex() if md5 else None)

    def sha256(self, name: str, context: Limits) -> str:
        """Read a small blob back and hash it, hex."""
        with self._errors("read the blob back"):
            data = self._blob(name).download_blob(**self._limits(context)).readall()
        return hashlib.sha256(data).hexdigest()

    # --- one request -------------------------------------------------------------------------------

    def put(self, parcel: Parcel, name: str, context: AttemptContext, *, create: bool) -> Stored:
        """Store the parcel with one Put Blob, streamed; the service compares its MD5 before it answers.

        Args:
            parcel: What to store.
            name: Where.
            context: The attempt; its fence is checked before the last byte.
            create: Only where nothing stands (``If-None-Match: *``).

        Raises:
            Taken: something stands there.
        """
        md5 = bytes.fromhex(parcel.digests["md5"])
        with parcel.open() as stream:
            body = Body(stream, 0, parcel.size, Publishing(context))
            if parcel.size == 0:
                context.before_commit()
            with (
                self._errors("put the blob", create=create, sent=lambda: body.finished),
                context.phase("transfer"),
            ):
                answer = self._blob(name).upload_blob(
                    b"",
                    length=0,
                    overwrite=not create,
                    raw_request_hook=_streaming(body, md5),
                    standard_blob_tier=self._tier,
                    **self._properties(parcel),
                    **self._limits(context, READ_TIMEOUT, context.remaining()),
                )
        told = answer.get("content_md5")
        if told is not None and bytes(told) != md5:
            # Another service's answer than Azure's, which refuses such a body. Only what we wrote is removed.
            self.delete(name, context, answer.get("etag"))
            raise DeliveryError(ErrorKind.INTEGRITY, "the service holds other bytes than were sent; removed")
        return self._stored(answer, parcel)

    def delete(self, name: str, context: Limits, etag: str | None = None) -> None:
        """Remove the blob, as long as it is the one with that ETag."""
        condition: dict[str, Any] = {}
        if etag:
            condition = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
        with self._errors("delete the blob"):
            self._blob(name).delete_blob(**condition, **self._limits(context))

    # --- blocks ------------------------------------------------------------------------------------

    def blocks(self, name: str, context: Limits) -> list[Block]:
        """The blocks under that name that wait to be committed."""
        found: list[Block] = []

        def keep(_: object, listed: Any, __: object) -> Any:
            # The SDK's own list leaves open whether it decoded an id.
            found.extend(blocks_in(listed))
            return listed

        try:
            with self._errors("list the blocks"):
                self._blob(name).get_block_list("uncommitted", cls=keep, **self._limits(context))
        except DeliveryError as error:
            if error.code not in ("BlobNotFound", "ResourceNotFound"):
                raise
        return found

    def stage(self, name: str, block_id: str, body: Body, md5: bytes, context: Limits) -> None:
        """Send one block; the service compares its MD5 before it answers."""
        with self._errors("send a block"):
            self._blob(name).stage_block(
                block_id,
                body,  # the SDK hands it on as it is
                length=len(body),
                transactional_content_md5=md5,
                **self._scope,
                **self._limits(context, READ_TIMEOUT, context.remaining()),
            )

    def commit(
        self, parcel: Parcel, name: str, ids: Sequence[str], context: AttemptContext, *, create: bool
    ) -> Stored:
        """Make a blob of the blocks: it becomes visible, with the payload's MD5 stored.

        Raises:
            Taken: ``create``, and something stands there.
        """
        condition: dict[str, Any] = {"match_condition": MatchConditions.IfMissing} if create else {}
        with (
            self._errors("commit the blocks", create=create, sent=lambda: True),
            context.phase("commit"),
        ):
            answer = self._blob(name).commit_block_list(
                [BlobBlock(one) for one in ids],
                validate_content=True,  # the MD5 of the list itself
                standard_blob_tier=self._tier,
                **condition,
                **self._properties(parcel),
                **self._limits(context, COMMIT_TIMEOUT),
            )
        return self._stored(answer, parcel, len(ids))

    # --- parameters, limits, errors ----------------------------------------------------------------

    def _blob(self, name: str) -> BlobClient:
        return self._client.get_blob_client(name)

    @property
    def _tier(self) -> StandardBlobTier | None:
        return None if self._options.tier is None else StandardBlobTier(self._options.tier)

    @property
    def _scope(self) -> dict[str, Any]:
        scope = self._options.encryption_scope
        return {} if scope is None else {"encryption_scope": scope}

    def _properties(self, parcel: Parcel) -> dict[str, Any]:
        """What is stored with the blob."""
        options = self._options
        media_type = parcel.media_type
        plain = media_type and media_type.isascii() and media_type.isprintable()
        settings = ContentSettings(
            content_type=media_type if plain else "application/octet-stream",
            content_md5=bytearray.fromhex(parcel.digests["md5"]),
            cache_control=options.cache_control,
            content_disposition=options.content_disposition,
        )
        metadata = {**options.metadata, DELIVERY: parcel.delivery_id, SHA256: parcel.digests["sha256"]}
        tags = {"tags": dict(options.tags)} if options.tags else {}
        return {"content_settings": settings, "metadata": metadata, **tags, **self._scope}

    def _stored(self, answer: Mapping[str, Any], parcel: Parcel, blocks: int = 0) -> Stored:
        digest = f"md5:{parcel.digests['md5']}"
        return Stored(answer.get("etag") or "", answer.get("version_id"), "md5", digest, blocks)

    def _limits(
        self, context: Limits, seconds: float = READ_TIMEOUT, work: float | None = None
    ) -> dict[str, Any]:
        """Time limits of one request: to connect, for the answer, and for the service's own work."""
        context.check()
        left = max(1.0, context.remaining())
        return {
            "connection_timeout": min(CONNECT_TIMEOUT, left),
            "read_timeout": min(seconds, left),
            "timeout": math.ceil(min(left, work or seconds)),
        }

    @contextmanager
    def _errors(
        self, doing: str, *, create: bool = False, sent: Callable[[], bool] = lambda: False
    ) -> Iterator[None]:
        try:
            yield
        except HttpResponseError as error:
            if create and error.status_code in (409, 412) and code_of(error) in _TAKEN:
                raise Taken from None
            raise classify(error, doing, sent=sent()) from None
        except Exception as error:
            if any(isinstance(cause, BodyStopped) for cause in causes(error)):
                raise BodyStopped from None
            raise classify(error, doing, sent=sent()) from None


def _streaming(body: Body, md5: bytes) -> Callable[[Any], None]:
    """A request hook that sends ``body`` in place of the SDK's, which it wants in memory as a whole.

    The hook runs before the request is signed.
    """

    def hook(request: Any) -> None:
        if len(body):
            request.http_request.data = body
        request.http_request.headers["Content-Length"] = str(len(body))
        request.http_request.headers["Content-MD5"] = base64.b64encode(md5).decode()

    return hook
