"""Several processes on one ledger: a supervisor's children, and submissions from elsewhere."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from conveyor.delivery.identity import process_start
from conveyor.receiver import Receiver
from e2e.kit import Place, until

Places = Callable[..., Place]


def test_a_supervisor_keeps_its_processes_and_ends_them(
    place: Places, hook: dict[str, Any], receiver: Receiver
) -> None:
    here = place(
        hook=hook, settings={"workers": {"processes": 2, "threads": 2, "lease": "5s", "grace": "5s"}}
    )
    engine = here.start()
    with here.open() as installation:

        def workers() -> list[int]:
            return sorted(w.pid for w in installation.ledger.workers.all() if process_start(w.pid))

        pids = until(lambda: p if len(p := workers()) == 2 else None, "two workers")
        assert engine.pid not in pids
        os.kill(pids[0], signal.SIGKILL)
        again = until(lambda: p if len(p := workers()) == 2 and p != pids else None, "a new worker")
        assert pids[1] in again
        submitted = [
            installation.submitter().submit(b"photo", to=["hook"], filename=f"{number}.jpg")
            for number in range(10)
        ]
        until(lambda: not installation.ledger.deliveries.open_count(), "all deliveries")
        engine.send_signal(signal.SIGTERM)
        assert engine.wait(30) == 0
        until(lambda: not any(process_start(pid) for pid in again), "the children's end")
    assert len({r.delivery_id for r in receiver.received}) == len(submitted)


def test_children_end_when_their_supervisor_is_killed(place: Places, hook: dict[str, Any]) -> None:
    here = place(
        hook=hook, settings={"workers": {"processes": 2, "threads": 2, "lease": "5s", "grace": "1s"}}
    )
    engine = here.start()
    with here.open() as installation:
        pids = until(
            lambda: p if len(p := [w.pid for w in installation.ledger.workers.all()]) == 2 else None,
            "two workers",
        )
        engine.kill()
        engine.wait()
        until(lambda: not any(process_start(pid) for pid in pids), "the children's end")


def test_several_processes_end_when_idle(place: Places, hook: dict[str, Any], receiver: Receiver) -> None:
    here = place(hook=hook)
    with here.open() as installation:
        for number in range(20):
            installation.submitter().submit(b"photo", to=["hook"], filename=f"{number}.jpg")
    assert here.start("--processes", "2", "--until-idle").wait(60) == 0
    assert len(receiver.received) == 20
