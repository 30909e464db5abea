"""What a file's name says about its contents, and what may stand in a file name at all."""

from __future__ import annotations

import functools
import mimetypes
import re

DEFAULT_TYPE = "application/octet-stream"
DEFAULT_NAME = "file"

_PHONES = {
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".avif": "image/avif",
    ".webp": "image/webp",
    ".dng": "image/x-adobe-dng",
    ".jxl": "image/jxl",
    ".mov": "video/quicktime",
    ".m4a": "audio/mp4",
}
_TYPE = re.compile(r"[\w!#$&^.+-]{1,100}/[\w!#$&^.+-]{1,100}", re.ASCII)


@functools.cache
def _known() -> mimetypes.MimeTypes:
    """Python's own table, not the machine's: the answer is the same on each worker."""
    known = mimetypes.MimeTypes(filenames=())
    for suffix, media_type in _PHONES.items():
        known.add_type(media_type, suffix)
    return known


def guess(name: str) -> str:
    """The media type by the name's extension; ``application/octet-stream`` when it says nothing."""
    _, dot, suffix = name.rpartition(".")
    media_type = _known().types_map[True].get(f".{suffix.lower()}") if dot else None
    return media_type or DEFAULT_TYPE


def valid(media_type: str | None) -> str | None:
    """The media type without parameters, when it is one (RFC 6838 section 4.2)."""
    if not media_type:
        return None
    bare = media_type.partition(";")[0].strip().lower()
    return bare if _TYPE.fullmatch(bare) else None


def base_name(name: str) -> str | None:
    """The last part of a name from outside, whichever separator its system uses; None when empty."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2].strip()
    return last if last.strip(".") else None


def readable(name: str) -> str:
    """A file name that Python could not decode as UTF-8, read as Latin-1 instead of being lost.

    Python hands undecodable bytes out as lone surrogates (PEP 383), which no database stores.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode(errors="surrogateescape").decode("latin-1")
    return name
