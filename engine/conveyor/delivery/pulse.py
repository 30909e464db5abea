"""How a process shows that it lives and is ready: to systemd, and over HTTP to whoever asks.

*Live*: its own loops turn; a process that is not should be restarted. *Ready*: it takes work. A ledger or a
broker that is away makes a process unready, never dead: a restart would cure nothing.

systemd: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from conveyor.errors import ConveyorError

STALE = 30.0
"""Seconds without a turn of the main loop after which a process is not live."""


class Notifier:
    """Tells systemd how the service is; does nothing where no systemd asks for it.

    Args:
        environment: Where ``NOTIFY_SOCKET`` and ``WATCHDOG_USEC`` stand.
        monotonic: Seconds; for tests.
    """

    def __init__(
        self,
        environment: Mapping[str, str] = os.environ,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._monotonic = monotonic
        given = environment.get("WATCHDOG_USEC", "")
        # Twice as often as asked for, as sd_watchdog_enabled(3) advises.
        self._every = int(given) / 2e6 if given.isdigit() else None
        self._last = float("-inf")

    def tell(self, *states: str) -> None:
        """Send states such as ``READY=1``. Never raises: a service does not fail for want of a listener."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.sendto("\n".join(states).encode(), address)
        except OSError:
            return

    def watchdog(self) -> None:
        """Say that the service is live, when it is time to."""
        now = self._monotonic()
        if self._every is not None and now - self._last >= self._every:
            self._last = now
            self.tell("WATCHDOG=1")


class Pulse:
    """The state of this process.

    Args:
        live: Whether the process's parts turn; asked at each turn of the main loop.
        ready: Whether it takes work.
        notifier: For systemd; None in a process that another one supervises.
        monotonic: Seconds; for tests.
    """

    READY_EVERY = 1.0

    def __init__(
        self,
        live: Callable[[], bool] = lambda: True,
        ready: Callable[[], bool] = lambda: True,
        *,
        notifier: Notifier | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._live = live
        self._ready = ready
        self._notifier = notifier
        self._monotonic = monotonic
        self._turned_at = monotonic()
        self._asked_at = float("-inf")
        self._fit = False
        self._said_ready = False
        self._stopping = False

    def turn(self) -> None:
        """The main loop goes round."""
        now = self._monotonic()
        self._turned_at = now
        if now - self._asked_at >= self.READY_EVERY:
            self._asked_at = now
            self._fit = self._ready()
        if self._notifier is None:
            return
        if self._fit and not self._said_ready:
            self._said_ready = True
            self._notifier.tell("READY=1", "STATUS=delivering")
        if self._live():
            self._notifier.watchdog()

    def reloading(self) -> None:
        """The config is about to be read again."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        """It has been."""
        self._tell("READY=1")

    def stopping(self) -> None:
        """The process ends as soon as what runs has ended."""
        self._stopping = True
        self._tell("STOPPING=1", "STATUS=finishing what runs")

    def renewing(self) -> None:
        """A fresh process takes this one's place as soon as what runs has ended: the service does not stop.

        systemd would end a service that says it stops and is there when its patience is over.
        """
        self._stopping = True
        self._tell("WATCHDOG=1", "STATUS=finishing what runs, to begin afresh")

    def live(self) -> bool:
        """Whether the process does what it should; False: restart it."""
        return self._stopping or (self._monotonic() - self._turned_at < STALE and self._live())

    def ready(self) -> bool:
        """Whether it takes work."""
        return self._fit and not self._stopping and self._monotonic() - self._turned_at < STALE

    def _tell(self, *states: str) -> None:
        if self._notifier is not None:
            self._notifier.tell(*states)


class HealthServer:
    """Answers ``/live`` and ``/ready`` with 200 or 503; a context manager.

    Args:
        address: ``host:port``.
        pulse: What to tell.

    Raises:
        ConveyorError: It cannot listen there.
    """

    def __init__(self, address: str, pulse: Pulse) -> None:
        host, _, port = address.rpartition(":")
        try:
            self._server = _Server((host.strip("[]") or "127.0.0.1", int(port)), pulse)
        except (OSError, ValueError, OverflowError) as error:
            raise ConveyorError(
                f"the health endpoint cannot listen on {address}: {error}",
                cure="--health HOST:PORT with a free port; 0.0.0.0:PORT where probes come from outside",
            ) from None
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_port

    def __enter__(self) -> HealthServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], pulse: Pulse) -> None:
        self.pulse = pulse
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    timeout = 5.0
    server: _Server

    def do_GET(self) -> None:
        """Answer a probe."""
        pulse = self.server.pulse
        states = {"live": pulse.live(), "ready": pulse.ready()}
        asked = self.path.partition("?")[0].strip("/")
        if asked not in states:
            self.send_error(404, "GET /live or /ready")
            return
        body = json.dumps(states).encode()
        self.send_response(200 if states[asked] else 503)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
        """Probes are not for the log."""
