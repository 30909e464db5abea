"""LISTEN: a connection of its own on which PostgreSQL tells that something in the ledger has changed.

It cannot lead through a pooler in transaction mode, which gives the session to others
(https://www.pgbouncer.org/features.html); then the ledger looks by itself every now and then.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

CHANNEL = "conveyor"

LOOK = 5.0
"""Seconds without a word after which the connection is checked."""

FIRST_WAIT, LAST_WAIT = 0.5, 30.0
"""Seconds between tries to connect: doubling."""


class Listener:
    """Listens in a thread until it is stopped; connects again when the server was away.

    Args:
        connect: Opens a psycopg connection in autocommit mode.
        heard: Called for each message, and after each (re)connection, since what came before was missed.
    """

    def __init__(self, connect: Callable[[], Any], heard: Callable[[], None]) -> None:
        self._connect = connect
        self._heard = heard
        self._end = threading.Event()
        self.listening = threading.Event()
        """Set while messages would be heard."""
        self._thread = threading.Thread(target=self._run, name="ledger listener", daemon=True)

    def start(self) -> None:
        """Start listening."""
        self._thread.start()

    def stop(self) -> None:
        """End; the thread goes within ``LOOK`` seconds."""
        self._end.set()

    def _run(self) -> None:
        import psycopg

        wait = FIRST_WAIT
        while not self._end.is_set():
            began = time.monotonic()
            try:
                self._listen()
            except psycopg.Error:
                pass  # not for the log: the ledger's users say it, and looking goes on without this
            finally:
                self.listening.clear()
            if time.monotonic() - began > LAST_WAIT:
                wait = FIRST_WAIT
            self._end.wait(wait)
            wait = min(2 * wait, LAST_WAIT)

    def _listen(self) -> None:
        with self._connect() as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            self.listening.set()
            self._heard()
            while not self._end.is_set():
                silent = True
                for _ in connection.notifies(timeout=LOOK, stop_after=1):
                    silent = False
                    self._heard()
                if silent:
                    connection.execute("SELECT 1")
