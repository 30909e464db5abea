"""Real engine processes on a config in a folder, and what the tests ask them.

Most are forked from a process that has imported the program, since importing takes longer than they do.
The program itself is started by ``test_demo.py``, ``test_prove.py``, ``tests/engine``, the documentation's
snippets and the tests of what is shipped.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cli.commandline import Forked, forked

from conveyor.installation import Installation

PATIENCE = 60.0
"""Seconds that a test waits for a condition before it fails; generous, for slow machines."""


def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Wait for a condition; returns its first true value."""
    end = time.monotonic() + patience
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {patience:g} s: {what}")
        time.sleep(0.02)
    return value


class Place:
    """A folder with a config, and engines started on it."""

    def __init__(self, folder: Path, destinations: Mapping[str, Any], **settings: Any) -> None:
        self.folder = folder
        self.path = folder / "conveyor.yaml"
        self.engines: list[subprocess.Popen[bytes] | Forked] = []
        self.configure(destinations, **settings)

    def configure(self, destinations: Mapping[str, Any], **settings: Any) -> None:
        """Write the config (JSON is YAML)."""
        document = {
            "network": {"allow_private": ["127.0.0.0/8"]},
            "workers": {"threads": 8, "lease": "5s", "grace": "5s"},
            **settings,
            "destinations": dict(destinations),
        }
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(document, indent=1))
        part.replace(self.path)

    def start(self, *options: str, log: str = "engine.log") -> subprocess.Popen[bytes] | Forked:
        """Start ``conveyor run``."""
        return self.launch("conveyor", "run", *options, log=log)

    def launch(
        self,
        module: str,
        *words: str,
        log: str = "engine.log",
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes] | Forked:
        """Start a verb on this config, or another module, which finds it in its environment.

        What is added to the environment may concern the interpreter, so that one is started.
        """
        own_environment = {"CONVEYOR_LOG_LEVEL": "info", "CONVEYOR_CONFIG": str(self.path)}
        own = ["--config", str(self.path)] if module == "conveyor" else []
        if module == "conveyor" and environment is None:
            out, variables = self.folder / log, {**os.environ, **own_environment}
            files = {"out": out, "errors": out, "folder": self.folder, "environment": variables}
            self.engines.append(Forked([*own, *words], leads=True, **files))
            return self.engines[-1]
        with (self.folder / log).open("ab") as out:
            engine = subprocess.Popen(
                [sys.executable, "-m", module, *own, *words],
                stdout=out,
                stderr=out,
                cwd=self.folder,
                start_new_session=True,
                env={**os.environ, **own_environment, **(environment or {})},
            )
        self.engines.append(engine)
        return engine

    def cli(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end."""
        command = ["--config", str(self.path), *words]
        ended = forked(command, "", "", self.folder, os.environ)
        if check and ended.code:
            raise AssertionError(f"conveyor {' '.join(words)} → {ended.code}\n{ended.out}\n{ended.err}")
        return subprocess.CompletedProcess(command, ended.code, ended.out, ended.err)

    @contextmanager
    def open(self) -> Iterator[Installation]:
        """The installation, from this process."""
        installation = Installation.open(self.path)
        try:
            yield installation
        finally:
            installation.close()

    def log(self) -> str:
        """What the engines have said."""
        return (self.folder / "engine.log").read_text(errors="replace")

    def stop(self) -> None:
        """End all engines, at once."""
        for engine in self.engines:
            if engine.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(engine.pid, signal.SIGKILL)
        for engine in self.engines:
            # Not for ever: Ctrl-C within `poll` may have left the lock taken that Python's own `wait` needs.
            with suppress(subprocess.TimeoutExpired):
                engine.wait(5)
