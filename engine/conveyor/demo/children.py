"""Servers in processes of their own, which end when the demo does, however it ends."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conveyor.delivery.supervisor import end_with_parent
from conveyor.errors import ConveyorError

PATIENCE = 25.0
"""Seconds that a server may take until it listens."""


class Child:
    """A server process: ``python -m MODULE PARENT ARGUMENTS…``. Start it from the main thread.

    Args:
        module: A module whose program calls :func:`announce` once it listens.
        arguments: For the program, after the process id of its parent.
        log: Takes what it writes to standard error.
    """

    def __init__(self, module: str, *arguments: str, log: Path) -> None:
        self._module = module
        self._log = log
        with log.open("wb") as errors:
            # A session of its own: Ctrl-C reaches the demo alone, which then ends its servers in order.
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(os.getpid()), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                env={**os.environ, "TMPDIR": str(log.parent)},
            )

    def ready(self, check: Callable[[], None]) -> dict[str, Any]:
        """Wait until it listens; returns what it announced.

        Args:
            check: Called again and again; raises to stop waiting.

        Raises:
            ConveyorError: It ended, or took too long.
        """
        pipe = self._process.stdout
        assert pipe is not None
        end = time.monotonic() + PATIENCE
        while not select.select([pipe], [], [], 0.05)[0]:
            check()
            if time.monotonic() > end:
                raise ConveyorError(f"{self._module} does not answer after {PATIENCE:g} s")
        line = pipe.readline()
        if not line:
            tail = self._log.read_text(errors="replace").strip().splitlines()[-1:]
            raise ConveyorError(f"{self._module} did not start: {''.join(tail)}")
        announced: dict[str, Any] = json.loads(line)
        return announced

    def stop(self) -> None:
        """End it and wait until it has ended."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def begin(parent: int) -> None:
    """In the child, first of all: end with the parent, also when it has gone already."""
    end_with_parent(parent)


def announce(**facts: object) -> None:
    """In the child: tell the parent that the server listens, and where."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()
