"""Cooperative threads on a clock that only the scheduler moves: the same seed gives the same interleaving.

The engine's own code runs in them unchanged. A fiber gives up control only where it calls :func:`pause`,
:func:`sleep` or :func:`block`: around each transaction of the ledger and each request to a destination. What
holds no lock of the database there may die there.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

import greenlet

from conveyor.clock import SECOND
from conveyor.testing.clock import FakeClock


class Dead(BaseException):
    """The process of this fiber has been killed; nothing it does afterwards has any effect."""


class Fiber:
    """One thread of a simulated process.

    Args:
        hub: Runs it.
        owner: The process; ``dead`` and ``frozen`` are looked at.
        name: For the trace.
        body: What it does; it may return.
    """

    def __init__(self, hub: Hub, owner: Any, name: str, body: Callable[[], None]) -> None:
        self.hub, self.owner, self.name = hub, owner, name
        self.until: int | None = None
        self.ready: Callable[[], bool] | None = None
        self._body = body
        self._green = greenlet.greenlet(self._run, hub.main)
        self.green_id = id(self._green)
        hub.by_greenlet[self.green_id] = self

    @property
    def ended(self) -> bool:
        return self._green.dead

    def may_run(self, now: int) -> bool:
        if self.ended or self.owner.dead or self.owner.frozen:
            return False
        if self.ready is not None and self.ready():
            return True
        if self.until is not None:
            return self.until <= now
        return self.ready is None

    def resume(self) -> None:
        """Run to the next pause."""
        self.until, self.ready = None, None
        self._green.switch()

    def kill(self) -> None:
        """Unwind it; each pause on the way raises again."""
        if not self.ended:
            with suppress(Dead):  # one that has not begun yet does not catch it
                self._green.throw(Dead)
        self.hub.by_greenlet.pop(self.green_id, None)

    def _run(self) -> None:
        try:
            self._body()
        except Dead:
            return


class Hub:
    """Runs fibers one step at a time and moves the clock when none can go on."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.main = greenlet.getcurrent()
        self.by_greenlet: dict[int, Fiber] = {}
        self.fibers: list[Fiber] = []
        self.steps = 0
        self.touches = 0

    def spawn(self, owner: Any, name: str, body: Callable[[], None]) -> None:
        self.fibers.append(Fiber(self, owner, name, body))

    @property
    def current(self) -> Fiber | None:
        return self.by_greenlet.get(id(greenlet.getcurrent()))

    def runnable(self) -> list[Fiber]:
        now = self.clock.now()
        return [fiber for fiber in self.fibers if fiber.may_run(now)]

    def step(self, chance: random.Random, only: object = None) -> bool:
        """Run a fiber that can go on, or let time pass until one can; False when none ever will.

        Args:
            chance: Decides which one.
            only: One of this process, if any of these can.
        """
        able = self.runnable()
        able = [fiber for fiber in able if fiber.owner is only] or able
        if not able:
            return self.pass_time()
        fiber = chance.choice(able)
        self.steps += 1
        fiber.resume()
        if fiber.ended:
            self.fibers.remove(fiber)
            self.by_greenlet.pop(fiber.green_id, None)
        return True

    def pass_time(self) -> bool:
        """Move the clock to the next wake-up."""
        times = [
            fiber.until
            for fiber in self.fibers
            if fiber.until is not None and not fiber.ended and not fiber.owner.dead and not fiber.owner.frozen
        ]
        if not times:
            return False
        self.clock.advance(max(0, min(times) - self.clock.now()) / SECOND)
        return True

    def bury(self, owner: Any) -> None:
        """End all fibers of a dead process."""
        mine = [fiber for fiber in self.fibers if fiber.owner is owner]
        self.fibers = [fiber for fiber in self.fibers if fiber.owner is not owner]
        for fiber in mine:
            fiber.kill()

    # --- called from within fibers ----------------------------------------------------------------

    def touch(self) -> None:
        """Pause beside something that others can see."""
        self.touches += 1
        self.pause()

    def pause(self) -> None:
        """Let others run; the process may die here. Nothing outside of fibers."""
        fiber = self.current
        if fiber is None:
            return
        if fiber.owner.dead:
            raise Dead
        self.main.switch()
        if fiber.owner.dead:
            raise Dead

    def block(self, ready: Callable[[], bool], seconds: float | None = None) -> bool:
        """Wait until ``ready()``, at most ``seconds``; returns what it says at the end."""
        fiber = self.current
        assert fiber is not None, "outside of a fiber nobody else can make it ready"
        end = None if seconds is None else self.clock.now() + round(seconds * SECOND)
        while not ready() and (end is None or self.clock.now() < end):
            fiber.until, fiber.ready = end, ready
            self.pause()
        return ready()

    def sleep(self, seconds: float) -> None:
        self.block(lambda: False, seconds)


class Lock:
    """A lock that lets other fibers run while one waits for it."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._held = False

    def __enter__(self) -> Lock:
        if self._held:
            self._hub.block(lambda: not self._held)
        self._held = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held = False


class Condition(Lock):
    """As much of :class:`threading.Condition` as the completions use."""

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> bool:
        self._held = False
        answer = self._hub.block(lambda: bool(predicate()), timeout)
        if self._held:
            self._hub.block(lambda: not self._held)
        self._held = True
        return answer

    def notify_all(self) -> None:
        """Predicates are looked at anyway."""


class Event:
    """As much of :class:`threading.Event` as the dispatcher's bell uses."""

    def __init__(self, hub: Hub, least: float) -> None:
        self._hub, self._least, self._set = hub, least, False

    def set(self) -> None:
        self._set = True

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float) -> bool:
        return self._hub.block(lambda: self._set, max(timeout, self._least))
