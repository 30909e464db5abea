"""smtplib over a socket that the network policy has dialled, and that ends its waits with the attempt."""

from __future__ import annotations

import io
import smtplib
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

from conveyor.contract import AttemptContext, ConnectorEnv
from conveyor_smtp.options import SmtpOptions

CONNECT, ANSWER = 20.0, 300.0
"""Seconds for the connection, and for one answer: RFC 5321, section 4.5.3.2, asks for five minutes."""
PULSE = 0.5
"""Seconds after which a wait looks whether the attempt must stop."""


class Wire(io.RawIOBase):
    """The part of a socket that smtplib uses; each wait ends with the attempt."""

    def __init__(self, sock: socket.socket, context: AttemptContext) -> None:
        super().__init__()
        self.sock = sock
        self._context = context
        self._until = time.monotonic() + ANSWER
        sock.settimeout(PULSE)

    def makefile(self, mode: str) -> io.BufferedReader:
        """What replies are read from."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Some bytes of a reply; the whole reply has ``ANSWER`` seconds since the last byte was sent."""
        return self._patiently(lambda: self.sock.recv_into(buffer))

    def sendall(self, data: bytes) -> None:
        """Send everything; each part of it has ``ANSWER`` seconds."""
        rest = memoryview(data)
        while rest:
            self._until = time.monotonic() + ANSWER
            count = self._patiently(lambda view=rest: self.sock.send(view))  # type: ignore[misc]
            rest = rest[count:]
        self._until = time.monotonic() + ANSWER

    def close(self) -> None:
        """Hang up."""
        self.sock.close()
        super().close()

    def _patiently(self, call: Callable[[], int]) -> int:
        while True:
            self._context.check()
            try:
                return call()
            except TimeoutError:
                if time.monotonic() >= self._until or self._context.remaining() <= 0:
                    raise


class Session(smtplib.SMTP):
    """A connection to the destination's server, greeted, secured and logged in.

    Args:
        options: The destination.
        env: Dials.
        context: Is asked while something is waited for.
    """

    def __init__(self, options: SmtpOptions, env: ConnectorEnv, context: AttemptContext) -> None:
        super().__init__(local_hostname="conveyor.invalid")  # replaced once connected: no look-up by name
        self._options = options
        self._env = env
        self._context = context

    def open(self) -> None:
        """Connect, and begin TLS.

        Raises:
            smtplib.SMTPException: The server refused.
            OSError: It could not be reached, or TLS failed.
        """
        options = self._options
        code, text = self.connect(options.host, options.place)
        if code != 220:
            raise smtplib.SMTPResponseException(code, text)
        self.ehlo_or_helo_if_needed()
        if options.security == "starttls":
            self._start_tls()

    def log_in(self) -> None:
        """Log in, where the destination has a login. TLS is on: the options see to it.

        One mechanism is tried: smtplib's ``login`` tries them all, and many servers hang up after the first
        refusal, so that a wrong password would look like a lost connection.

        Raises:
            smtplib.SMTPException: The server refused.
        """
        if self._options.username is None or self._options.password is None:
            return
        self.user, self.password = self._options.username, self._options.password.get_secret_value()
        offered = self.esmtp_features.get("auth", "").upper().split()
        ways: dict[str, Any] = {
            "PLAIN": self.auth_plain,
            "LOGIN": self.auth_login,
            "CRAM-MD5": self.auth_cram_md5,
        }
        name = next((name for name in ways if name in offered), None)
        if name is None:
            raise smtplib.SMTPNotSupportedError("no login")
        self.auth(name, ways[name])

    @property
    def limit(self) -> int | None:
        """Bytes of the largest message, as EHLO tells it; None where it tells none (RFC 1870, section 4)."""
        told = self.esmtp_features.get("size", "").strip()
        return int(told) or None if told.isdecimal() else None

    def _get_socket(self, host: str, port: int, timeout: float) -> Any:
        sock = self._env.network.dial(host, port, self._patience())
        name = sock.getsockname()[0]
        self.local_hostname = f"[IPv6:{name}]" if ":" in name else f"[{name}]"  # RFC 5321, section 4.1.3
        return Wire(self._secured(sock) if self._options.security == "tls" else sock, self._context)

    def _start_tls(self) -> None:
        if not self.has_extn("starttls"):
            raise smtplib.SMTPNotSupportedError("no STARTTLS")
        code, text = self.docmd("STARTTLS")
        if code != 220:
            raise smtplib.SMTPResponseException(code, text)
        wire: Any = self.sock
        # What came in clear after the 220 would be taken for an answer under TLS: a new reader forgets it.
        self.sock = Wire(self._secured(wire.sock), self._context)  # type: ignore[assignment]
        self.file = self.helo_resp = self.ehlo_resp = None
        self.esmtp_features, self.does_esmtp = {}, False
        self.ehlo_or_helo_if_needed()

    def _secured(self, sock: socket.socket) -> ssl.SSLSocket:
        options = self._options
        sock.settimeout(self._patience())
        try:
            tls = self._env.network.tls_context(options.verify_tls, options.ca_bundle)
            return tls.wrap_socket(sock, server_hostname=options.host)
        except BaseException:
            sock.close()
            raise

    def _patience(self) -> float:
        return max(0.05, min(CONNECT, self._context.remaining()))
