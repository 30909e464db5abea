"""The command line inside the test's process, over a ledger that a simulation fills, on its clock."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from cli.commandline import Ended
from typer.main import get_command

from conveyor.cli.app import run
from conveyor.config import load
from conveyor.testing.scripted import Script, forget_scripts, script
from conveyor.testing.simulation import Simulation, destination

CONFIG = """\
network: {allow_private: [127.0.0.0/8]}
destinations:
  backend: {type: webhook, name: Our backend, url: "http://127.0.0.1:9/photos", labels: {customer: acme}}
  partner:
    type: sftp
    host: files.partner.example
    username: photos
    password: not-to-be-shown
    host_key: accept-new
    labels: {customer: bolt}
"""


made = functools.cache(get_command)


class OperatorLine:
    """A folder with a config whose destinations the simulation serves, and the command ``conveyor`` in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "conveyor.yaml").write_text(CONFIG)
        configured = load(folder / "conveyor.yaml").source.list()
        self.simulation = Simulation(
            folder,
            *(destination(each.id, labels=each.labels, revision=each.revision) for each in configured),
            ledger=f"sqlite:///{folder / 'conveyor.db'}",
        )
        os.link(folder / "key", folder / "conveyor.key")

    def script(self, name: str) -> Script:
        """What the destination does next."""
        return script(name)

    def __call__(self, *arguments: str) -> Ended:
        """Run a verb; the exit code and what it said."""
        out, err, code = io.StringIO(), io.StringIO(), 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                sys.argv = ["conveyor", "--config", str(self.folder / "conveyor.yaml"), *arguments]
                run()
            except SystemExit as end:
                code = int(end.code or 0)
        return Ended(code, out.getvalue(), err.getvalue())

    def json(self, *arguments: str) -> Any:
        """What a verb that succeeds says to programs."""
        ended = self(*arguments, "--json")
        assert ended.code == 0, ended.err
        return json.loads(ended.out)


@contextlib.contextmanager
def operator_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OperatorLine]:
    """A fresh one; whatever it set in this process is set back."""
    forget_scripts()
    handlers, level = logging.root.handlers[:], logging.root.level
    line = OperatorLine(folder)
    monkeypatch.setattr("conveyor.installation.SystemClock", lambda: line.simulation.clock)
    monkeypatch.setattr(sys, "argv", sys.argv)
    # The verbs are made once: that takes longer than most of them run.
    monkeypatch.setattr("typer.main.get_command", made)
    try:
        yield line
    finally:
        line.simulation.close()
        structlog.reset_defaults()
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
