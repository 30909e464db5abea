"""Reading a 207: bounded, without entities, and only what is needed of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import lxml.etree as etree  # type: ignore[import-untyped]

_DAV = "{DAV:}"
_OWNCLOUD = "{http://owncloud.org/ns}"

PROPFIND = (
    b'<?xml version="1.0" encoding="utf-8"?>'
    b'<d:propfind xmlns:d="DAV:"><d:prop>'
    b"<d:resourcetype/><d:getcontentlength/><d:getetag/>"
    b"</d:prop></d:propfind>"
)
PROPFIND_CLOUD = PROPFIND.replace(
    b'xmlns:d="DAV:"', b'xmlns:d="DAV:" xmlns:o="http://owncloud.org/ns"'
).replace(b"</d:prop>", b"<o:checksums/></d:prop>")


@dataclass(frozen=True, slots=True)
class Entry:
    """What a server tells about one resource.

    Attributes:
        path: Its path on the server, decoded, without a slash at the end.
        is_folder: It is a collection.
        size: Bytes, where told.
        etag: Entity tag, opaque.
        checksums: Digests by hashlib name, hex, as ownCloud and Nextcloud tell them.
        status: Of the resource as a whole, where told (RFC 4918, 14.24): 404 when there is none.
    """

    path: str
    is_folder: bool
    size: int | None = None
    etag: str | None = None
    checksums: dict[str, str] = field(default_factory=dict)
    status: int = 200


class Unreadable(ValueError):
    """Not a multi-status. Never leaves the connector."""


def entries(body: bytes) -> list[Entry]:
    """The resources of a 207.

    Raises:
        Unreadable: not XML, with a document type, or something else.
    """
    return [_entry(response) for response in _responses(body)]


def statuses(body: bytes) -> list[int]:
    """The HTTP statuses that a 207 names, for MOVE and DELETE: what did not succeed.

    Raises:
        Unreadable: as above.
    """
    lines = (line for response in _responses(body) for line in response.iter(f"{_DAV}status"))
    return [_code(line.text) for line in lines]


def _responses(body: bytes) -> Iterator[Any]:
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False
    )
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError):
        raise Unreadable("not XML") from None
    if root is None or root.getroottree().docinfo.doctype:
        raise Unreadable("XML with a document type")
    if root.tag != f"{_DAV}multistatus":
        raise Unreadable("XML that is no multi-status")
    yield from root.iterfind(f"{_DAV}response")


def _entry(response: Any) -> Entry:
    href = (response.findtext(f"{_DAV}href") or "").strip()
    size = etag = None
    is_folder = False
    checksums: dict[str, str] = {}
    for propstat in response.iterfind(f"{_DAV}propstat"):
        if _code(propstat.findtext(f"{_DAV}status")) != 200:
            continue
        prop = propstat.find(f"{_DAV}prop")
        if prop is None:
            continue
        is_folder = is_folder or prop.find(f"{_DAV}resourcetype/{_DAV}collection") is not None
        length = (prop.findtext(f"{_DAV}getcontentlength") or "").strip()
        size = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else size
        etag = (prop.findtext(f"{_DAV}getetag") or "").strip() or etag
        for told in prop.iterfind(f"{_OWNCLOUD}checksums/{_OWNCLOUD}checksum"):
            checksums |= checksums_of(told.text or "")
    status = _code(response.findtext(f"{_DAV}status")) or 200
    return Entry(path_of(href), is_folder, size, etag, checksums, status)


def path_of(href: str) -> str:
    """The decoded path of an href, which may be a whole URL."""
    path = href if href.startswith("/") else urlsplit(href).path
    return unquote(path).rstrip("/")


def checksums_of(text: str) -> dict[str, str]:
    """``SHA1:AB… MD5:CD…`` → ``{"sha1": "ab…", "md5": "cd…"}``."""
    pairs = (word.partition(":") for word in text.split())
    return {name.lower(): value.lower() for name, mark, value in pairs if mark and value}


def _code(line: str | None) -> int:
    """``HTTP/1.1 404 Not Found`` → 404; 0 when there is none."""
    words = (line or "").split()
    return int(words[1]) if len(words) > 1 and words[1].isascii() and words[1].isdigit() else 0
