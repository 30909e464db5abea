"""``conveyor run``: an engine in this process, or a supervisor over several, until told to stop or idle."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Protocol

from conveyor.contract import Log
from conveyor.delivery.pulse import Pulse
from conveyor.delivery.supervisor import Supervisor
from conveyor.errors import Exit, LedgerUnavailable

TICK = 0.05
"""Seconds between looks at whether to end."""


COLLECT_EVERY = 10_000
"""Objects made and not freed between two looks of the garbage collector. Python's own 700 are made by a claim
of a few deliveries, which are freed without it."""


def spare_collector() -> None:
    """Have the garbage collector look through what the process works on, not through what it has imported."""
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY)


class Runnable(Protocol):
    """An engine, as the runner sees it."""

    worn_out: threading.Event

    def start(self) -> None: ...
    def drain(self) -> None: ...
    def stop(self) -> bool: ...
    def idle(self, horizon: float) -> bool: ...


_HEEDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Flag(threading.Event):
    """An event that a signal handler may set.

    The handler runs in the main thread, between two steps of whatever that does. Were it at the lock of an
    ordinary event, which is not reentrant, both would wait for ever: here is none. Whoever waits looks.
    """

    def __init__(self) -> None:
        super().__init__()
        self._up = False

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._up

    def set(self) -> None:
        """Set it."""
        self._up = True

    def clear(self) -> None:
        """Take it back."""
        self._up = False

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until it is set, ``timeout`` seconds at most; whether it is."""
        end = float("inf") if timeout is None else time.monotonic() + timeout
        while not self._up and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, TICK))
        return self._up


class Signals:
    """SIGTERM and SIGINT ask to stop, a second one leaves at once; SIGHUP asks to reload.

    Leaving at once loses nothing: what was claimed is freed by the next process that sees this one gone.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self.stop = Flag()
        self.reload = Flag()

    def install(self) -> None:
        """Install the handlers; only in the main thread. What was held back comes now."""
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEEDED)

    def hold_back(self) -> None:
        """Let what comes from here on wait for the program that takes this one's place, if one does."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _HEEDED)

    def _on_stop(self, number: int, _frame: FrameType | None) -> None:
        if self.stop.is_set():
            os._exit(128 + number)
        self.stop.set()
        with suppress(OSError):
            os.write(2, b"stopping: finishing what runs; once more to leave at once\n")

    def _on_reload(self, _number: int, _frame: FrameType | None) -> None:
        self.reload.set()


def run_engine(
    engine: Runnable,
    signals: Signals,
    *,
    until_idle: bool,
    horizon: float,
    reload: Callable[[bool], None],
    failed: Callable[[], bool],
    pulse: Pulse | None = None,
) -> tuple[Exit, bool]:
    """Run one engine to its end.

    Args:
        engine: Not yet started.
        signals: Installed.
        until_idle: End once nothing runs or is due within ``horizon`` seconds.
        horizon: Seconds.
        reload: Called at each tick with whether a reload was asked for.
        failed: Whether a delivery failed since the engine started, or is left on hold; asked at the end of
            ``until_idle``.
        pulse: Shows how the process is.

    Returns:
        The exit code, and whether the process should be replaced by a fresh one.
    """
    pulse = pulse or Pulse()
    spare_collector()
    engine.start()
    code, replace = Exit.OK, False
    try:
        while not signals.stop.wait(TICK):
            pulse.turn()
            follow(signals, pulse, reload)
            if engine.worn_out.is_set():
                replace = True
                break
            if until_idle and (ended := _ended(lambda: engine.idle(horizon), failed)) is not None:
                code = ended
                break
    finally:
        if replace:
            pulse.renewing()
        else:
            pulse.stopping()
        engine.stop()
    return code, replace


def follow(signals: Signals, pulse: Pulse, reload: Callable[[bool], None]) -> None:
    """One turn of a main loop: reload when asked to, else look whether the config has changed."""
    if not signals.reload.is_set():
        reload(False)
        return
    signals.reload.clear()
    pulse.reloading()
    try:
        reload(True)
    finally:
        pulse.reloaded()


def _ended(idle: Callable[[], bool], failed: Callable[[], bool]) -> Exit | None:
    """The exit code when there is nothing left to do; None when there is, or the ledger cannot say."""
    try:
        if not idle():
            return None
        return Exit.FAILED if failed() else Exit.OK
    except LedgerUnavailable:
        return None


def run_supervisor(
    supervisor: Supervisor,
    signals: Signals,
    *,
    idle: Callable[[], bool],
    failed: Callable[[], bool],
    grace: float,
    reload: Callable[[bool], None],
    pulse: Pulse | None = None,
) -> Exit:
    """Keep several engine processes running until told to stop or idle.

    Args:
        supervisor: Not yet started.
        signals: Installed.
        idle: Whether to end because nothing is left to do; asked once a second.
        failed: Whether a delivery failed meanwhile, or is left on hold; asked when it ended because it was
            idle.
        grace: Seconds that the processes have to end.
        reload: Called at each tick, with whether a reload was asked for; the processes are asked for it too.
        pulse: Shows how they are.
    """
    pulse = pulse or Pulse()
    code = Exit.OK
    ticks = 0

    def reload_all(asked: bool) -> None:
        if asked:
            supervisor.signal(signal.SIGHUP)
        reload(asked)

    try:
        while not signals.stop.wait(TICK):
            pulse.turn()
            supervisor.step()
            follow(signals, pulse, reload_all)
            ticks += 1
            if ticks % round(1 / TICK) == 0 and (ended := _ended(idle, failed)) is not None:
                code = ended
                break
    finally:
        pulse.stopping()
        supervisor.stop(grace)
    return code
