"""The mail: a line of text and the file, streamed as base64 (RFC 2045, RFC 5322)."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.header import Header
from email.utils import formatdate
from typing import BinaryIO
from urllib.parse import quote

from conveyor.contract import DeliveryError, ErrorKind, Parcel, Target
from conveyor.kit.bodies import read_some
from conveyor_smtp.options import SmtpOptions

LINE = 57
"""Bytes of the file in a line of base64: 76 characters (RFC 2045, section 6.8)."""
BLOCK = LINE * 4096
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_PLAIN = re.compile(r"[A-Za-z0-9 ._()+,=@-]{1,200}")
_TYPE = re.compile(r"(?!message/|multipart/)[A-Za-z0-9!#$&^_.+-]{1,100}/[A-Za-z0-9!#$&^_.+-]{1,100}")


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail whose size is known before a byte of the file is read.

    Attributes:
        head: Up to the first byte of base64.
        tail: After the last one.
        file: Bytes of the file.
        ident: The ``Message-ID``: the same on every attempt, so that receivers can tell a repeated mail.
    """

    head: bytes
    tail: bytes
    file: int
    ident: str

    @property
    def size(self) -> int:
        """Bytes of the whole message, as ``SIZE=`` counts them (RFC 1870, section 5)."""
        lines = -(-self.file // LINE)
        return len(self.head) + 4 * -(-self.file // 3) + 2 * lines + len(self.tail)

    def body(self, source: BinaryIO) -> Iterator[tuple[int, bytes]]:
        """The file as lines of base64, in blocks; before each, how many bytes of the file it holds.

        No line of base64 begins with a dot, so nothing needs stuffing (RFC 5321, section 4.5.2).

        Raises:
            DeliveryError: SOURCE, when the file ends early or goes on.
        """
        left = self.file
        while left:
            wanted, parts = min(BLOCK, left), []
            left -= wanted
            while wanted:
                parts.append(read_some(source, wanted))
                wanted -= len(parts[-1])
            block = b"".join(parts)
            lines = (base64.b64encode(block[at : at + LINE]) for at in range(0, len(block), LINE))
            yield len(block), b"\r\n".join(lines) + b"\r\n"
        if source.read(1):
            raise DeliveryError(ErrorKind.SOURCE, "the payload is longer than was submitted")


def compose(parcel: Parcel, target: Target, options: SmtpOptions, now: float) -> Mail:
    """The mail that brings a parcel.

    Args:
        parcel: The file.
        target: Its last level names the attachment; the whole path stands in ``X-Conveyor-Path``.
        options: Sender, recipients, subject.
        now: Seconds since the epoch.
    """
    ident = f"<{parcel.delivery_id}@{options.sender.rpartition('@')[2]}>"
    boundary = f"=_conveyor_{parcel.delivery_id}"
    subject = options.subject.replace("{filename}", target.name).replace("{path}", target.path)
    media_type = parcel.media_type if _TYPE.fullmatch(parcel.media_type) else "application/octet-stream"
    head = [
        f"From: <{options.sender}>",
        "To: " + ",\r\n ".join(f"<{address}>" for address in options.to),
        f"Subject: {_encoded(subject)}",
        f"Date: {formatdate(now)}",
        f"Message-ID: {ident}",
        "Auto-Submitted: auto-generated",  # RFC 3834: no out-of-office answers
        f"X-Conveyor-Path: {_encoded(target.path)}",
        f"X-Conveyor-SHA256: {parcel.digests['sha256']}",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/mixed; boundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: base64",
        "",
        base64.encodebytes((_readable(target.path) + "\r\n").encode()).decode().strip().replace("\n", "\r\n"),
        f"--{boundary}",
        f"Content-Type: {media_type}",
        f"Content-Disposition: attachment;\r\n {_filename(target.name)}",
        "Content-Transfer-Encoding: base64",
        "",
        "",
    ]
    return Mail("\r\n".join(head).encode("ascii"), f"--{boundary}--\r\n".encode(), parcel.size, ident)


def _readable(text: str) -> str:
    """One line of valid text."""
    return _CONTROL.sub(" ", text).encode("utf-8", "replace").decode()


def _encoded(text: str) -> str:
    """An unstructured header's value: ASCII, folded (RFC 2047); no further header can begin in it."""
    return Header(_readable(text), "utf-8", header_name="X-Conveyor-Path").encode(linesep="\r\n")


def _filename(name: str) -> str:
    """The parameter of an attachment's name, as RFC 2231 writes what is more than plain ASCII."""
    if _PLAIN.fullmatch(name):
        return f'filename="{name}"'
    return f"filename*=utf-8''{quote(_readable(name), safe='')}"
