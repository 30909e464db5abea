"""Leads FTP's many connections through a fault proxy, which knows one server.

Behind the proxy stands this router. The connector's network dials the proxy for the data connections too, and
tells the router beforehand which of the server's ports the next connection is meant for. So it works whatever
the control connection's TLS hides.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from typing import Any

from conveyor.contract import ConnectorEnv
from conveyor.network import Network
from conveyor.testing import make_env
from conveyor.testing.ports import LOOPBACK


class Router:
    """Use as a context manager; ``host`` and ``port`` are what the fault proxy stands before.

    Args:
        server: Host and port of the FTP server.
    """

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._next: list[tuple[int, threading.Event]] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((LOOPBACK, 0))
        self.host, self.port = LOOPBACK, int(self._listener.getsockname()[1])
        self.proxy: int | None = None
        """The port of the proxy that tests run through."""

    def __enter__(self) -> Router:
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(5)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def through(self, host: str, port: int) -> dict[str, Any]:
        """For ``Bench.through``."""
        self.proxy = port
        return {"host": host, "port": port}

    def env(self) -> ConnectorEnv:
        """For ``Bench.env``."""
        return make_env(network=_Routed(self))

    def expect(self, port: int | None) -> threading.Event:
        """The next connection is for this port; None for the control connection, with which all begins.

        Returns:
            Set once it is here: only then may another one be dialled, since the proxy keeps no order.
        """
        arrived = threading.Event()
        with self._lock:
            if port is None:
                self._next.clear()
            self._next.append((self._server[1] if port is None else port, arrived))
        return arrived

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                port, arrived = self._next.pop(0) if self._next else (None, None)
            if arrived is not None:
                arrived.set()
            thread = threading.Thread(target=self._serve, args=(client, port), daemon=True)
            self._threads = [other for other in self._threads if other.is_alive()] + [thread]
            thread.start()

    def _serve(self, client: socket.socket, port: int | None) -> None:
        with client, contextlib.suppress(OSError):
            if port is not None:
                with socket.create_connection((self._server[0], port), timeout=10) as server:
                    self._pump({client: server, server: client})

    def _pump(self, other: dict[socket.socket, socket.socket]) -> None:
        running = set(other)
        while running and not self._closing.is_set():
            for end in select.select(list(running), [], [], 0.05)[0]:
                data = end.recv(65536)
                if data:
                    other[end].sendall(data)
                    continue
                running.discard(end)
                other[end].shutdown(socket.SHUT_WR)


class _Routed(Network):
    def __init__(self, router: Router) -> None:
        super().__init__(["127.0.0.0/8"])
        self._router = router
        self._via = False

    def dial(self, host: str, port: int, timeout: float, **options: Any) -> socket.socket:
        """Through the proxy, if the control connection went through it."""
        proxy = self._router.proxy
        if proxy is None or (port != proxy and not self._via):
            return super().dial(host, port, timeout, **options)
        self._via = True
        arrived = self._router.expect(None if port == proxy else port)
        sock = super().dial(host, proxy, timeout, **options)
        end = time.monotonic() + 10.0
        # In vain where the proxy refuses, which shows in the socket.
        while not arrived.wait(0.02) and time.monotonic() < end:
            if select.select([sock], [], [], 0)[0]:
                break
        return sock
