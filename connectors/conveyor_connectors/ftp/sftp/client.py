"""An SFTP client over a paramiko channel: one request at a time, or many in flight.

Why not ``paramiko.SFTPClient``: read in 5.1.0, its pipelined writes register their answers under a
placeholder, so the errors of the last writes are dropped unseen, an error of CLOSE is swallowed, the status
code of a failure is lost (disk full, exists and quota all arrive as a bare ``OSError``), the extensions that
the server announces are thrown away, and the number of unanswered requests is not bounded. paramiko's
transport, key exchange, authentication and channel are sound and are what this module stands on.
"""

from __future__ import annotations

import struct
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from conveyor_connectors.ftp.server import LinkLost, Refused
from conveyor_connectors.ftp.sftp import wire
from conveyor_connectors.ftp.sftp.wire import Attributes, Packet, Reader, Space, Status

TICK = 0.5
"""Seconds between two looks at cancellation while waiting for the server."""

SILENCE = 60.0
"""Seconds without one byte from the server, while it owes an answer, after which the connection is dead."""

_MOST_BYTES = 16 * 1024 * 1024
_RECEIVE = 64 * 1024
_READ_SIZE = 32 * 1024
_READS_IN_FLIGHT = 32


class Stream(Protocol):
    """What is needed of ``paramiko.Channel``."""

    def send(self, s: bytes) -> int: ...
    def recv(self, nbytes: int) -> bytes: ...
    def recv_ready(self) -> bool: ...
    def settimeout(self, timeout: float | None) -> None: ...


class StatusError(Refused):
    """The server refused one request.

    Args:
        code: One of :class:`wire.Status`, or a number that this version does not know.
        text: The server's words; often only ``Failure``.
        request: What was asked.
    """

    def __init__(self, code: int, text: str, request: Packet) -> None:
        super().__init__(f"{request.name}: {text or code}", code, text)
        self.request = request


def _no_pulse() -> None:
    """Outside of an attempt nothing cancels."""


