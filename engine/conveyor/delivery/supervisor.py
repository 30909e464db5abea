"""Keeps several worker processes running: restarts the one that died, and no other."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from conveyor.contract import Log
from conveyor.errors import Exit

FIRST_BACKOFF, LAST_BACKOFF = 0.5, 30.0
"""Seconds before a process that died is started again: doubling while it keeps dying."""

STEADY = 60.0
"""A process that ran this many seconds starts over with the first backoff."""

_PR_SET_PDEATHSIG = 1
"""prctl(2)."""


@dataclass(slots=True)
class _Child:
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    backoff: float = FIRST_BACKOFF
    not_before: float = field(default=float("-inf"))


class Supervisor:
    """Runs a command as several processes.

    Args:
        command: What each process executes.
        processes: How many.
        log: Says who died and when it comes back.
        spawn: Starts a process; for tests.
        monotonic: Seconds that never go back; for tests.
    """

    def __init__(
        self,
        command: Sequence[str],
        processes: int,
        *,
        log: Log,
        spawn: Callable[[Sequence[str]], subprocess.Popen[bytes]] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = list(command)
        self._log = log
        self._spawn = spawn or _spawn
        self._monotonic = monotonic
        self._children = [_Child() for _ in range(processes)]

    def step(self) -> None:
        """Start what should run and does not."""
        now = self._monotonic()
        for number, child in enumerate(self._children):
            if child.process is not None:
                code = child.process.poll()
                if code is None:
                    continue
                self._died(number, child, code, now)
            if child.process is None and now >= child.not_before:
                self._start(number, child, now)

    def signal(self, number: int) -> None:
        """Send a signal to all processes."""
        for child in self._children:
            if child.process is not None and child.process.poll() is None:
                child.process.send_signal(number)

    def stop(self, timeout: float) -> int:
        """Ask all to end, wait, kill the rest; returns the worst exit code."""
        self.signal(signal.SIGTERM)
        deadline = self._monotonic() + timeout
        worst = 0
        for child in self._children:
            if child.process is None:
                continue
            try:
                code = child.process.wait(max(0.1, deadline - self._monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                code = child.process.wait()
            worst = max(worst, abs(code))
        return worst

    @property
    def pids(self) -> list[int]:
        """The processes that run."""
        return [c.process.pid for c in self._children if c.process is not None and c.process.poll() is None]

    def _start(self, number: int, child: _Child, now: float) -> None:
        try:
            child.process = self._spawn(self._command)
        except OSError as error:
            # Too many processes, no memory: the others go on, and it will pass.
            self._log.warning(
                "worker process does not start", process=number, error=str(error), again_in=child.backoff
            )
            _back_off(child, now)
        else:
            child.started = now

    def _died(self, number: int, child: _Child, code: int, now: float) -> None:
        child.process = None
        ran = now - child.started
        if code == 0 and ran >= LAST_BACKOFF:
            # It asked to be replaced.
            child.not_before = now
            return
        if ran >= STEADY:
            child.backoff = FIRST_BACKOFF
        self._log.warning("worker process died", process=number, exit_code=code, restart_in=child.backoff)
        _back_off(child, now)


def _back_off(child: _Child, now: float) -> None:
    child.not_before = now + child.backoff
    child.backoff = min(child.backoff * 2, LAST_BACKOFF)


def _spawn(command: Sequence[str]) -> subprocess.Popen[bytes]:
    # A reload that is asked for before the process can heed it would end it: it waits until then.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    try:
        # A session of its own: Ctrl-C reaches the supervisor alone, which tells its children once.
        return subprocess.Popen(list(command), start_new_session=True, stdin=subprocess.DEVNULL)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent(parent: int) -> None:
    """Make this process end when its parent does (Linux; elsewhere the lease takes care of an orphan).

    Args:
        parent: The parent's process id, as the parent told it.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        # The parent died before the signal was set up.
        sys.exit(Exit.FAILED)
