"""The processes of a proof: two that deliver and, where a broker rings, two dispatchers beside them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from servers.process import python_path

from conveyor.delivery.identity import serving
from conveyor.installation import Installation
from e2e.campaign import ENGINES
from e2e.kit import Place, until

TESTS = Path(__file__).resolve().parents[1]
SITE = TESTS / "e2e" / "engine_site"
START = 180.0
"""Seconds that all processes have to start: on a machine with other work it takes long."""


@dataclass
class Post:
    """One process, started again whenever it was killed.

    Attributes:
        words: The verb and its options.
        clock: Seconds that its clock is ahead.
        plant: The bug in it, a name of :data:`e2e.plants.PLANTS`.
        environment: What else is its own.
    """

    words: Sequence[str]
    clock: float = 0.0
    plant: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    def variables(self) -> dict[str, str]:
        """What is added to its environment, and to that of processes that it starts."""
        site = {"PYTHONPATH": python_path(SITE, TESTS)}
        return {**site, "PROVE_CLOCK": str(self.clock), "PROVE_PLANT": self.plant, **self.environment}

    def start(self, place: Place, log: str) -> subprocess.Popen[bytes]:
        """Start it."""
        return place.launch("conveyor", *self.words, log=log, environment=self.variables())


class Crew:
    """All of them. The first ``ENGINES`` deliver; what is left are dispatchers."""

    def __init__(self, place: Place, posts: Sequence[Post]) -> None:
        self.place, self.posts = place, posts
        self._starts = 0
        self._logs = [""] * len(posts)
        self.processes = [self._start(number) for number in range(len(posts))]

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        self._starts += 1
        self._logs[number] = f"engine-{number}-{self._starts}.log"
        return self.posts[number].start(self.place, self._logs[number])

    def kill(self, number: int) -> None:
        """SIGKILL, and another one in its place."""
        os.killpg(self.processes[number].pid, signal.SIGKILL)
        self.processes[number].wait()
        self.processes[number] = self._start(number)

    def revive(self) -> int:
        """Start those again that have ended by themselves, as a supervisor does; how many.

        A verb ends with an error when its ledger cannot be reached at the start.
        """
        ended = [number for number, process in enumerate(self.processes) if process.poll() is not None]
        for number in ended:
            self.processes[number] = self._start(number)
        return len(ended)

    def freeze(self, number: int) -> None:
        """SIGSTOP."""
        os.killpg(self.processes[number].pid, signal.SIGSTOP)

    def thaw(self, number: int) -> None:
        """SIGCONT, to whoever is there by now."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.processes[number].pid, signal.SIGCONT)

    def said(self, number: int) -> str:
        """What the present process of a post has said."""
        return (self.place.folder / self._logs[number]).read_text(errors="replace")

    def wait_ready(self, installation: Installation) -> None:
        """Wait until each is far enough to deliver, or to ring, and to take SIGTERM as an order."""

        def ready() -> bool:
            self.revive()
            known = {worker.pid for worker in serving(installation.ledger.workers.all(), 0)}
            engines = {process.pid for process in self.processes[:ENGINES]}
            ringing = all("dispatching" in self.said(n) for n in range(ENGINES, len(self.posts)))
            return known >= engines and ringing

        until(ready, "the processes know their ledger", START)

    def stop(self, installation: Installation) -> None:
        """End all in good order."""
        self.wait_ready(installation)
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for number, process in enumerate(self.processes):
            assert process.wait(30) == 0, self.said(number)[-3000:]
