"""Payload sources: one process at a time, begun again after a failure, ended with the process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from conveyor import Item
from conveyor.delivery.sources import SourceRunner
from conveyor.hooks import PayloadSource, SourceContext
from conveyor.hookspecs import hookimpl
from conveyor.submission import Submitter
from conveyor.testing.scripted import Script
from conveyor.testing.simulation import Simulation

Make = Callable[..., SourceRunner]


@pytest.fixture
def make(sim: Simulation) -> Iterator[Make]:
    made: list[SourceRunner] = []

    def runner(
        run: Callable[[SourceContext], None], *, me: str = "wrk_1", name: str = "inbox"
    ) -> SourceRunner:
        def conveyor_payload_sources():
            return [PayloadSource(name, run)]

        plugins = sim.registry.plugins
        if not plugins.has("conveyor_payload_sources"):
            module = SimpleNamespace(conveyor_payload_sources=hookimpl(conveyor_payload_sources))
            sim.registry.admit(plugins.register(module, "watcher"))
        plugin, source = sim.registry.announced.payloads[name]
        submitter = Submitter(sim.ledger, sim.payloads, sim.source, sim.clock)
        made.append(
            SourceRunner(
                plugin,
                source,
                sim.ledger,
                plugins,
                me,
                submitter=lambda: submitter,
                ring=sim.parts.dispatcher.ring,
                clock=sim.clock,
                log=sim.parts.log,
            )
        )
        return made[-1]

    yield runner
    for each in made:
        assert each.stop(10)


def test_what_it_submits_is_delivered_once_however_often_it_says_so(
    sim: Simulation, here: Script, make: Make
) -> None:
    done = threading.Event()

    def run(context: SourceContext) -> None:
        for _ in range(2):
            context.submit(Item(b"a photo", to="here", filename="a.jpg", key="inbox/a.jpg"))
        done.set()
        context.wait(60)

    assert make(run).step()
    assert done.wait(10)
    assert sim.step() == 1
    assert here.deliveries() == 1


def test_one_process_runs_it_and_another_takes_over(sim: Simulation, make: Make) -> None:
    running: list[SourceContext] = []
    began = threading.Semaphore(0)

    def run(context: SourceContext) -> None:
        running.append(context)
        began.release()
        context.wait(60)

    first, second = make(run, me="wrk_1"), make(run, me="wrk_2")
    assert first.step()
    assert began.acquire(timeout=10)
    assert not second.step()
    assert len(running) == 1
    assert first.stop(10)
    assert second.step()
    assert began.acquire(timeout=10)
    assert len(running) == 2


def test_a_process_that_lost_the_lease_ends_its_source(sim: Simulation, make: Make) -> None:
    ended = threading.Event()

    def run(context: SourceContext) -> None:
        if context.wait(60):
            ended.set()

    first, second = make(run, me="wrk_1"), make(run, me="wrk_2")
    assert first.step()
    sim.clock.advance(31)
    assert second.step()
    assert not first.step()
    assert ended.wait(10)


def test_a_source_that_raises_is_counted_and_begun_again_ever_later(sim: Simulation, make: Make) -> None:
    began = threading.Semaphore(0)

    def run(context: SourceContext) -> None:
        began.release()
        raise RuntimeError("boo")

    runner = make(run)
    for pause in (1, 2, 4):
        assert runner.step()
        assert began.acquire(timeout=10)
        assert runner._thread is not None
        runner._thread.join(10)
        sim.clock.advance(pause * 0.9)
        assert runner.step()
        assert not began.acquire(blocking=False)
        sim.clock.advance(pause * 0.2)
    assert sim.registry.plugins.failures == {("watcher", "conveyor_payload_sources"): 3}
