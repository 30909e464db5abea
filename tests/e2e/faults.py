"""A schedule of faults made from a seed, and carrying it out on real processes."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from conveyor.errors import LedgerError, PayloadError
from conveyor.installation import Installation
from conveyor.ledger.records import OPEN, Filter, Status
from conveyor.receiver.receiver import Answer
from conveyor.submission import BatchError
from e2e import campaign
from e2e.campaign import ENGINES
from e2e.crew import Crew, Post
from e2e.kit import Place, until

PAST_THE_LEASE = (7.0, 9.0)
"""Seconds; the lease has 5."""
PATIENT = 600.0
TOLD_EVERY = 5.0
"""Seconds between lines about what is going on."""
DAY = 86400 * 1_000_000
TURNS = {
    "kill": 4, "operator": 3, "connections": 3, "stalls": 3, "services": 2, "freeze": 2, "partitions": 1
}  # fmt: skip
"""How often each group of faults has its turn: what lasts for seconds comes seldom."""


@dataclass(frozen=True)
class Action:
    """What a fault does.

    Attributes:
        group: One of :data:`TURNS`; the faults of a group share its turns.
        begin: Is given the number of a process that delivers.
        end: Undoes it; is given the same number.
        lasts: Seconds from the beginning to the end, at least and at most.
    """

    group: str
    begin: Callable[[int], object]
    end: Callable[[int], object] | None = None
    lasts: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Fault:
    """What happens to whom, so many seconds after the beginning, and for how many."""

    at: float
    what: str
    victim: int
    lasts: float


@dataclass
class Done:
    """What was carried out."""

    counts: Counter[str] = field(default_factory=Counter)
    cancelled: set[str] = field(default_factory=set)
    digests: dict[str, str] = field(default_factory=dict)
    """What was submitted, by job."""
    seconds: float = 0.0
    trouble: str = ""
    """Why it did not end in good order."""

    def listed(self) -> str:
        """How often each fault happened, a line each."""
        return "\n".join(f"  {count:4} × {name}" for name, count in sorted(self.counts.items()))


def silent(line: str) -> None:
    """Tells nobody."""


def unavailable() -> Answer:
    """One 503."""
    return Answer(status=503)


def schedule(seed: int, seconds: float, actions: Mapping[str, Action]) -> list[Fault]:
    """The faults of a seed: about one a second."""
    chance = random.Random(seed)
    groups: dict[str, list[str]] = {}
    for name in sorted(actions):
        groups.setdefault(actions[name].group, []).append(name)
    plan: list[Fault] = []
    at = 1.5
    while at < seconds:
        (group,) = chance.choices(sorted(groups), [TURNS[name] for name in sorted(groups)])
        what = chance.choice(groups[group])
        plan.append(Fault(at, what, chance.randrange(ENGINES), chance.uniform(*actions[what].lasts)))
        at += chance.uniform(0.4, 1.4)
    return plan


class Portion(NamedTuple):
    """Files that are submitted at once, so many seconds after the beginning."""

    at: float
    first: int
    count: int


def _portions(files: int, seconds: float) -> list[Portion]:
    """A quarter at once, the rest a little every second."""
    times = max(1, round(0.9 * seconds))
    bounds = [files // 4 + (files - files // 4) * number // times for number in range(times + 1)]
    later = [
        Portion(0.9 * seconds * (number + 1) / times, first, last - first)
        for number, (first, last) in enumerate(itertools.pairwise(bounds))
    ]
    return [Portion(0.0, 0, bounds[0]), *(portion for portion in later if portion.count)]


class Carrying:
    """A run under way: its processes, an operator's orders, and what has been done so far."""

    def __init__(self, place: Place, posts: Sequence[Post], installation: Installation, seed: int) -> None:
        self.place, self.installation, self.seed = place, installation, seed
        self.chance = random.Random(f"{seed}/orders")
        self.done = Done()
        self.crew = Crew(place, posts)
        self._ending: list[threading.Timer] = []
        self._waiting: list[Callable[[], None]] = []

    def actions(self) -> dict[str, Action]:
        """What is done to processes, and what an operator does."""
        crew = self.crew
        found = {
            "kill": Action("kill", crew.kill),
            "freeze past the lease": Action("freeze", crew.freeze, crew.thaw, PAST_THE_LEASE),
            "kill, and cancel what was under way": Action("kill", self.kill_and_cancel),
            "cancel": Action("operator", lambda _: self.order(self.cancel)),
            "replay what failed": Action("operator", lambda _: self.order(self.replay)),
            "resume every destination": Action("operator", lambda _: self.order(self.resume)),
            "edit the config": Action("operator", lambda _: self.edit()),
        }
        if len(crew.posts) > ENGINES:
            found["kill a dispatcher"] = Action("kill", lambda victim: crew.kill(ENGINES + victim))
        return found

    def carry_out(self, fault: Fault, action: Action) -> None:
        """Begin it; what it ends with comes when it is due."""
        self.done.counts[fault.what] += 1
        action.begin(fault.victim)
        if action.end is not None:
            # On its own: an order may wait for what a frozen process holds, SQLite's write lock for one.
            timer = threading.Timer(fault.lasts, action.end, (fault.victim,))
            timer.daemon = True
            timer.start()
            self._ending.append(timer)

    def revive(self) -> None:
        """What the supervisor of a machine does."""
        if ended := self.crew.revive():
            self.done.counts["started again: the ledger was away at its start"] += ended

    def lasting(self) -> bool:
        """Whether a fault still lasts or an order waits for the ledger; such orders are tried again."""
        self._ending = [timer for timer in self._ending if timer.is_alive()]
        waiting, self._waiting = self._waiting, []
        for order in waiting:
            self.order(order)
        return bool(self._ending or self._waiting)

    def order_soon(self, order: Callable[[], None]) -> None:
        """The same from another thread."""
        self._waiting.append(order)

    def order(self, order: Callable[[], None]) -> None:
        """An operator's order; again later when the ledger is away, or a disk full."""
        try:
            order()
        except LedgerError:
            self._waiting.append(order)
        except BatchError as refused:
            if not isinstance(refused.error, PayloadError):
                raise
            self._waiting.append(order)

    def progress(self) -> str:
        """What has been submitted, what is final, and the faults so far."""
        submitted = len(self.done.digests) * len(self.installation.source.list())
        try:
            final = f"{submitted - self.installation.ledger.deliveries.open_count()} final"
        except LedgerError:
            final = "the ledger is away"
        return f"{submitted} deliveries submitted, {final}, {self.done.counts.total()} faults"

    def submit(self, number: int, count: int) -> None:
        """An application hands over ``count`` files, from that number on."""
        self.done.digests |= campaign.submit_some(self.installation, range(number, number + count), self.seed)

    def kill_and_cancel(self, victim: int) -> None:
        """Nobody is left to tidy up after these but the engine's cleaner."""
        self.crew.kill(victim)
        self.order(partial(self.cancel, waiting=0, running=16))

    def cancel(self, waiting: int = 1, running: int = 4) -> None:
        """Deliveries that wait, and some that are under way."""
        ledger = self.installation.ledger
        wait = ledger.deliveries.find(Filter(statuses=OPEN), limit=50)
        run = ledger.deliveries.find(Filter(statuses=frozenset({Status.DELIVERING})), limit=50)
        chosen = [
            *self.chance.sample(wait, min(waiting, len(wait))),
            *self.chance.sample(run, min(running, len(run))),
        ]
        if chosen:
            wanted = Filter(ids=tuple({delivery.id for delivery in chosen}))
            self.done.cancelled |= set(ledger.orders.cancel(wanted, now=ledger.clock.now()).done)

    def replay(self) -> None:
        """All that failed."""
        ledger = self.installation.ledger
        now = ledger.clock.now()
        failed = Filter(statuses=frozenset({Status.FAILED}))
        ledger.orders.replay(failed, now=now, expires=lambda _: now + DAY)

    def resume(self, *destinations: str) -> None:
        """Deliver there again at once, whatever was found out before; everywhere when none is named."""
        ledger = self.installation.ledger
        names = destinations or [each.id for each in self.installation.source.list()]
        ledger.health.resume(names, ledger.clock.now())

    def edit(self) -> None:
        """The config is written again."""
        self.place.path.write_text(self.place.path.read_text() + "\n")


