"""Processes forked from one that has imported what they need: a library takes longer to import than to run.

``python -m conveyor.testing.nursery PATH MODULE…`` imports the modules once. For each order, a line of JSON,
it forks a process that makes one call, and answers with its process id; for ``{"wait": PID}`` it answers with
that process's status.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn


class Nursery:
    """The process that others are forked from. Any thread may use it.

    Args:
        modules: What it imports first.
    """

    def __init__(self, *modules: str) -> None:
        self._lock = threading.Lock()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 -- closed with the process
        path = json.dumps([entry for entry in sys.path if entry])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "conveyor.testing.nursery", path, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def fork(
        self,
        call: str,
        argument: Any,
        *,
        out: Path,
        errors: Path,
        stdin: Path | None = None,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> int:
        """Fork a process; returns its id. It ends as a program does, and dies with the nursery.

        Args:
            call: What it calls, ``module:function``.
            argument: With what; JSON.
            out, errors: Files that its output goes into.
            stdin: A file that it may read.
            folder: Its working folder, by default this process's.
            environment: Its environment variables, by default this process's.
        """
        return self._ask(
            {
                "call": call,
                "argument": argument,
                "files": [str(stdin or os.devnull), str(out), str(errors)],
                "folder": str(folder or Path.cwd()),
                "environment": dict(os.environ if environment is None else environment),
            }
        )

    def wait(self, pid: int) -> int:
        """Wait for the end of a process; returns its status, as :func:`os.waitpid` does."""
        return self._ask({"wait": pid})

    def close(self) -> None:
        """End it, and what was forked with it."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _ask(self, what: Mapping[str, Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            try:
                self._process.stdin.write(json.dumps(what) + "\n")
                self._process.stdin.flush()
            except BrokenPipeError:
                answer = ""
            else:
                answer = self._process.stdout.readline()
        if not answer:
            self._errors.seek(0)
            raise AssertionError(f"no process can be forked: {self._errors.read()[-3000:].decode()}")
        return int(answer)


def _die_with_parent() -> None:
    """A frozen worker must not outlive killed tests: prctl(2)'s PR_SET_PDEATHSIG, Linux alone."""
    import ctypes

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _become(order: Mapping[str, Any]) -> None:
    """Turn the process just forked into one that was started with these files, folder and environment."""
    _die_with_parent()
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    asked = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [entry for entry in asked if entry and entry not in sys.path]
    for number, name in enumerate(order["files"]):
        how = os.O_WRONLY | os.O_CREAT | os.O_APPEND if number else os.O_RDONLY
        opened = os.open(name, how, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 -- the process's own
        for number, mode in enumerate("rww")
    )


def _carry_out(order: Mapping[str, Any]) -> int:
    """Make the call; returns the exit code, as Python finds it."""
    try:
        _become(order)
        module, _, name = order["call"].partition(":")
        getattr(importlib.import_module(module), name)(order["argument"])
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        sys.stderr.write(f"{end.code}\n")
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _end(code: int) -> NoReturn:
    """End as a program does, but leave what was imported standing: that would cost more than most calls."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    """Fork processes, and wait for them, as told."""
    _die_with_parent()
    sys.path[:0] = [entry for entry in json.loads(sys.argv[1]) if entry not in sys.path]
    for name in sys.argv[2:]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    while line := sys.stdin.readline():
        order = json.loads(line)
        if "wait" in order:
            answer = os.waitpid(order["wait"], 0)[1]
        elif (answer := os.fork()) == 0:
            _end(_carry_out(order))
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
