"""What is known of one blob, and what of it is ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from conveyor.contract import Parcel

DELIVERY = "conveyor_delivery"
"""Metadata: the id of the delivery that wrote the blob. Names must be C# identifiers."""

SHA256 = "conveyor_sha256"
"""Metadata: the digest of the payload, hex."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the service tells about a blob."""

    size: int
    etag: str
    metadata: Mapping[str, str]
    version: str | None
    md5: str | None
    """The stored Content-MD5, hex: checked by the service where the blob came in one request."""

    def written_by(self, delivery_id: str, size: int) -> bool:
        """The blob is this delivery's, and whole."""
        return self.metadata.get(DELIVERY) == delivery_id and self.size == size


@dataclass(frozen=True, slots=True)
class Stored:
    """What the service has taken, and how that was verified."""

    etag: str
    version: str | None
    verified: str
    digest: str | None
    blocks: int = 0

    @classmethod
    def of(cls, head: Head, parcel: Parcel) -> Stored:
        """What a look at this delivery's own blob proves."""
        if head.md5 == parcel.digests["md5"]:
            return cls(head.etag, head.version, "md5", f"md5:{head.md5}")
        return cls(head.etag, head.version, "size", None)
