"""Parcels to deliver, made on the spot."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO, cast

from conveyor.contract import Parcel
from conveyor.testing.content import Content, SourceStream, content_of, digests_of

_numbers = itertools.count(1)
_declared: set[str] = set()


@contextmanager
def declaring(digests: Iterable[str]) -> Iterator[None]:
    """Parcels that are made meanwhile have these digests, too, as submission would have computed them."""
    before = set(_declared)
    _declared.update(digests)
    try:
        yield
    finally:
        _declared.clear()
        _declared.update(before)


def make_parcel(
    content: bytes | int | Content = b"not really a photo",
    *,
    delivery_id: str | None = None,
    filename: str = "photo.jpg",
    media_type: str = "image/jpeg",
    digests: Iterable[str] = (),
    session_id: str | None = "ses_1",
    image_id: str | None = "img_1",
    image_index: int | None = 0,
    source: str | None = None,
    tags: tuple[str, ...] = (),
    meta: Mapping[str, str] | None = None,
    submitted_at: float = 1_800_000_000.0,
    ends_at: int | None = None,
    raises_at: int | None = None,
    error: Callable[[], BaseException] = lambda: OSError("the source cannot be read"),
    on_read: Callable[[int], None] | None = None,
    opened: list[BinaryIO] | None = None,
) -> Parcel:
    """A parcel as the engine would hand it to a connector.

    Args:
        content: Bytes; or a size, for that many bytes of a fixed pattern that takes no memory.
        delivery_id: A new one for each parcel unless given.
        filename, media_type: As the sender named it, and its MIME type.
        session_id, image_id, image_index, source, tags, meta: Metadata.
        submitted_at: Seconds since the epoch.
        digests: Beside sha256 and md5, by the names of ``Capabilities.digests``.
        ends_at: Its streams end there, though its size promises more.
        raises_at, error: Its streams raise what ``error`` makes there.
        on_read: Called before each read of its streams with the offset.
        opened: Every stream that is opened is appended here.
    """
    held = content_of(content)
    names = frozenset({"sha256", "md5", *digests, *_declared})

    def open_stream() -> BinaryIO:
        stream = SourceStream(held, ends_at=ends_at, raises_at=raises_at, error=error, on_read=on_read)
        if opened is not None:
            opened.append(cast(BinaryIO, stream))
        return cast(BinaryIO, stream)

    ident = delivery_id or f"dlv_test{next(_numbers):06d}"
    return Parcel(
        delivery_id=ident,
        job_id=f"job_{ident.removeprefix('dlv_')}",
        filename=filename,
        size=held.size,
        media_type=media_type,
        digests=digests_of(held, names),
        submitted_at=submitted_at,
        open=open_stream,
        session_id=session_id,
        image_id=image_id,
        image_index=image_index,
        source=source,
        tags=tags,
        meta=dict(meta or {}),
    )
