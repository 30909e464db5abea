"""The whole simulated installation, and what may happen to it."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conveyor.breaker import BreakerPolicy
from conveyor.clock import SECOND, micros
from conveyor.contract import ConflictPolicy
from conveyor.keyring import Keyring
from conveyor.ledger.facade import Ledger
from conveyor.ledger.records import Filter, JobRecord, NewDelivery, PayloadRecord, Submission
from conveyor.payloads import LocalStore
from conveyor.registry import Registry
from conveyor.retry import RetryPolicy
from conveyor.testing import memory_store
from conveyor.testing.clock import FakeClock
from conveyor.testing.memory import MEMORY_SPEC, MemoryOptions
from conveyor.testing.simulation import Destinations, destination
from simulation.checks import Checks
from simulation.database import Shared
from simulation.fibers import Hub
from simulation.machine import Machine
from simulation.places import HOOK_SPEC, HookOptions, Hooks, SteppedStore, install
from simulation.wakeups import Bag

if TYPE_CHECKING:
    from conveyor.config import Destination

FILES = 4
"""Different payloads; jobs share them."""

SCHEDULE = (1.0, 4.0, 15.0)
BREAKER = BreakerPolicy(share=0.7, window=60.0, volume=5)
"""So few attempts that walks get there."""

CAP = 3
EXPIRES = 4 * 3600.0
OTHERS = 1_500
"""Steps that others have to take over what a frozen process holds."""

PATIENCE = 200_000
"""Steps within which everything must have become final after the last fault."""


class Ground:
    """What the walks of one test share, because it is dear: an empty ledger, a key, payload files."""

    def __init__(self, folder: Path, original: Path) -> None:
        self.folder, self.original = folder, original
        self.keyring = Keyring.load(None, file=folder / "key", create=True)
        self.payloads = LocalStore(folder / "payloads", clock=FakeClock())
        self.files: list[PayloadRecord] = [
            self.payloads.put(io.BytesIO(bytes([65 + n]) * (10 + n)), digests=frozenset({"sha256"}))
            for n in range(FILES)
        ]
        self.walks = 0
        self.steps = 0
        """Times that a fiber went on."""
        self.touches = 0
        """Of these before or after a transaction of the ledger or a request to a destination."""


class World:
    """One walk's ledger, destinations, broker and processes.

    Args:
        ground: What walks share.
        rung: Whether workers are woken by a broker, or look into the ledger themselves.
        seed: Of the broker's moods.
    """

    def __init__(self, ground: Ground, *, rung: bool, seed: int) -> None:
        ground.walks += 1
        self.ground = ground
        self.clock = FakeClock()
        self.hub = Hub(self.clock)
        self.keyring, self.payloads = ground.keyring, ground.payloads
        self.registry = Registry(specs=[MEMORY_SPEC, HOOK_SPEC])
        self.shared = Shared(ground.original, ground.folder / f"walk-{ground.walks % 4}.db", self.clock)
        self.ledger = Ledger(self.shared.real, clock=self.clock, keyring=self.keyring)
        self.store = SteppedStore(self.hub)
        self.hooks = Hooks(self.hub)
        memory_store._named["simulated"] = self.store
        install("hook", self.hooks)
        self.source = Destinations(self.bucket(), self.hook())
        self.bag = Bag(self.hub, random.Random(seed)) if rung else None
        self.machines: list[Machine] = []
        self.defects: list[str] = []
        self.submitted: dict[str, tuple[str, PayloadRecord]] = {}
        """Destination and payload by delivery id."""
        self._jobs = 0
        self._machines = 0
        self._revision = 1
        self.checks = Checks(self)

    # --- configuration ----------------------------------------------------------------------------

    def bucket(self, chunk: int = 8, revision: str = "1") -> Destination:
        """The store with every capability; another ``chunk`` is another endpoint to saved state."""
        options = MemoryOptions(store="simulated", chunk_size=chunk)
        return self._destination("bucket", MEMORY_SPEC, options, revision)

    def hook(self) -> Destination:
        """The webhook."""
        return self._destination("hook", HOOK_SPEC, HookOptions(), "1")

    def _destination(self, name: str, spec: Any, options: Any, revision: str) -> Destination:
        from conveyor.config.model import Limits

        return destination(
            name,
            spec=spec,
            options=options,
            retry=RetryPolicy(schedule=SCHEDULE, jitter=0.0),
            conflict=ConflictPolicy.RENAME,
            limits=Limits(concurrency=CAP),
            breaker=BREAKER,
            expire_after=EXPIRES,
            revision=revision,
        )

    def edit(self, chunk: int) -> None:
        """Change the bucket's options."""
        self._revision += 1
        self.source.put(self.bucket(chunk, str(self._revision)))

    # --- orders -----------------------------------------------------------------------------------

    def submit(self, to: Sequence[str], *, seconds: float = EXPIRES) -> None:
        """Submit one job; all of them are called alike, so that names collide within a session."""
        self._jobs += 1
        now = self.clock.now()
        payload = self.ground.files[self._jobs % FILES]
        row = PayloadRecord(
            f"pay_{self._jobs:04d}", payload.location, payload.in_place, payload.size, payload.digests
        )
        job = JobRecord(
            f"job_{self._jobs:04d}", now, "photo.jpg", "image/jpeg", row, session_id=f"s{self._jobs % 2}"
        )
        deliveries = tuple(
            NewDelivery(
                f"dlv_{self._jobs:04d}_{name}", name, self.source.get(name).type,  # type: ignore[union-attr]
                now + micros(seconds), now,
            )
            for name in to
        )  # fmt: skip
        self.ledger.submissions.submit([Submission(job, deliveries)])
        self.submitted.update({each.id: (each.destination, row) for each in deliveries})

    def cancel(self, delivery_id: str) -> None:
        """An operator's order."""
        self.ledger.orders.cancel(Filter(ids=(delivery_id,)), now=self.clock.now())

    def replay(self, delivery_id: str, *, force: bool) -> None:
        """An operator's order."""
        until = self.clock.now() + micros(EXPIRES)
        self.ledger.orders.replay(
            Filter(ids=(delivery_id,)), now=self.clock.now(), expires=lambda _: until, force=force
        )

    # --- processes --------------------------------------------------------------------------------

    def start(self) -> None:
        """Another process."""
        self._machines += 1
        self.machines.append(Machine(self, self._machines))

    def kill(self, machine: Machine, *, seen: bool) -> None:
        """One process fewer."""
        machine.kill(seen=seen)
        self.machines.remove(machine)
        if seen:
            self.checks.known_dead.add(machine.worker_id)

    def is_dead(self, worker_id: str) -> bool:
        """Whether everybody can see that this process is gone."""
        return worker_id in self.checks.known_dead

    def defect(self, error: object) -> None:
        """The engine itself failed."""
        self.defects.append(repr(error))

    # --- time -------------------------------------------------------------------------------------

    def run(self, steps: int, seed: int) -> None:
        """Let the processes do ``steps`` steps in an order that the seed decides."""
        chance = random.Random(seed)
        for _ in range(steps):
            if not self.hub.step(chance):
                return

    def sleep_past_the_lease(self, machine: Machine, seed: int) -> None:
        """A process stops in the middle of an attempt; when others are at the same delivery, it wakes up."""
        held = {attempt.claim.delivery_id for attempt in machine.parts.watchdog.running()}
        if not held or machine.frozen:
            return
        chance = random.Random(seed)
        machine.frozen = True
        for _ in range(OTHERS):
            if self._taken_over(held, machine.worker_id) or not self.hub.step(chance):
                break
        machine.frozen = False
        for _ in range(chance.randrange(40)):
            self.hub.step(chance, only=machine)

    def _taken_over(self, held: set[str], worker_id: str) -> bool:
        running = self.shared.ask("SELECT id, worker FROM deliveries WHERE status = 'delivering'")
        return any(row[0] in held and row[1] != worker_id for row in running)

    def advance(self, seconds: float) -> None:
        """Time passes while nobody gets to do anything."""
        self.clock.advance(seconds)

    def settle(self, seed: int) -> None:
        """End all faults and run until everything is final."""
        self._mend()
        chance = random.Random(seed)
        for number in range(PATIENCE):
            if number % 25 == 0 and self._quiet():
                return
            self.hub.step(chance)
        raise AssertionError("not final long after the last fault: " + self.checks.describe_open())

    def _mend(self) -> None:
        for place in (self.store, self.hooks):
            place.trials.waiting.clear()
        if self.bag is not None:
            self.bag.down = False
            self.bag.loss = self.bag.doubling = 0.0
        for machine in self.machines:
            machine.frozen = machine.database.cut = False
            machine.database.drops = 0
        if not self.machines:
            self.start()
        self.ledger.health.resume(["bucket", "hook"], self.clock.now())

    def _quiet(self) -> bool:
        if self.ledger.deliveries.open_count() or self.ledger.cleanups.next_due() is not None:
            return False
        return not any(m.parts.watchdog.running() or m.parts.completions._queue for m in self.machines)

    def close(self) -> None:
        """End the walk."""
        for machine in self.machines:
            machine.kill(seen=True)
        self.ground.steps += self.hub.steps
        self.ground.touches += self.hub.touches
        self.shared.close()
        memory_store.forget_store("simulated")

    @property
    def seconds(self) -> float:
        """Simulated time since the beginning."""
        return (self.clock.now() - micros(1_800_000_000.0)) / SECOND
