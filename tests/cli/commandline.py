"""Runs the real command line in processes of their own."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from conveyor.cli.verbs import FILES
from conveyor.testing.nursery import Nursery

PATIENCE = 60.0
"""Seconds after which a command counts as hanging."""

USED = (
    *("cli.app", "cli.serving", "installation", "submission", "status.views", "status.overview"),
    *("ledger.facade", "config.loader", "config.model", "config.sources", "plugins"),
    *("delivery.engine", "delivery.broker", "delivery.pulse", "delivery.runner", "delivery.supervisor"),
    *(f"cli.verbs.{name}" for name in sorted(set(FILES.values()))),
)
"""What most commands import."""

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


def obey(order: dict[str, Any]) -> None:
    """What a forked process does: the command, as if it had been started with these words."""
    if order["leads"]:
        os.setsid()
    sys.argv = ["conveyor", *order["words"]]
    sys.stderr.reconfigure(line_buffering=True)  # as a program's is
    exec(order["before"], {})
    from conveyor.cli import main

    main()


@cache
def _nursery() -> Nursery:
    nursery = Nursery(__name__, "structlog", "pydantic", *(f"conveyor.{name}" for name in USED))
    atexit.register(nursery.close)
    return nursery


class Forked:
    """A command in a process that has imported what it needs; asked as one that ``subprocess`` has started.

    Args:
        words: After ``conveyor``.
        before: Python that the process executes first.
        leads: Whether it has a process group of its own.
        files: What :meth:`Nursery.fork` takes besides.
    """

    def __init__(self, words: Sequence[str], *, before: str = "", leads: bool = False, **files: Any) -> None:
        self.args = ["conveyor", *words]
        self.returncode: int | None = None
        order = {"words": words, "before": before, "leads": leads}
        self.pid = _nursery().fork("cli.commandline:obey", order, **files)
        self._end = os.pidfd_open(self.pid)
        while leads and os.getpgid(self.pid) != self.pid and self.poll() is None:
            time.sleep(0.001)  # or a signal to the group would find none

    def poll(self) -> int | None:
        """Its exit code, when it has ended."""
        return self._await(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; the exit code."""
        code = self._await(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def _await(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._end], [], [], timeout)[0]:
            self.returncode = os.waitstatus_to_exitcode(_nursery().wait(self.pid))
            os.close(self._end)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def forked(
    words: Sequence[str], before: str, stdin: str, folder: Path, environment: Mapping[str, str]
) -> Ended:
    """Run a command to its end in a process that has imported what it needs."""
    with tempfile.TemporaryDirectory(prefix="conveyor-command-") as scratch:
        out, errors, read = (Path(scratch) / name for name in ("out", "errors", "stdin"))
        read.write_text(stdin)
        process = Forked(
            words,
            before=before,
            out=out,
            errors=errors,
            stdin=read,
            folder=folder,
            environment=environment,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        process.kill()
        code = process.wait()
        said = Ended(code, out.read_text(), errors.read_text())
    assert code != -signal.SIGKILL, f"conveyor {' '.join(words)} does not end: {said}"
    return said


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
        ended = forked(words, before, stdin, self.folder, self.environment)
        assert "Traceback" not in ended.err, ended.err
        return ended

    @contextmanager
    def started(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """A command that runs meanwhile; killed at the end if it still does."""
        with subprocess.Popen(
            [sys.executable, "-m", "conveyor", *words],
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
