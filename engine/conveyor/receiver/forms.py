"""Finding the file and its metadata in a spooled request body, without reading it into memory."""

from __future__ import annotations

import binascii
import json
import mmap
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import unquote

_DATA = re.compile(rb'"data"\s*:\s*"([A-Za-z0-9+/=]*)"')
_EXTENDED = re.compile(r"filename\*=UTF-8''([^;\s]+)", re.IGNORECASE)
_PLAIN = re.compile(r'filename="([^"]*)"')
_NAME = re.compile(r'\bname="([^"]*)"')
_STEP = 1 << 20
"""Bytes copied at once; a multiple of 4, so that base64 can be decoded step by step."""


class Unreadable(Exception):
    """The body is not what its Content-Type says."""


@dataclass
class Form:
    """What a request carried.

    Attributes:
        format: ``multipart``, ``json_base64`` or ``binary``.
        filename, media_type, tags: As the body or the headers say.
        fields: Text fields of a form, or the JSON document without its data.
        start, end: Where the file's bytes lie in the body.
        base64: They are base64.
    """

    format: str
    filename: str | None
    media_type: str | None
    tags: tuple[str, ...]
    start: int
    end: int
    base64: bool = False
    fields: Mapping[str, Any] = field(default_factory=dict)


def read_form(path: Path, headers: Mapping[str, str], prefix: str) -> Form:
    """Find the file in the body at ``path``.

    Raises:
        Unreadable: it cannot be found.
    """
    content_type = Message()
    content_type["Content-Type"] = headers.get("content-type", "")
    kind = content_type.get_content_type()
    with _mapped(path) as body:
        if kind == "multipart/form-data":
            return _multipart(body, content_type.get_boundary() or "")
        if kind == "application/json":
            return _json(body)
        return _binary(body, headers, prefix)


def save(body_path: Path, form: Form, to: Path) -> int:
    """Write the file's bytes to ``to``; returns their number.

    Raises:
        Unreadable: its base64 is broken.
    """
    size = 0
    with _mapped(body_path) as body, to.open("wb") as out:
        for start in range(form.start, form.end, _STEP):
            chunk = body[start : min(start + _STEP, form.end)]
            try:
                size += out.write(binascii.a2b_base64(chunk) if form.base64 else chunk)
            except binascii.Error as error:
                raise Unreadable(f"data is not base64: {error}") from None
    return size


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap | bytes]:
    if path.stat().st_size == 0:
        yield b""
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as body:
        yield body


def _multipart(body: mmap.mmap | bytes, boundary: str) -> Form:
    delimiter = b"--" + boundary.encode("latin-1")
    form = Form("multipart", None, None, (), -1, -1)
    fields: dict[str, str] = {}
    at = body.find(delimiter)
    while at >= 0 and body[at + len(delimiter) : at + len(delimiter) + 2] == b"\r\n":
        head_end = body.find(b"\r\n\r\n", at)
        end = body.find(b"\r\n" + delimiter, head_end)
        if head_end < 0 or end < 0:
            break
        head = body[at + len(delimiter) : head_end].decode("utf-8", "replace")
        start = min(head_end + 4, end)
        filename = _filename(head)
        name = _NAME.search(head)
        if filename is not None:
            form.filename, form.start, form.end = filename, start, end
            kind = re.search(r"(?im)^content-type:\s*(\S+)", head)
            form.media_type = kind[1] if kind else None
        elif name:
            fields[name[1]] = body[start:end].decode("utf-8", "replace")
        at = end + 2
    if form.start < 0:
        raise Unreadable("the form has no file part")
    form.fields = fields
    form.tags = _tags(fields.get("tags"))
    return form


def _json(body: mmap.mmap | bytes) -> Form:
    match = _DATA.search(body)
    if match is None:
        raise Unreadable("the JSON has no data")
    start, end = match.span(1)
    del match
    try:
        document = json.loads(body[:start] + body[end:])
    except ValueError:
        raise Unreadable("the body is not JSON") from None
    tags = tuple(str(tag) for tag in document.get("tags") or ())
    return Form(
        "json_base64", document.get("filename"), document.get("mime_type"), tags, start, end, True, document
    )


def _binary(body: mmap.mmap | bytes, headers: Mapping[str, str], prefix: str) -> Form:
    filename = _filename(headers.get("content-disposition", ""))
    media_type = headers.get(f"{prefix}mime-type", headers.get("content-type"))
    return Form("binary", filename, media_type, _tags(headers.get(f"{prefix}tags")), 0, len(body))


def _filename(disposition: str) -> str | None:
    extended = _EXTENDED.search(disposition)
    if extended:
        return unquote(extended[1])
    plain = _PLAIN.search(disposition)
    return plain[1].replace("%22", '"') if plain else None


def _tags(text: str | None) -> tuple[str, ...]:
    try:
        return tuple(str(tag) for tag in json.loads(text or "[]"))
    except ValueError:
        return ()
