"""The control connection: ftplib's, dialled under the network policy, waiting in short turns."""

from __future__ import annotations

import ftplib
import re
import socket
import ssl
from typing import Any, cast

from conveyor.network import Network
from conveyor_connectors.ftp.plain.waiting import Lines, Patience, send
from conveyor_connectors.ftp.server import LinkLost, Refused

DIAL = 10.0
HANDSHAKE = 20.0
"""Seconds."""


class Reply(Refused):
    """The server's answer was a refusal (RFC 959: 4xx for now, 5xx for good).

    Attributes:
        verb: The command that was refused.
    """

    def __init__(self, code: int, text: str, verb: str) -> None:
        super().__init__(f"{verb}: {code} {text}", code, text)
        self.verb = verb


class TlsRefused(Exception):
    """TLS failed; ``reason`` is the exception, ``data`` tells a data connection's from the control one's."""

    def __init__(self, reason: OSError, *, data: bool = False) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.data = data


class Control(ftplib.FTP):
    """Commands and answers. Not for concurrent use.

    ftplib dials by itself, believes a PASV answer's address when told to, takes any certificate by default,
    opens data connections without the TLS session that vsftpd, ProFTPD and FileZilla ask for, and after a
    failed transfer reads the old answer to the next command. Its commands, answers and parsers stay in use.

    Args:
        network: Dials.
        tls: Context for AUTH TLS, implicit TLS and the data connections; None for plain FTP.
        encoding: Of file names.
        patience: How long to wait.
    """

    def __init__(
        self, network: Network, tls: ssl.SSLContext | None, encoding: str, patience: Patience
    ) -> None:
        super().__init__(encoding=encoding)
        self.patience = patience
        self.poisoned = False
        """The next answer may belong to an earlier command, or never come."""
        self.spent = False
        """In step, but a transfer broke: not to be used for another delivery."""
        self.tls = tls
        self._network = network
        self._protected = False
        self._lines: Lines | None = None

    # --- opening --------------------------------------------------------------------------------

    def open(self, host: str, port: int, *, implicit: bool) -> None:
        """Dial and read the greeting.

        Raises:
            Reply: The greeting is a refusal.
            TlsRefused: Implicit TLS failed.
            OSError, LinkLost, EOFError: No connection.
        """
        self.host, self.port = host, port
        self.sock = self._network.dial(host, port, DIAL)
        self.af = self.sock.family
        self._peer = str(self.sock.getpeername()[0])
        if implicit:
            self.sock = self._wrapped(self.sock)
        self._read_by_lines()
        self.welcome = self._answer("greeting")

    def start_tls(self) -> None:
        """AUTH TLS (RFC 4217), then everything that follows is encrypted.

        Raises:
            Reply: The server does not.
            TlsRefused: It does, and fails.
        """
        self.ask("AUTH TLS")
        if self._lines is not None and self._lines.unread:
            raise LinkLost("plain text came after the server's consent to TLS")
        self.sock = self._wrapped(cast(socket.socket, self.sock))
        self._read_by_lines()

    def protect(self) -> None:
        """PBSZ 0 and PROT P: data connections are encrypted too."""
        self.ask("PBSZ 0")
        self.ask("PROT P")
        self._protected = True

    def _wrapped(self, sock: socket.socket) -> ssl.SSLSocket:
        assert self.tls is not None
        sock.settimeout(HANDSHAKE)
        try:
            return self.tls.wrap_socket(sock, server_hostname=self.host)
        except OSError as error:
            sock.close()
            raise TlsRefused(error) from None

    def _read_by_lines(self) -> None:
        self._lines = Lines(cast(socket.socket, self.sock), self.encoding, self.patience)
        self.file = cast(Any, self._lines)

    # --- commands -------------------------------------------------------------------------------

    def ask(self, command: str) -> str:
        """Send a command and read its answer.

        Returns:
            The answer, its code included.

        Raises:
            Reply: 4xx or 5xx.
            ValueError: The command holds a line break, or what the encoding cannot say.
            LinkLost: The connection broke; it is poisoned from now on.
        """
        verb = command.split(" ", 1)[0]
        if verb == "SITE":
            verb = " ".join(command.split(" ", 2)[:2])
        self.putline(command)
        return self._answer(verb)

    def putline(self, line: str) -> None:
        """Send one line; a line break inside would be a second command."""
        if "\r" in line or "\n" in line:
            raise ValueError("a command must not contain a line break")
        data = (line + ftplib.CRLF).encode(self.encoding, "surrogateescape")
        if self.poisoned:
            raise LinkLost("the connection is out of step")
        if self._lines is not None:
            self._lines.expect_new()
        self._guarded(lambda: send(cast(socket.socket, self.sock), data, self.patience))

    def answer(self, verb: str) -> str:
        """Read the answer that ``verb`` still has coming, as at the end of a transfer."""
        if self._lines is not None:
            self._lines.expect_new()
        return self._answer(verb)

    def _answer(self, verb: str) -> str:
        try:
            return str(self._guarded(self.getresp))
        except ftplib.Error as error:
            raise self._reply(error, verb) from None

    def _reply(self, error: ftplib.Error, verb: str) -> Exception:
        text = str(error)
        if not isinstance(error, ftplib.error_temp | ftplib.error_perm) or not text[:3].isdigit():
            self.poisoned = True
            return LinkLost("the server does not speak FTP")
        code = int(text[:3])
        if code == 421:
            self.poisoned = True  # RFC 959: the server closes the control connection
        return Reply(code, _words(text), verb)

    def _guarded(self, act: Any) -> Any:
        try:
            return act()
        except ftplib.Error:
            raise
        except (EOFError, OSError) as error:
            self.poisoned = True
            ended = isinstance(error, EOFError)
            what = "the server closed the connection" if ended else f"the connection broke ({_named(error)})"
            raise LinkLost(what) from None
        except BaseException:
            self.poisoned = True
            raise

    # --- data connections -----------------------------------------------------------------------

    def passive(self) -> socket.socket:
        """Dial a data connection: always to the address that the control connection has.

        The address in a PASV answer is never used: behind NAT it is wrong, and a hostile server could send
        us anywhere (RFC 2577). The port alone counts.
        """
        port = self._passive_port()
        try:
            return self._network.dial(self._peer, port, DIAL)
        except OSError as error:
            self.poisoned = True  # some servers now wait for us, others answer 425
            raise LinkLost(f"no data connection to port {port} ({_named(error)})") from None

    def _passive_port(self) -> int:
        if self.af == socket.AF_INET:
            try:
                return self._port_of(ftplib.parse227, self.ask("PASV"))
            except Reply as error:
                if error.code not in (500, 501, 502, 504, 522):
                    raise
        return self._port_of(self._parse229, self.ask("EPSV"))

    def _parse229(self, reply: str) -> tuple[str, int]:
        return ftplib.parse229(reply, (self._peer, 0))  # noqa: S321 parses

    def _port_of(self, parse: Any, reply: str) -> int:
        try:
            port = int(parse(reply)[1])
        except (ftplib.Error, ValueError, IndexError):
            port = 0
        if not 0 < port < 65536:
            self.poisoned = True
            raise LinkLost("the server's answer names no port for the data connection")
        return port

    def protected(self, sock: socket.socket) -> socket.socket:
        """The data connection as the protocol wants it, with the TLS session of the control connection.

        vsftpd, ProFTPD and FileZilla refuse data connections of another session, which could be a stranger's.

        Raises:
            TlsRefused: TLS failed.
        """
        if not self._protected:
            return sock
        assert self.tls is not None
        control = cast(ssl.SSLSocket, self.sock)
        sock.settimeout(HANDSHAKE)
        try:
            return self.tls.wrap_socket(sock, server_hostname=self.host, session=control.session)
        except OSError as error:
            self.poisoned = True
            raise TlsRefused(error, data=True) from None

    def hang_up(self) -> None:
        """QUIT where the connection is in step, and close. Never raises."""
        sock = self.sock
        if sock is None:
            return
        if not self.poisoned:
            try:
                sock.settimeout(1.0)
                sock.sendall(b"QUIT\r\n")
            except OSError:
                self.poisoned = True
        self.sock = None
        sock.close()


def _named(error: BaseException) -> str:
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or type(error).__name__


_CODE = re.compile(r"^\d{3}[ -]?", re.MULTILINE)


def _words(text: str) -> str:
    """An answer's words without its codes, as one line."""
    return " ".join(_CODE.sub("", text).split())[:500]
