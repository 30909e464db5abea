"""What comes with a file, made storable: bounded, valid text, right types. Nothing is guessed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from conveyor.errors import SubmissionError
from conveyor.payloads.sources.media import readable, valid

if TYPE_CHECKING:
    from conveyor.payloads.sources import AnySource

TEXT_MAX: Final = 1024
"""Characters of a file name, an id, a tag or a key."""
META_MAX: Final = 8192
"""Characters of one metadata value."""
COUNT_MAX: Final = 256
"""Tags, and metadata fields."""
INDEX_MAX: Final = 2**31 - 1
PRIORITY_MAX: Final = 9


@dataclass(frozen=True, slots=True)
class Item:
    """One file to submit.

    Attributes:
        source: A path, an http(s) URL, bytes, or a binary stream.
        to: Destination ids; None means the configured ``default_destinations``.
        filename: Instead of the source's own name.
        media_type: Instead of what name or server say.
        session_id: Groups files.
        image_id: The image's id in the application.
        image_index: Its place in the session, from 0.
        tags: ``key:value`` or bare words, stored as given.
        meta: Further fields, for templates and receivers.
        source_name: Where the file came from, in the application's words.
        key: Idempotency key: submitted again with the same bytes and destinations, it answers with the first
            job; with others it is an error.
        in_place: Copy nothing; the path must stay, unchanged, where every worker sees it.
        priority: From 0 to 9: which of a destination's waiting deliveries go first.
    """

    source: AnySource
    to: str | Iterable[str] | None = None
    filename: str | None = None
    media_type: str | None = None
    session_id: str | None = None
    image_id: str | None = None
    image_index: int | None = None
    tags: Iterable[str] = ()
    meta: Mapping[str, Any] | None = field(default=None)
    source_name: str | None = None
    key: str | None = None
    in_place: bool = False
    priority: int = 0


class Metadata(NamedTuple):
    """An item's fields, checked; ``rest`` holds those of the job's record by its names."""

    filename: str | None
    media_type: str | None
    rest: dict[str, Any]
    priority: int = 0


def metadata(item: Item) -> Metadata:
    """Check what comes with a file, before any byte of it is read.

    Raises:
        SubmissionError: A field has the wrong type, or is too long.
    """
    return Metadata(
        text(item.filename, "filename"),
        media_type(item.media_type),
        {
            "key": text(item.key, "key"),
            "session_id": text(item.session_id, "session_id"),
            "image_id": text(item.image_id, "image_id"),
            "image_index": index(item.image_index),
            "source": text(item.source_name, "source_name"),
            "tags": tags(item.tags),
            "meta": meta(item.meta),
        },
        priority(item.priority),
    )


def text(value: str | None, what: str, limit: int = TEXT_MAX) -> str | None:
    """Valid Unicode without NUL, which no database stores; None and empty text are None.

    Raises:
        SubmissionError: It is no text, or longer than ``limit`` characters.
    """
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise SubmissionError(f"{what} must be text, not {type(value).__name__}")
    if len(value) > limit:
        raise SubmissionError(f"{what} has {len(value)} characters; at most {limit} are kept")
    return readable_text(value).replace("\0", "\ufffd")


def readable_text(value: str) -> str:
    """Text without lone surrogates: undecodable file names as Latin-1, anything else replaced by U+FFFD."""
    try:
        return readable(value)
    except UnicodeEncodeError:
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def index(value: int | None) -> int | None:
    """A place from 0, or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= INDEX_MAX:
        raise SubmissionError(f"image_index must be a whole number from 0, not {value!r}")
    return value


def priority(value: int) -> int:
    """A priority.

    Raises:
        SubmissionError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= PRIORITY_MAX:
        raise SubmissionError(f"priority must be a whole number from 0 to {PRIORITY_MAX}, not {value!r}")
    return value


def tags(values: Iterable[str]) -> tuple[str, ...]:
    """The tags as given; one text instead of a list is a common slip and refused."""
    if isinstance(values, str | bytes):
        raise SubmissionError("tags must be a list", cure=f"tags=[{values!r}]")
    found = tuple(kept for value in values if (kept := text(value, "a tag")) is not None)
    if len(found) > COUNT_MAX:
        raise SubmissionError(f"{len(found)} tags; at most {COUNT_MAX} are kept")
    return found


def meta(values: Mapping[str, Any] | None) -> dict[str, str]:
    """Metadata as text by key; numbers and truth values are written as JSON writes them."""
    if values is None:
        return {}
    if len(values) > COUNT_MAX:
        raise SubmissionError(f"{len(values)} metadata fields; at most {COUNT_MAX} are kept")
    found: dict[str, str] = {}
    for key, value in values.items():
        name = text(key, "a metadata key")
        if name is None or value is None:
            continue
        written = str(value).lower() if isinstance(value, bool) else value
        if isinstance(written, int | float):
            written = str(written)
        found[name] = text(written, f"the metadata field {name!r}", META_MAX) or ""
    return found


def media_type(value: str | None) -> str | None:
    """A media type without parameters, or None when none was given."""
    if value is None or value == "":
        return None
    bare = valid(value)
    if bare is None:
        raise SubmissionError(f"{value[:100]!r} is no media type", cure="for instance image/jpeg")
    return bare


def local_path(source: object) -> str:
    """The path of a source that is to stay in place."""
    if isinstance(source, str | os.PathLike) and isinstance(path := os.fspath(source), str):
        return path
    raise SubmissionError(
        "only a file can be submitted in place", cure="leave in_place out: the bytes are copied"
    )
