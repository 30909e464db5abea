"""paramiko's transport with the gaps of its login closed. Leans on private names; tests walk every path."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import paramiko
from paramiko.auth_handler import AuthOnlyHandler
from paramiko.transport import ServiceRequestingTransport

LOGIN = 20.0
"""Seconds for one answer during the login."""

_SERVICE_REQUEST = bytes([5])
_USERAUTH_REQUEST = bytes([50])
"""Message numbers of RFC 4253 and RFC 4252."""


class _Logins(AuthOnlyHandler):
    """Makes the event before it sends the request that the event is for.

    paramiko 5.1.0 makes it afterwards, so that a quick server's answer is now and then waited for in vain
    (measured: one login in 150 on loopback).
    """

    def send_auth_request(
        self, username: str, method: str, finish_message: Callable[[paramiko.Message], None] | None = None
    ) -> list[str]:
        self.auth_method = method
        self.username = username
        request = paramiko.Message()
        request.add_byte(_USERAUTH_REQUEST)
        for field in (username, "ssh-connection", method):
            request.add_string(field)
        if finish_message is not None:
            finish_message(request)
        self.auth_event = threading.Event()
        with self.transport.lock:
            self.transport._send_message(request)  # type: ignore[attr-defined]
        return list(self.wait_for_response(self.auth_event))


class Transport(ServiceRequestingTransport):
    """An SSH connection whose login ends in time, whatever the server does.

    paramiko's plain ``Transport`` asks for the login service again before every way of logging in, which
    RFC 4252 does not provide for and asyncssh answers by hanging up. Its ``ServiceRequestingTransport`` asks
    once, but waits for that answer for ever, also on a dead connection.

    Attributes:
        parting: What the server said when it hung up; paramiko only logs it.
    """

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.auth_timeout = LOGIN
        self.parting = ""
        self._may_log_in = threading.Event()

    def ensure_session(self) -> None:
        """Ask for the login service, once.

        Raises:
            EOFError, TimeoutError: No answer.
        """
        if self._may_log_in.is_set():
            return
        request = paramiko.Message()
        request.add_byte(_SERVICE_REQUEST)
        request.add_string("ssh-userauth")
        self._send_message(request)  # type: ignore[attr-defined]
        end = time.monotonic() + LOGIN
        while not self._may_log_in.wait(0.1):
            if not self.is_active():
                raise EOFError("the connection ended before the login")
            if time.monotonic() > end:
                raise TimeoutError("no answer to the wish to log in")
        self.auth_handler = self.get_auth_handler()

    def get_auth_handler(self) -> AuthOnlyHandler:
        """The side of the login that waits for answers."""
        return _Logins(self)

    def _parse_service_accept(self, message: paramiko.Message) -> None:
        if message.get_text() == "ssh-userauth":
            self._may_log_in.set()

    def _parse_disconnect(self, message: paramiko.Message) -> None:
        message.get_int()
        self.parting = message.get_text()[:200]
