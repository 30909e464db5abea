"""A data connection, from the command that opens it to the answer that ends it."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from types import TracebackType

from conveyor_connectors.ftp.plain import waiting
from conveyor_connectors.ftp.plain.control import Control, Reply, TlsRefused
from conveyor_connectors.ftp.plain.errors import of_exception
from conveyor_connectors.ftp.server import LinkLost

AFTERMATH = 5.0
"""Seconds to wait for the answer to a transfer that broke."""


class Data:
    """One transfer. Use as a context manager; call :meth:`finish` at its end.

    Left by an exception, it closes the data connection and reads the answer that is still due, so that no
    later command takes it for its own. Where the data connection broke, that answer is the reason (a full
    disk shows itself over TLS as ``SSLEOFError`` and nothing more) and is raised instead.

    Args:
        control: The control connection.
        command: ``STOR …``, ``RETR …``, ``MLSD …``.

    Raises:
        Reply: The server refused the command, or the transfer.
        LinkLost: The connection broke.
        DeliveryError: TLS or the network policy refused.
    """

    def __init__(self, control: Control, command: str) -> None:
        self._control = control
        self._command = command
        self._verb = command.split(" ", 1)[0]
        self._finished = False
        self._gone_since: float | None = None
        self._sock: socket.socket

    def __enter__(self) -> Data:
        control = self._control
        sock = control.passive()
        try:
            answer = control.ask(self._command)
            if answer.startswith("2"):
                answer = control.answer(self._verb)  # as ftplib: some answer twice
            if not answer.startswith("1"):
                control.poisoned = True
                raise LinkLost(f"an answer out of order: {answer[:100]}")
        except BaseException:
            sock.close()
            raise
        try:
            self._sock = control.protected(sock)
        except TlsRefused as error:
            sock.close()
            self._raise_reason()
            raise of_exception(error, f"{control.host}:{control.port}") from None
        return self

    def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        waiting.send(self._sock, data, self._control.patience)

    def receive(self, size: int) -> bytes:
        """Receive up to ``size`` bytes; nothing at the end."""
        return waiting.receive(self._sock, size, self._control.patience)

    def finish(self) -> str:
        """Tell the end of what was sent, and read the answer.

        A TLS connection that does not end as it should is forgiven when the server says 226: it has
        everything.

        Returns:
            The server's last answer.
        """
        patience = self._control.patience
        if not self._ended_well():
            self._gone_since = time.monotonic()
        self._finished = True
        pulse = patience.pulse
        with patience.pulsing(lambda: self._watch(pulse)):
            answer = self._control.answer(self._verb)
        if not answer.startswith("2"):
            self._control.poisoned = True
            raise LinkLost(f"an answer out of order: {answer[:100]}")
        return answer

    def _ended_well(self) -> bool:
        """End the sending side; False when the connection was broken by then."""
        try:
            if isinstance(self._sock, ssl.SSLSocket):
                waiting.say_goodbye(self._sock, self._control.patience)
            socket.socket.shutdown(self._sock, socket.SHUT_WR)  # SSLSocket's own would forget TLS
        except (OSError, LinkLost):
            return False
        return True

    def _watch(self, pulse: Callable[[], None]) -> None:
        """While the last answer is awaited: a TLS connection that ends without close_notify was perhaps cut.

        Some servers then never answer (seen with pyftpdlib); those that merely skip close_notify answer soon.
        """
        pulse()
        if self._gone_since is None and isinstance(self._sock, ssl.SSLSocket):
            try:
                self._sock.unwrap()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, ValueError):
                return  # nothing yet, or a proper end
            except OSError:
                self._gone_since = time.monotonic()
        if self._gone_since is not None and time.monotonic() - self._gone_since > AFTERMATH:
            self._control.poisoned = True
            raise LinkLost("the data connection was cut, and the server says nothing of it")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not before the last answer: closing with unread bytes (TLS session tickets) resets the connection,
        # which can destroy what the server has not read yet.
        self._sock.close()
        if self._finished:
            return
        broke = isinstance(error, OSError | LinkLost)
        try:
            self._raise_reason()
        except (Reply, LinkLost):
            if broke:
                raise
        if broke:
            what = str(error) if isinstance(error, LinkLost) else type(error).__name__
            raise LinkLost(f"the data connection broke ({what})") from None

    def _raise_reason(self) -> None:
        """Read the answer that is still due; the session is used up in any case.

        Raises:
            Reply: The server's reason.
        """
        self._control.spent = True
        with self._control.patience.limited(AFTERMATH):
            self._control.answer(self._verb)