class Client:
    """SFTP requests over ``stream``. Not for concurrent use.

    Attributes:
        pulse: Called at least every :data:`TICK` seconds of waiting; may raise to give up.
        silence: See :data:`SILENCE`.
        extensions: What the server announced, by name.
        broken: A request was cut off in the middle of its bytes: nothing can follow.
    """

    def __init__(self, stream: Stream, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.pulse: Callable[[], None] = _no_pulse
        self.silence = SILENCE
        self.extensions: dict[str, bytes] = {}
        self.broken = False
        self._stream = stream
        self._clock = clock
        self._heard = clock()
        self._buffer = bytearray()
        self._answers: dict[int, tuple[int, bytes]] = {}
        self._asked: dict[int, Packet] = {}
        self._number = 0
        stream.settimeout(TICK)

    # --- the session ----------------------------------------------------------------------------

    def start(self) -> None:
        """Exchange versions and learn the extensions.

        Raises:
            LinkLost: The server ended the session, or does not speak SFTP.
        """
        self._transmit(wire.init_packet())
        kind, body = self._next_packet()
        if kind != Packet.VERSION:
            raise LinkLost("the server did not answer with an SFTP version")
        reader = Reader(body)
        reader.u32()
        while reader.more:
            name = reader.text()
            self.extensions[name] = reader.string()

    @property
    def idle(self) -> bool:
        """No request is unanswered and no answer unread."""
        return not (self._asked or self._answers or self._buffer or self.broken)

    # --- files ----------------------------------------------------------------------------------

    def open(self, path: str, flags: wire.Open, *, mode: int | None = None) -> bytes:
        """Open a file; returns its handle."""
        fields = wire.path(path), struct.pack(">I", flags), wire.attributes(mode=mode)
        return self._handle(self.ask(Packet.OPEN, *fields))

    def close(self, handle: bytes) -> None:
        """Close a handle; an error that the server kept until now is raised."""
        self.settle(self.ask_to_close(handle))

    def ask_to_close(self, handle: bytes) -> int:
        """The same without waiting; returns the number for :meth:`settle`."""
        return self.ask(Packet.CLOSE, wire.string(handle))

    def write(self, handle: bytes, offset: int, data: bytes) -> int:
        """Send a WRITE without waiting; returns the number for :meth:`settle`."""
        number = self._register(Packet.WRITE)
        self._transmit(wire.write_packet(number, handle, offset, data))
        return number

    def read(self, handle: bytes, size: int) -> Iterator[bytes]:
        """The first ``size`` bytes of a file, in order, with reads in flight; ends early at its end."""
        waiting: deque[tuple[int, int, int]] = deque()
        asked = done = 0
        while done < size:
            while asked < size and len(waiting) < _READS_IN_FLIGHT:
                length = min(_READ_SIZE, size - asked)
                waiting.append((self._ask_read(handle, asked, length), asked, length))
                asked += length
            number, offset, length = waiting.popleft()
            data = self._data(number)
            if not data:
                for rest, _, _ in waiting:
                    self._data(rest)
                return
            if len(data) < length:
                rest_at = offset + len(data)
                left = length - len(data)
                waiting.appendleft((self._ask_read(handle, rest_at, left), rest_at, left))
            done += len(data)
            yield data

    def set_attributes(self, handle: bytes, *, mode: int | None = None, mtime: int | None = None) -> None:
        """Set permission bits or the modification time of an open file."""
        fields = wire.string(handle), wire.attributes(mode=mode, mtime=mtime)
        self.settle(self.ask(Packet.FSETSTAT, *fields))

    # --- names ----------------------------------------------------------------------------------

    def stat(self, path: str) -> Attributes | None:
        """What is at ``path``, links followed; None when nothing is."""
        return self.attributes(self.ask(Packet.STAT, wire.path(path)))

    def lstat(self, path: str) -> Attributes | None:
        """What is at ``path``, a link itself included; None when nothing is."""
        return self.attributes(self.ask_lstat(path))

    def ask_lstat(self, path: str) -> int:
        """The same without waiting; returns the number for :meth:`attributes`."""
        return self.ask(Packet.LSTAT, wire.path(path))

    def attributes(self, number: int) -> Attributes | None:
        """The answer to a STAT or LSTAT that was only sent."""
        try:
            return self._expect(number, Packet.ATTRS).attributes()
        except StatusError as error:
            if error.code in (Status.NO_SUCH_FILE, Status.NO_SUCH_PATH):
                return None
            raise

    def mkdir(self, path: str) -> None:
        """Make one folder."""
        self.settle(self.ask(Packet.MKDIR, wire.path(path), wire.attributes()))

    def remove(self, path: str) -> None:
        """Remove a file."""
        self.settle(self.ask(Packet.REMOVE, wire.path(path)))

    def rename(self, source: str, target: str) -> None:
        """Version 3's rename: must refuse an existing target; not every server does."""
        self.settle(self.ask(Packet.RENAME, wire.path(source), wire.path(target)))

    def posix_rename(self, source: str, target: str) -> None:
        """OpenSSH's extension: replaces an existing target atomically."""
        self._extended(wire.POSIX_RENAME, wire.path(source), wire.path(target))

    def hardlink(self, source: str, target: str) -> None:
        """OpenSSH's extension: a second name; refuses an existing target."""
        self._extended(wire.HARDLINK, wire.path(source), wire.path(target))

    def space(self, path: str) -> Space | None:
        """Free space at ``path``; None when the server does not tell."""
        if wire.STATVFS not in self.extensions:
            return None
        name = wire.string(wire.STATVFS.encode())
        number = self.ask(Packet.EXTENDED, name, wire.path(path))
        return self._expect(number, Packet.EXTENDED_REPLY).space()

    def realpath(self, path: str) -> str:
        """The absolute form of ``path``; also the cheapest way to hear from the server."""
        reader = self._expect(self.ask(Packet.REALPATH, wire.path(path)), Packet.NAME)
        reader.u32()
        return reader.text()

    def listing(self, path: str, *, most: int) -> Iterator[tuple[str, Attributes]]:
        """Names in a folder with what the server says of them; ends once ``most`` were seen."""
        handle = self._handle(self.ask(Packet.OPENDIR, wire.path(path)))
        seen = 0
        try:
            while seen < most:
                reader = self._expect(self.ask(Packet.READDIR, wire.string(handle)), Packet.NAME)
                count = reader.u32()
                if not count:  # as OpenSSH's client: else a server that forgets its EOF is asked for ever
                    return
                for _ in range(count):
                    name = reader.text()
                    reader.string()
                    seen += 1
                    yield name, reader.attributes()
        except StatusError as error:
            if error.code != Status.EOF:
                raise
        finally:
            self.close(handle)

    # --- requests and answers -------------------------------------------------------------------

    def ask(self, kind: Packet, *fields: bytes) -> int:
        """Send a request without waiting; returns its number."""
        number = self._register(kind)
        self._transmit(wire.packet(kind, number, *fields))
        return number

    def settle(self, number: int) -> None:
        """Wait for a plain status.

        Raises:
            StatusError: The server refused.
            LinkLost: The connection ended, or the server stayed silent.
        """
        self._answer(number)

    def answered(self, number: int) -> bool:
        """Whether the answer is here already. Never waits."""
        while number not in self._answers and self._stream.recv_ready():
            self._receive()
            self._sort_packets()
        return number in self._answers

    def _extended(self, name: str, *fields: bytes) -> None:
        self.settle(self.ask(Packet.EXTENDED, wire.string(name.encode()), *fields))

    def _ask_read(self, handle: bytes, offset: int, length: int) -> int:
        return self.ask(Packet.READ, wire.string(handle), struct.pack(">QI", offset, length))

    def _data(self, number: int) -> bytes:
        try:
            return self._expect(number, Packet.DATA).string()
        except StatusError as error:
            if error.code == Status.EOF:
                return b""
            raise

    def _handle(self, number: int) -> bytes:
        return self._expect(number, Packet.HANDLE).string()

    def _expect(self, number: int, wanted: Packet) -> Reader:
        kind, reader = self._answer(number)
        if kind != wanted:
            raise LinkLost(f"the server answered with packet type {kind} instead of {wanted.name}")
        return reader

    def _answer(self, number: int) -> tuple[int, Reader]:
        while number not in self._answers:
            self._receive()
            self._sort_packets()
            if number not in self._answers:
                self.pulse()  # a server that is never silent, and never done, does not hold the attempt
        kind, body = self._answers.pop(number)
        request = self._asked.pop(number)
        reader = Reader(body)
        if kind == Packet.STATUS:
            code = reader.u32()
            if code != Status.OK:
                raise StatusError(code, reader.text() if reader.more else "", request)
        return kind, reader

    def _register(self, kind: Packet) -> int:
        if not self._asked:
            self._heard = self._clock()
        self._number = (self._number + 1) & 0xFFFFFFFF
        self._asked[self._number] = kind
        return self._number

    def _sort_packets(self) -> None:
        while (packet := self._take_packet()) is not None:
            kind, body = packet
            if len(body) < 4:
                raise LinkLost("the server sent an answer without a number")
            number = int.from_bytes(body[:4], "big")
            if number in self._asked:
                self._answers[number] = kind, body[4:]

    def _next_packet(self) -> tuple[int, bytes]:
        while (packet := self._take_packet()) is None:
            self._receive()
        return packet

    def _take_packet(self) -> tuple[int, bytes] | None:
        if len(self._buffer) < 5:
            return None
        size = int.from_bytes(self._buffer[:4], "big")
        if not 0 < size <= _MOST_BYTES:
            raise LinkLost("the server does not speak SFTP (is its login script printing text?)")
        if len(self._buffer) < size + 4:
            return None
        kind, body = self._buffer[4], bytes(self._buffer[5 : size + 4])
        del self._buffer[: size + 4]
        return kind, body

    def _receive(self) -> None:
        while True:
            try:
                data = self._stream.recv(_RECEIVE)
            except TimeoutError:
                self._tick()
                continue
            except Exception as error:
                raise LinkLost(f"the connection broke ({type(error).__name__})") from None
            if not data:
                raise LinkLost("the server closed the connection")
            self._heard = self._clock()
            self._buffer += data
            return

    def _transmit(self, data: bytes) -> None:
        whole = not self.broken
        self.broken = True
        while data:
            try:
                sent = self._stream.send(data)
            except TimeoutError:
                self._tick()
                continue
            except Exception as error:
                raise LinkLost(f"the connection broke ({type(error).__name__})") from None
            if sent == 0:
                raise LinkLost("the server closed the connection")
            data = data[sent:]
        self.broken = not whole

    def _tick(self) -> None:
        self.pulse()
        if self._clock() - self._heard > self.silence:
            raise LinkLost(f"the server was silent for {self.silence:.0f} s")
