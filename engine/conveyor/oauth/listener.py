"""The listener that a browser is sent back to (RFC 8252 §7.3): on loopback, for one answer, for a while."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from conveyor.errors import UsageError

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Conveyor</title>
<body style="font:16px/1.5 system-ui;margin:4em auto;max-width:36em"><p>{}</p></body></html>
"""


class Listener:
    """Waits for the browser.

    Args:
        state: What the answer must repeat; anything else is turned away and waited past.
        host: Of the redirect as the provider knows it; the socket is loopback's in any case.
        port: A fixed one, or 0 for a free one.
        path: Of the redirect.

    Raises:
        UsageError: The port is taken.
    """

    def __init__(self, state: str, *, host: str = "127.0.0.1", port: int = 0, path: str = "/") -> None:
        self._state = state
        self._path = path
        self._answered = threading.Event()
        self._answer: Mapping[str, str] = {}
        handler = type("Redirect", (_Handler,), {"listener": self})
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        except OSError as error:
            raise UsageError(
                f"port {port} cannot be listened on: {error.strerror}",
                cure="end what holds it, or set another redirect_port (at the provider too)",
            ) from None
        self._server.daemon_threads = True
        self.redirect_uri = f"http://{host}:{self._server.server_address[1]}{path}"

    def __enter__(self) -> Listener:
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="sign-in", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait(self, seconds: float) -> Mapping[str, str] | None:
        """The parameters of the redirect; None when none came in time."""
        return self._answer if self._answered.wait(seconds) else None

    def take(self, path: str, asked: Mapping[str, str]) -> bool:
        """Take an answer if it is ours and the first; whether it was."""
        mine = secrets.compare_digest(asked.get("state", "").encode(), self._state.encode())
        if path != self._path or not mine or not ("code" in asked or "error" in asked):
            return False
        if not self._answered.is_set():
            self._answer = asked
            self._answered.set()
        return True


class _Handler(BaseHTTPRequestHandler):
    listener: ClassVar[Listener]
    timeout = 10

    def do_GET(self) -> None:
        """The redirect, or whatever else asks."""
        parts = urlsplit(self.path)
        asked = dict(parse_qsl(parts.query))
        taken = self.listener.take(parts.path, asked)
        if not taken:
            self._say(400, "This is not the answer that Conveyor waits for.")
        elif "error" in asked:
            self._say(200, f"The sign-in was refused: {asked['error']}. You can close this window.")
        else:
            self._say(200, "You are signed in. You can close this window and go back to the terminal.")

    def _say(self, status: int, text: str) -> None:
        page = _PAGE.format(escape(text)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")  # the code stands in this page's address
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: Any) -> None:
        """Nothing: the request line holds the code."""
