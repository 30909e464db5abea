"""Random walks: Hypothesis decides what happens to the simulated installation, and shrinks what breaks."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from simulation.machine import LEASE
from simulation.places import TROUBLES
from simulation.world import Ground, World

MOST_MACHINES = 3
MOST_DELIVERIES = 10

seeds = st.integers(0, 2**16)
places = st.sampled_from([("bucket",), ("bucket", "hook"), ("hook",)])


def walk(ground: Ground) -> type[RuleBasedStateMachine]:
    """The state machine over this ground."""

    class Walk(RuleBasedStateMachine):
        world: World

        @initialize(rung=st.booleans(), seed=seeds, machines=st.integers(1, MOST_MACHINES))
        def begin(self, rung: bool, seed: int, machines: int) -> None:
            self.world = World(ground, rung=rung, seed=seed)
            for _ in range(machines):
                self.world.start()
            self.world.submit(("bucket", "hook"))

        # --- what users do ------------------------------------------------------------------------

        @precondition(lambda self: len(self.world.submitted) < MOST_DELIVERIES)
        @rule(to=places, seconds=st.sampled_from([4 * 3600.0, 4 * 3600.0, 30.0]))
        def submit(self, to: tuple[str, ...], seconds: float) -> None:
            self.world.submit(to, seconds=seconds)

        @rule(data=st.data())
        def cancel(self, data: st.DataObject) -> None:
            self.world.cancel(data.draw(st.sampled_from(sorted(self.world.submitted))))

        @rule(data=st.data(), force=st.booleans())
        def replay(self, data: st.DataObject, force: bool) -> None:
            self.world.replay(data.draw(st.sampled_from(sorted(self.world.submitted))), force=force)

        @rule(name=st.sampled_from(["bucket", "hook"]), resume=st.booleans())
        def pause(self, name: str, resume: bool) -> None:
            if resume:
                self.world.ledger.health.resume([name], self.world.clock.now())
            else:
                self.world.ledger.health.pause([name], None, self.world.clock.now())

        @rule(chunk=st.sampled_from([4, 8]))
        def edit(self, chunk: int) -> None:
            self.world.edit(chunk)

        @rule(number=st.integers(0, 2), session=st.sampled_from(["s0", "s1"]))
        def strangers_file(self, number: int, session: str) -> None:
            name = "photo.jpg" if number == 0 else f"photo ({number}).jpg"
            if self.world.store.stored(f"{session}/{name}") is None:
                self.world.store.put(f"{session}/{name}", b"stranger")

        # --- time and order -----------------------------------------------------------------------

        @rule(seed=seeds, steps=st.integers(1, 120))
        def run(self, seed: int, steps: int) -> None:
            self.world.run(steps, seed)

        @rule(seed=seeds, steps=st.integers(100, 400))
        def run_on(self, seed: int, steps: int) -> None:
            self.world.run(steps, seed)

        @rule(seconds=st.sampled_from([0.5, 5.0, LEASE * 0.7, LEASE * 1.1, LEASE * 3, 600.0]))
        def advance(self, seconds: float) -> None:
            self.world.advance(seconds)

        # --- processes ----------------------------------------------------------------------------

        @precondition(lambda self: len(self.world.machines) < MOST_MACHINES)
        @rule()
        def start(self) -> None:
            self.world.start()

        @precondition(lambda self: self.world.machines)
        @rule(data=st.data(), seen=st.booleans())
        def kill(self, data: st.DataObject, seen: bool) -> None:
            self.world.kill(data.draw(st.sampled_from(self.world.machines)), seen=seen)

        @precondition(lambda self: self.world.machines)
        @rule(data=st.data())
        def freeze_or_thaw(self, data: st.DataObject) -> None:
            machine = data.draw(st.sampled_from(self.world.machines))
            machine.frozen = not machine.frozen

        @precondition(lambda self: len(self.world.machines) > 1)
        @rule(data=st.data(), seed=seeds, before=st.integers(0, 40))
        def sleep_past_the_lease(self, data: st.DataObject, seed: int, before: int) -> None:
            machine = data.draw(st.sampled_from(self.world.machines))
            self.world.run(before, seed)
            self.world.sleep_past_the_lease(machine, seed)

        @precondition(lambda self: self.world.machines)
        @rule(data=st.data())
        def cut_or_mend_ledger(self, data: st.DataObject) -> None:
            machine = data.draw(st.sampled_from(self.world.machines))
            machine.database.cut = not machine.database.cut

        @precondition(lambda self: self.world.machines)
        @rule(data=st.data(), count=st.integers(1, 3))
        def drop_answers_of_ledger(self, data: st.DataObject, count: int) -> None:
            data.draw(st.sampled_from(self.world.machines)).database.drops += count

        # --- destinations and broker --------------------------------------------------------------

        @rule(
            name=st.sampled_from(["bucket", "hook"]),
            trouble=st.sampled_from(sorted(TROUBLES)),
            after=st.booleans(),
            count=st.integers(1, 4),
        )
        def trouble(self, name: str, trouble: str, after: bool, count: int) -> None:
            place = self.world.store if name == "bucket" else self.world.hooks
            place.trials.add(trouble, after=after, count=count)

        @precondition(lambda self: self.world.bag is not None)
        @rule(loss=st.sampled_from([0.0, 0.5, 1.0]), doubling=st.sampled_from([0.0, 0.5]))
        def moods_of_broker(self, loss: float, doubling: float) -> None:
            assert self.world.bag is not None
            self.world.bag.loss, self.world.bag.doubling = loss, doubling

        @precondition(lambda self: self.world.bag is not None)
        @rule(flush=st.booleans())
        def broker_flushed_or_down(self, flush: bool) -> None:
            assert self.world.bag is not None
            if flush:
                self.world.bag.flush_all()
            else:
                self.world.bag.down = not self.world.bag.down

        # --- what must hold -----------------------------------------------------------------------

        @invariant()
        def holds(self) -> None:
            self.world.checks.now()

        def teardown(self) -> None:
            if not hasattr(self, "world"):
                return
            try:
                self.world.settle(len(self.world.submitted))
                self.world.checks.at_the_end()
            finally:
                self.world.close()

    return Walk
