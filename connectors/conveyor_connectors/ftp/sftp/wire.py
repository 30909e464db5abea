"""SFTP version 3 on the wire: packet types, status codes, encoding and decoding.

Source: draft-ietf-secsh-filexfer-02, the version that every server speaks, and OpenSSH's ``PROTOCOL`` file
for the extensions. Strings on the wire are bytes; paths are UTF-8 here.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

from conveyor_connectors.ftp.server import LinkLost

VERSION = 3


class Packet(enum.IntEnum):
    """Packet types."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSETSTAT = 10
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    REALPATH = 16
    STAT = 17
    RENAME = 18
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


class Status(enum.IntEnum):
    """Status codes. Version 3 ends at 8; servers that know later versions send some of theirs anyway."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    NO_CONNECTION = 6
    CONNECTION_LOST = 7
    OP_UNSUPPORTED = 8
    NO_SUCH_PATH = 10
    FILE_ALREADY_EXISTS = 11
    WRITE_PROTECT = 12
    NO_SPACE = 14
    QUOTA_EXCEEDED = 15
    INVALID_FILENAME = 20
    FILE_IS_A_DIRECTORY = 24


class Open(enum.IntFlag):
    """Flags of OPEN."""

    READ = 0x01
    WRITE = 0x02
    CREAT = 0x08
    TRUNC = 0x10
    EXCL = 0x20


POSIX_RENAME = "posix-rename@openssh.com"
STATVFS = "statvfs@openssh.com"
HARDLINK = "hardlink@openssh.com"

_ATTR_SIZE = 0x01
_ATTR_UIDGID = 0x02
_ATTR_PERMISSIONS = 0x04
_ATTR_TIMES = 0x08
_ATTR_EXTENDED = 0x80000000
_TYPE_MASK = 0o170000
_DIRECTORY = 0o040000


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a server says of a file; None where it does not say."""

    size: int | None = None
    mode: int | None = None
    mtime: int | None = None

    @property
    def is_folder(self) -> bool:
        """A folder, by the type bits of its mode."""
        return self.mode is not None and self.mode & _TYPE_MASK == _DIRECTORY


@dataclass(frozen=True, slots=True)
class Space:
    """Free space as ``statvfs`` tells it."""

    free_bytes: int
    free_files: int | None
    """None where the file system does not count files."""


class Malformed(LinkLost):
    """The server sent something that is not SFTP: whatever it meant by it, nobody has heard its answer."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the server does not keep to SFTP: {what}")


class Reader:
    """Takes the fields of one packet, in order."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def u32(self) -> int:
        """A 32-bit number."""
        return self._number(">I", 4)

    def u64(self) -> int:
        """A 64-bit number."""
        return self._number(">Q", 8)

    def string(self) -> bytes:
        """A length and that many bytes."""
        size = self.u32()
        end = self._at + size
        if end > len(self._data):
            raise Malformed("a string runs past the end of its packet")
        value = self._data[self._at : end]
        self._at = end
        return value

    def text(self) -> str:
        """A string as text; what is not UTF-8 is replaced."""
        return self.string().decode("utf-8", "replace")

    @property
    def more(self) -> bool:
        """Fields are left."""
        return self._at < len(self._data)

    def attributes(self) -> Attributes:
        """The ATTRS structure."""
        flags = self.u32()
        size = self.u64() if flags & _ATTR_SIZE else None
        if flags & _ATTR_UIDGID:
            self.u64()
        mode = self.u32() if flags & _ATTR_PERMISSIONS else None
        mtime = None
        if flags & _ATTR_TIMES:
            self.u32()
            mtime = self.u32()
        if flags & _ATTR_EXTENDED:
            for _ in range(self.u32()):
                self.string()
                self.string()
        return Attributes(size, mode, mtime)

    def space(self) -> Space:
        """The reply to ``statvfs@openssh.com``: eleven 64-bit numbers, as in ``struct statvfs``."""
        _, fragment, _, _, available, files, _, files_available, *_ = (self.u64() for _ in range(11))
        return Space(available * fragment, files_available if files else None)

    def _number(self, form: str, size: int) -> int:
        if self._at + size > len(self._data):
            raise Malformed("a packet ends early")
        (value,) = struct.unpack_from(form, self._data, self._at)
        self._at += size
        return int(value)


def string(value: bytes) -> bytes:
    """A length and the bytes."""
    return len(value).to_bytes(4, "big") + value


def path(value: str) -> bytes:
    """A path as a string field."""
    return string(value.encode("utf-8", "surrogateescape"))


def attributes(*, mode: int | None = None, mtime: int | None = None) -> bytes:
    """An ATTRS structure that sets what is given; all None sets nothing."""
    flags, body = 0, b""
    if mode is not None:
        flags |= _ATTR_PERMISSIONS
        body += struct.pack(">I", mode)
    if mtime is not None:
        flags |= _ATTR_TIMES
        body += struct.pack(">II", mtime, mtime)
    return struct.pack(">I", flags) + body


def packet(kind: Packet, number: int, *fields: bytes) -> bytes:
    """A whole request: length, type, request number, fields."""
    body = b"".join(fields)
    return struct.pack(">IBI", len(body) + 5, kind, number) + body


def write_packet(number: int, handle: bytes, offset: int, data: bytes) -> bytes:
    """A WRITE request, built with one copy of the data."""
    head = struct.pack(">IBII", len(handle) + len(data) + 21, Packet.WRITE, number, len(handle))
    return b"".join((head, handle, struct.pack(">QI", offset, len(data)), data))


def init_packet() -> bytes:
    """The first packet of a session."""
    return struct.pack(">IBI", 5, Packet.INIT, VERSION)
