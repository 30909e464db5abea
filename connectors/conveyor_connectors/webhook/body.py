"""The three body formats, as streams of known length: never more than one chunk in memory."""

from __future__ import annotations

import binascii
import hashlib
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO

from conveyor.contract import DeliveryError, ErrorKind, Parcel
from conveyor_connectors.webhook.headers import form_part, is_value

CHUNK = 192 * 1024
"""Bytes read at once; a multiple of 3, so that base64 chunks join without padding."""


@dataclass(frozen=True, slots=True)
class Body:
    """A request body.

    Attributes:
        media_type: The ``Content-Type``.
        length: The ``Content-Length``.
        pieces: Iterates over the body once more for each call; the payload's digest is checked before its
            last piece is handed out.
    """

    media_type: str
    length: int
    pieces: Callable[[], Iterator[bytes]]


def make_body(format: str, parcel: Parcel) -> Body:  # noqa: A002 - the option's published name
    """The body for ``parcel`` in ``format``: ``multipart``, ``json_base64`` or ``binary``."""
    if format == "binary":
        return Body("application/octet-stream", parcel.size, lambda: payload(parcel))
    if format == "json_base64":
        return _json(parcel)
    return _multipart(parcel)


def payload(parcel: Parcel) -> Iterator[bytes]:
    """The parcel's bytes in chunks of ``CHUNK``.

    Raises:
        DeliveryError: SOURCE, when it ends early, is longer than it was, or differs from its sha256; always
            before the last chunk is handed out.
    """
    expected = parcel.digests.get("sha256")
    hasher = hashlib.sha256()
    left = parcel.size
    with closing(_open(parcel)) as stream:
        while left:
            chunk = _read_full(stream, min(CHUNK, left))
            hasher.update(chunk)
            left -= len(chunk)
            if not left and (_read(stream, 1) or (expected and hasher.hexdigest() != expected)):
                raise DeliveryError(ErrorKind.SOURCE, "the payload changed after it was submitted")
            yield chunk


def _open(parcel: Parcel) -> BinaryIO:
    try:
        return parcel.open()
    except OSError as error:
        raise _unreadable(error) from None


def _read_full(stream: BinaryIO, size: int) -> bytes:
    chunk = _read(stream, size)
    if len(chunk) == size:
        return chunk
    parts = [chunk]
    while chunk and (missing := size - sum(map(len, parts))):
        chunk = _read(stream, missing)
        parts.append(chunk)
    whole = b"".join(parts)
    if len(whole) < size:
        raise DeliveryError(ErrorKind.SOURCE, "the payload ends early")
    return whole


def _read(stream: BinaryIO, size: int) -> bytes:
    try:
        return stream.read(size)
    except OSError as error:
        raise _unreadable(error) from None


def _unreadable(error: OSError) -> DeliveryError:
    return DeliveryError(ErrorKind.SOURCE, f"the payload cannot be read: {error.strerror or error}")


def _multipart(parcel: Parcel) -> Body:
    # Random for each attempt: the sender of a file cannot put the boundary into it.
    boundary = f"conveyor-{secrets.token_hex(16)}"
    fields = [*_tag_fields(parcel), ("tags", json.dumps(list(parcel.tags)))]
    parts = [
        f"--{boundary}\r\nContent-Disposition: {form_part(name)}\r\n\r\n{value}\r\n" for name, value in fields
    ]
    media_type = parcel.media_type if is_value(parcel.media_type) else "application/octet-stream"
    parts.append(
        f"--{boundary}\r\nContent-Disposition: {form_part('image', parcel.filename)}\r\n"
        f"Content-Type: {media_type}\r\n\r\n"
    )
    before = "".join(parts).encode("utf-8", "replace")
    after = f"\r\n--{boundary}--\r\n".encode()
    return Body(
        f"multipart/form-data; boundary={boundary}",
        len(before) + parcel.size + len(after),
        lambda: _framed(before, payload(parcel), after),
    )


def _tag_fields(parcel: Parcel) -> Iterator[tuple[str, str]]:
    """A text field per ``key:value`` tag; the two names of the format itself stay unambiguous."""
    for tag in parcel.tags:
        key, colon, value = tag.partition(":")
        if colon and key and key not in ("image", "tags"):
            yield key, value


def _json(parcel: Parcel) -> Body:
    head = {
        "session_id": parcel.session_id,
        "image_id": parcel.image_id,
        "image_index": parcel.image_index,
        "mime_type": parcel.media_type,
        "filename": parcel.filename,
        "size_bytes": parcel.size,
    }
    before = (json.dumps(head)[:-1] + ', "data": "').encode()
    after = ('", "tags": ' + json.dumps(list(parcel.tags)) + "}").encode()
    length = len(before) + (parcel.size + 2) // 3 * 4 + len(after)
    return Body("application/json", length, lambda: _framed(before, map(_base64, payload(parcel)), after))


def _base64(chunk: bytes) -> bytes:
    return binascii.b2a_base64(chunk, newline=False)


def _framed(before: bytes, middle: Iterator[bytes], after: bytes) -> Iterator[bytes]:
    """``before`` and ``after`` travel with the first and the last chunk: small bodies are one piece."""
    held = before
    first = True
    for chunk in middle:
        if first:
            held, first = held + chunk, False
        else:
            yield held
            held = chunk
    yield held + after
