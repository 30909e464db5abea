"""The objects of a bucket (https://cloud.google.com/storage/docs/json_api/v1/objects).

An object appears whole or not at all, under a generation of its own. The digest of the file stands in what
is sent with it: Cloud Storage keeps nothing whose bytes differ
(https://cloud.google.com/storage/docs/data-validation). The digest that it reports is compared all the same.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind, Parcel
from conveyor.kit.bodies import Body, Publishing
from conveyor.kit.errors import guarded
from conveyor_gcs.client import Client
from conveyor_gcs.errors import classify
from conveyor_gcs.options import GcsOptions

DELIVERY = "conveyor-delivery"
"""Metadata: the id of the delivery that wrote the object."""
SHA256 = "conveyor-sha256"
"""Metadata: the digest of the payload, hex."""
OCTETS = "application/octet-stream"
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]{1,127}/[\w!#$&^.+-]{1,127}(?:;[\x20-\x7e]{0,200})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Stored:
    """An object, as an answer tells it.

    Attributes:
        name: With the prefix.
        generation: Changes with every new content.
        size: Bytes.
        md5: Hex; None where none is told (a composed object, one under a customer's own key).
        metadata: Its own.
    """

    name: str
    generation: str
    size: int
    md5: str | None
    metadata: Mapping[str, str]

    def holds(self, parcel: Parcel) -> bool:
        """Size and digest are the parcel's."""
        return self.size == parcel.size and self.md5 in (None, parcel.digests["md5"])

    def written_by(self, parcel: Parcel) -> bool:
        """This delivery made it, of this very payload."""
        return self.metadata.get(DELIVERY) == parcel.delivery_id and self.holds(parcel)


def stored(found: Mapping[str, Any]) -> Stored:
    """The object that a document describes.

    Raises:
        KeyError, TypeError, ValueError: It describes none.
    """
    told = found.get("md5Hash")
    try:
        md5 = base64.b64decode(told, validate=True).hex() if isinstance(told, str) else None
    except binascii.Error:
        md5 = None
    metadata = found.get("metadata") or {}
    notes = {str(name).lower(): str(value) for name, value in metadata.items()}
    return Stored(str(found["name"]), str(found["generation"]), int(found["size"]), md5, notes)


def media_type(parcel: Parcel) -> str:
    """The parcel's, unless it could say more than that in a header."""
    return parcel.media_type if _MEDIA_TYPE.fullmatch(parcel.media_type) else OCTETS


class Bucket:
    """Requests about one bucket's objects, by their whole names.

    Args:
        client: Sends.
        options: The destination's.
    """

    def __init__(self, client: Client, options: GcsOptions) -> None:
        self.client = client
        self._options = options
        self._home = f"/b/{quote(options.bucket, safe='')}/o"

    def head(self, name: str, context: AttemptContext) -> Stored | None:
        """What stands under a name.

        Raises:
            DeliveryError: The account may not look, among others.
        """
        doing = "look at the object"
        answer = self.client.call(doing, context, "GET", self._url(name), accept=(200, 404))
        if answer.status == 404:
            return None
        with guarded(doing, classify):
            return stored(answer.document())

    def sha256(self, name: str, context: AttemptContext) -> str:
        """Hex digest of what is read there; for small objects."""
        answer = self.client.call("read the object", context, "GET", self._url(name, alt="media"))
        return hashlib.sha256(answer.content).hexdigest()

    def delete(self, made: Stored, context: AttemptContext) -> None:
        """Remove this generation and no other; one that is gone is fine."""
        mine = made.generation
        url = self._url(made.name, generation=mine, ifGenerationMatch=mine)
        self.client.call("delete the object", context, "DELETE", url, accept=(200, 204, 404, 412))

    def put(self, parcel: Parcel, name: str, context: AttemptContext, *, create: bool) -> Stored:
        """Store a parcel in one request (``uploadType=multipart``): what is known about it, then its bytes.

        Args:
            parcel: What.
            name: Where.
            context: The attempt.
            create: Only where nothing stands.

        Raises:
            Taken: ``create``, and something stands there.
        """
        doing = "upload the file"
        mark = secrets.token_hex(16)
        about = json.dumps(self.about(parcel, name))
        head = (
            f"--{mark}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{about}\r\n"
            f"--{mark}\r\nContent-Type: {media_type(parcel)}\r\n\r\n"
        ).encode()
        with parcel.open() as stream, context.phase("transfer"):
            content = Body(stream, 0, parcel.size, Publishing(context), sending=False)
            whole = _Enveloped(head, content, f"\r\n--{mark}--\r\n".encode(), context)
            answer = self.client.call(
                doing,
                context,
                "POST",
                self.upload_url("multipart", create=create),
                body=whole,
                headers={
                    "Content-Type": f"multipart/related; boundary={mark}",
                    "Content-Length": str(len(whole)),
                },
                sent=lambda: whole.sent,
            )
        with guarded(doing, lambda error, doing: classify(error, doing, sent=True)):
            return stored(answer.document())

    def about(self, parcel: Parcel, name: str) -> dict[str, Any]:
        """What is stored with the bytes, their digest to be compared by the service."""
        options = self._options
        told = {
            "name": name,
            "contentType": media_type(parcel),
            "md5Hash": base64.b64encode(bytes.fromhex(parcel.digests["md5"])).decode(),
            "cacheControl": options.cache_control,
            "contentDisposition": options.content_disposition,
            "storageClass": options.storage_class,
            "metadata": {
                **options.metadata,
                DELIVERY: parcel.delivery_id,
                SHA256: parcel.digests["sha256"],
            },
        }
        return {key: value for key, value in told.items() if value is not None}

    def upload_url(self, kind: str, *, create: bool) -> str:
        """Where an upload begins.

        ``ifGenerationMatch=0`` lets it succeed only where nothing stands
        (https://cloud.google.com/storage/docs/request-preconditions#special-case).
        """
        return self.client.url(
            f"/upload/storage/v1{self._home}",
            uploadType=kind,
            ifGenerationMatch="0" if create else None,
            kmsKeyName=self._options.kms_key,
        )

    def _url(self, name: str, **query: str | None) -> str:
        return self.client.url(f"/storage/v1{self._home}/{quote(name, safe='')}", **query)


class _Enveloped:
    """A body of three pieces, which may be sent again from its beginning."""

    def __init__(self, head: bytes, content: Body, tail: bytes, context: AttemptContext) -> None:
        self._head, self._content, self._tail = head, content, tail
        self._context = context
        self.sent = False

    def __len__(self) -> int:
        return len(self._head) + len(self._content) + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        self.sent = False
        yield self._head
        self._content.begin()
        if not len(self._content):
            self._context.before_commit()
        yield from self._content
        self.sent = True  # the tail may be on its way from here
        yield self._tail
        self._context.uploaded()


def mismatch(made: Stored) -> DeliveryError:
    """Other bytes arrived than were sent."""
    text = f"the bucket holds {made.size} bytes with MD5 {made.md5}, which is not what was sent"
    return DeliveryError(ErrorKind.INTEGRITY, text)
