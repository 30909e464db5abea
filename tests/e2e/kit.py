"""Real engine processes on a config in a folder, and what the tests ask them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
        self.engines: list[subprocess.Popen[bytes]] = []
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

    def start(self, *options: str, log: str = "engine.log") -> subprocess.Popen[bytes]:
        """Start ``conveyor run``."""
        return self.launch("conveyor", "run", *options, log=log)

    def launch(
        self,
        module: str,
        *words: str,
        log: str = "engine.log",
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a verb on this config, or another module, which finds it in its environment."""
        own_environment = {"CONVEYOR_LOG_LEVEL": "info", "CONVEYOR_CONFIG": str(self.path)}
        own = ["--config", str(self.path)] if module == "conveyor" else []
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
        done = subprocess.run(
            [sys.executable, "-m", "conveyor", "--config", str(self.path), *words],
            capture_output=True,
            text=True,
            cwd=self.folder,
            timeout=PATIENCE,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(
                f"conveyor {' '.join(words)} → {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done

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
                os.killpg(engine.pid, signal.SIGKILL)
            engine.wait()