def run(
    place: Place,
    posts: Sequence[Post],
    actions: Callable[[Carrying], Mapping[str, Action]],
    *,
    files: int,
    seed: int,
    seconds: float,
    patience: float = PATIENT,
    tell: Callable[[str], None] = silent,
) -> Done:
    """Submit files while the schedule of a seed is carried out, wait until everything is final, stop all.

    What is not final within ``patience`` stays so, for the checker to report; all are killed then.

    Args:
        place: Where the engines work.
        posts: The engines.
        actions: The faults, beside those of processes and operators.
        files: How many are submitted, a part of them before the first fault.
        seed: Decides on files and schedule.
        seconds: How long faults begin; the last files come when nine tenths of it have passed.
        patience: Seconds after the last fault until what is open counts as stuck.
        tell: Is given a line every few seconds.

    Raises:
        KeyboardInterrupt: By then all processes have ended, and what was done has been told.
    """
    with ExitStack() as stack:
        installation = stack.enter_context(place.open())
        carrying = Carrying(place, posts, installation, seed)
        known = {**carrying.actions(), **actions(carrying)}
        left = schedule(seed, seconds, known)
        portions = _portions(files, seconds)
        began = told = time.monotonic()
        looked = 0.0

        def settled() -> bool:
            nonlocal looked, told
            if time.monotonic() - told >= TOLD_EVERY:
                told = time.monotonic()
                ends = (("faults for", began + seconds), ("given up in", began + seconds + patience))
                what, end = next(each for each in ends if each[1] >= told or each is ends[-1])
                tell(f"{carrying.progress()}; {what} {max(0.0, end - told):.0f} s")
            lasting = carrying.lasting()
            carrying.revive()
            while left and time.monotonic() - began >= left[0].at:
                fault = left.pop(0)
                carrying.carry_out(fault, known[fault.what])
            while portions and time.monotonic() - began >= portions[0].at:
                portion = portions.pop(0)
                carrying.order(partial(carrying.submit, portion.first, portion.count))
            if left or portions or lasting or time.monotonic() - looked < 0.3:
                return False
            if not looked:  # the faults are over, and an operator says so: no breaker need find it out
                carrying.order(carrying.resume)
            looked = time.monotonic()
            try:
                carrying.replay()
                return not installation.ledger.deliveries.open_count()
            except LedgerError:
                return False  # the database is being restarted

        try:
            tell("the processes start")
            carrying.crew.wait_ready(installation)  # a fault that meets nobody shows nothing
            began = told = time.monotonic()
            until(settled, "everything is final", patience=seconds + patience)
            carrying.crew.stop(installation)
        except AssertionError as error:
            carrying.done.trouble = str(error)
            place.stop()
        except KeyboardInterrupt:
            place.stop()
            tell(f"interrupted after {time.monotonic() - began:.0f} s: {carrying.progress()}")
            tell(carrying.done.listed())
            raise
        carrying.done.seconds = time.monotonic() - began
        return carrying.done
