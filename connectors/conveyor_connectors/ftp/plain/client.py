"""Files and folders over one FTP connection that is logged in."""

from __future__ import annotations

import contextlib
import ftplib
import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager

from conveyor.contract import AttemptContext, DeliveryError, ErrorKind, Parcel
from conveyor_connectors.ftp import names
from conveyor_connectors.ftp.payload import read_piece, require_length
from conveyor_connectors.ftp.plain import facts, waiting
from conveyor_connectors.ftp.plain.control import Control, Reply
from conveyor_connectors.ftp.plain.data import Data
from conveyor_connectors.ftp.plain.facts import Entry, size_from
from conveyor_connectors.ftp.server import LinkLost

PIECE = 256 * 1024
_MOST_LISTING = 512 * 1024
"""Bytes of a listing that are looked at: a folder may hold millions of files."""

_UNKNOWN = frozenset({500, 501, 502, 504})
"""RFC 959: the server does not have this command, or not in this form."""


class Client:
    """What the connector asks of a server. Not for concurrent use.

    Args:
        control: The control connection, logged in.
        features: What FEAT told, by name in capitals.
        home: The login's own folder; empty when the server does not tell.
    """

    def __init__(self, control: Control, features: dict[str, str], home: str) -> None:
        self.control = control
        self.features = features
        self._home = home if home.startswith("/") else ""
        self._hashes = True
        """Until refused: whether the server computes digests."""

    # --- the session ----------------------------------------------------------------------------

    @property
    def sound(self) -> bool:
        """The connection is in step, and no transfer broke on it."""
        return not (self.control.poisoned or self.control.spent)

    @property
    def quiet(self) -> bool:
        """Nothing has come since the last answer: no 421, no end of the connection. Never waits."""
        sock = self.control.sock
        return sock is not None and not waiting.is_readable(sock)

    def pulsing(self, pulse: Callable[[], None]) -> AbstractContextManager[None]:
        """Ask ``pulse`` at least twice a second while something is waited for."""
        return self.control.patience.pulsing(pulse)

    def answers(self, within: float) -> bool:
        """Whether the server still answers: NOOP."""
        try:
            with self.control.patience.limited(within):
                self.control.ask("NOOP")
        except (Reply, LinkLost):
            return not self.control.poisoned
        return True

    def close(self) -> None:
        """Hang up. Never raises."""
        self.control.hang_up()

    # --- names ----------------------------------------------------------------------------------

    def at(self, path: str) -> str:
        """``path`` as the server is told it: absolute where the login's folder is known.

        So that nothing depends on where CWD went, and no name begins the argument: some servers read a
        leading ``~``, ``-`` or space as something else.

        Raises:
            DeliveryError: NAME, the encoding cannot say it, or it would be a second command.
        """
        full = path if path.startswith("/") else names.join(self._home, path)
        try:
            full.encode(self.control.encoding)
        except UnicodeEncodeError as error:
            character = full[error.start]
            raise DeliveryError(
                ErrorKind.NAME, f"the name holds {character!r}, which {self.control.encoding} does not have"
            ) from None
        if any(mark in full for mark in "\r\n\0"):
            raise DeliveryError(ErrorKind.NAME, "the name holds a line break")
        return full

    def look(self, path: str) -> Entry | None:
        """What is at ``path``; None when nothing is, or nothing that may be seen.

        Raises:
            Reply: The server does not say.
            DeliveryError: CONFIG, the server tells no sizes at all.
        """
        full = self.at(path)
        if "MLST" in self.features:
            try:
                known = facts.entry_of_reply(self.control.ask(f"MLST {full}"))
            except Reply as error:
                if error.code == 550:
                    return None
                if error.code not in _UNKNOWN:
                    raise
                del self.features["MLST"]
            else:
                if known is not None and (known.is_folder or known.size is not None):
                    return known
        return self._look_by_size(full)

    def _look_by_size(self, full: str) -> Entry | None:
        try:
            answer = self.control.ask(f"SIZE {full}")
        except Reply as error:
            if error.code in (500, 502):
                raise DeliveryError(
                    ErrorKind.CONFIG,
                    "the server has neither MLST nor SIZE: what arrived cannot be verified",
                    code=error.code,
                ) from None
            if error.code < 500:
                raise
            return Entry(is_folder=True) if self.is_folder(full) else None
        return Entry(size=size_from(answer[4:].strip()))

    def is_folder(self, path: str) -> bool:
        """Whether CWD can enter it."""
        try:
            self.control.ask(f"CWD {self.at(path)}")
        except Reply as error:
            if error.code < 500:
                raise
            return False
        if not self._home:
            self.control.ask("CDUP")
        return True

    def mkdir(self, path: str) -> None:
        """Make one folder."""
        self.control.ask(f"MKD {self.at(path)}")

    def remove(self, path: str) -> None:
        """Remove a file."""
        self.control.ask(f"DELE {self.at(path)}")

    def removed(self, path: str) -> bool:
        """Remove ``path`` if it is there and may be removed; True when it was."""
        try:
            self.remove(path)
        except Reply:
            return False
        return True

    def rename(self, source: str, target: str, before: Callable[[], None] = lambda: None) -> None:
        """RNFR and RNTO; whether an existing target is replaced depends on the server.

        Args:
            source, target: Paths.
            before: Called directly before RNTO, which is the step that counts; may raise.
        """
        self.control.ask(f"RNFR {self.at(source)}")
        before()
        self.control.ask(f"RNTO {self.at(target)}")

    def set_mode(self, path: str, bits: int) -> None:
        """SITE CHMOD, which no RFC knows and most Unix servers have."""
        self.control.ask(f"SITE CHMOD {bits:03o} {self.at(path)}")

    def set_time(self, path: str, seconds: float) -> None:
        """MFMT (draft-somers-ftp-mfxx).

        Raises:
            Reply: Refused, or the server does not list it (some set the time by MDTM, some then read it).
        """
        if "MFMT" not in self.features:
            raise Reply(502, "MFMT is not among the server's features", "MFMT")
        self.control.ask(f"MFMT {facts.as_moment(seconds)} {self.at(path)}")

    def listing(self, folder: str) -> list[tuple[str, float | None]]:
        """Names in a folder and when they changed, as far as one look goes; only ours without MLSD."""
        full = self.at(folder) or "."
        if "MLST" in self.features:
            found = [facts.entry(line) for line in self._lines(f"MLSD {full}")]
            return [(name, known.changed) for name, known in found]
        if not self._home:
            return []
        self.control.ask(f"CWD {full}")
        try:
            found_names = self._lines("NLST -a")  # most servers hide names that begin with a dot
        except Reply:
            found_names = self._lines("NLST")
        ours = [name for name in found_names if names.is_ours(name)]
        return [(name, self.changed(names.join(full, name))) for name in ours]

    def changed(self, path: str) -> float | None:
        """When a file changed, seconds since the epoch by the server's clock; None when it does not say."""
        full = self.at(path)
        try:
            if "MLST" in self.features:
                known = facts.entry_of_reply(self.control.ask(f"MLST {full}"))
                return None if known is None else known.changed
            return facts.moment(self.control.ask(f"MDTM {full}")[4:].strip())
        except Reply:
            return None

    def _lines(self, command: str) -> list[str]:
        found = bytearray()
        with Data(self.control, command) as data:
            while len(found) < _MOST_LISTING and (some := data.receive(PIECE)):
                found += some
            with contextlib.suppress(Reply):  # it may complain that the rest was not read
                data.finish()
        return list(facts.lines(bytes(found), self.control.encoding))

    # --- bytes ----------------------------------------------------------------------------------

    def store(self, path: str, parcel: Parcel, context: AttemptContext) -> None:
        """STOR the whole payload.

        Raises:
            Reply: Refused, at its beginning or later.
            DeliveryError: SOURCE, the payload ended early or did not end.
        """
        sent = 0
        with Data(self.control, f"STOR {self.at(path)}") as data, parcel.open() as stream:
            while piece := read_piece(stream, PIECE):
                sent += len(piece)
                if sent > parcel.size:
                    break
                data.send(piece)
                context.progress(len(piece))
            require_length(sent, parcel.size)
            data.finish()

    def write(self, path: str, content: bytes) -> None:
        """STOR a few bytes."""
        with Data(self.control, f"STOR {self.at(path)}") as data:
            data.send(content)
            data.finish()

    def sha256(self, path: str) -> str | None:
        """SHA-256 by the server: HASH (draft-bryan-ftp-hash) or XSHA256; None where it has neither."""
        full = self.at(path)
        for command in self._digest_commands(full):
            try:
                for line in command[:-1]:
                    self.control.ask(line)
                return facts.sha256(self.control.ask(command[-1]))
            except Reply as error:
                if error.code in _UNKNOWN:
                    self._hashes = False
        return None

    def _digest_commands(self, full: str) -> list[tuple[str, ...]]:
        found: list[tuple[str, ...]] = []
        if self._hashes and "SHA-256" in self.features.get("HASH", "").upper():
            found.append(("OPTS HASH SHA-256", f"HASH {full}"))
        if self._hashes and "XSHA256" in self.features:
            found.append((f"XSHA256 {full}",))
        return found

    def read_back(self, path: str, size: int, pulse: Callable[[], None]) -> str | None:
        """SHA-256 of a file, computed here; None when it may not be read or is longer than ``size``."""
        digest = hashlib.sha256()
        got = 0
        try:
            with Data(self.control, f"RETR {self.at(path)}") as data:
                while got <= size and (some := data.receive(PIECE)):
                    digest.update(some)
                    got += len(some)
                    pulse()
                data.finish()
        except Reply:
            return None
        return digest.hexdigest() if got == size else None


def parse_home(reply: str) -> str:
    """The folder in an answer to PWD; empty when there is none."""
    try:
        return str(ftplib.parse257(reply))  # noqa: S321 parses
    except ftplib.Error:
        return ""
