"""Runs the real command line in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE = 60.0
"""Seconds after which a command counts as hanging."""

WEBHOOK = """\
network: {{allow_private: [127.0.0.0/8]}}
default_destinations: [backend]
{settings}
destinations:
  backend:
    type: webhook
    url: {url}
{more}
"""


@dataclass(frozen=True)
class Ended:
    """What a command left: its exit code and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class CommandLine:
    """A folder with a config, and the command ``conveyor`` in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("CONVEYOR_")
        }

    def config(self, url: str, *, settings: str = "", more: str = "") -> None:
        """Write a config with the webhook ``backend`` as default; ``more`` continues its options."""
        (self.folder / "conveyor.yaml").write_text(WEBHOOK.format(url=url, settings=settings, more=more))

    def file(self, name: str, data: bytes = b"a photo\n") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def run(self, *words: str, before: str = "", stdin: str = "") -> Ended:
        """Run a command to its end.

        Args:
            words: After ``conveyor``.
            before: Python that the process executes first.
            stdin: What it may read.
        """
        done = subprocess.run(
            self._argv(words, before),
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Ended(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def started(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """A command that runs meanwhile; killed at the end if it still does."""
        with subprocess.Popen(
            self._argv(words, ""),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def _argv(self, words: Sequence[str], before: str) -> list[str]:
        if not before:
            return [sys.executable, "-m", "conveyor", *words]
        return [sys.executable, "-c", f"{before}\nfrom conveyor.cli import main\nmain()", *words]

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What the ledger holds, asked by another route."""
        path = self.folder / "conveyor.db"
        if not path.exists():
            return []
        with sqlite3.connect(path) as connection:
            return connection.execute(statement).fetchall()

    def execute(self, statement: str) -> None:
        with sqlite3.connect(self.folder / "conveyor.db") as connection:
            connection.execute(statement)

    def outgrow(self) -> None:
        """Make the ledger one of a version that this program cannot use: 9999."""
        self.execute("UPDATE alembic_version SET version_num = '9999'")
        self.execute("UPDATE meta SET value = '9999' WHERE key = 'oldest_program'")

    def payloads(self) -> list[Path]:
        """All files in the payload store, temporary ones included."""
        marker = ".conveyor-payloads"  # says whose folder it is
        return [p for p in (self.folder / "payloads").rglob("*") if p.is_file() and p.name != marker]


def interrupt(process: subprocess.Popen[str]) -> Ended:
    """Press Ctrl-C and wait for the end."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in err, err
    return Ended(process.returncode, out, err)
