"""What SFTP and FTP have in common: how a server refuses, how a line breaks, what a file looks like."""

from __future__ import annotations

from typing import Protocol


class LinkLost(Exception):
    """The connection is gone or silent; nothing more can be said to the server through it."""


class Refused(Exception):
    """The server refused one request; the connection is as good as before.

    Attributes:
        code: The protocol's number.
        text: The server's words.
    """

    def __init__(self, message: str, code: int, text: str) -> None:
        super().__init__(message)
        self.code = code
        self.text = text


class Entry(Protocol):
    """What a server says of a file; None where it does not say."""

    @property
    def size(self) -> int | None:
        """Bytes."""

    @property
    def is_folder(self) -> bool:
        """True when it certainly is one."""
