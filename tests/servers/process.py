"""Starts a server process that cannot outlive the tests."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from conveyor.testing.ports import listens, wait_until

# Run first in the new process: become the wanted user, ask the kernel to die with the parent, become the
# server. prctl's option 1 is PR_SET_PDEATHSIG, which a change of user clears (prctl(2)); the parent may have
# died before. The user is changed here, not by Popen: the user nobody may be unable to read this interpreter.
LAUNCH = (
    "import ctypes, os, sys\n"
    "parent, uid, gid = map(int, sys.argv[1:4])\n"
    "if uid != os.geteuid():\n"
    "    os.setgroups([]); os.setgid(gid); os.setuid(uid)\n"
    "ctypes.CDLL(None).prctl(1, 9)\n"
    "os.getppid() == parent or os._exit(1)\n"
    "os.execv(sys.argv[4], sys.argv[4:])\n"
)
ATTEMPTS = 3


class NotReady(Exception):
    """The server ended or did not listen in time; the message holds the end of its log."""


def python_path(*folders: Path) -> str:
    """These folders before what PYTHONPATH says already."""
    return os.pathsep.join(filter(None, (*map(str, folders), os.environ.get("PYTHONPATH"))))


def program(name: str) -> str | None:
    """A program of this virtual environment or of the system."""
    places = (str(Path(sys.executable).parent), "/usr/sbin", "/sbin", os.environ.get("PATH", ""))
    return shutil.which(name, path=os.pathsep.join(places))


@contextmanager
def folder(prefix: str, *, mode: int = 0o755) -> Iterator[Path]:
    """A temporary folder that another user may enter too, removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix=f"conveyor-{prefix}-"))
    path.chmod(mode)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def running(
    argv: Sequence[str],
    *,
    log: Path,
    ready: Callable[[], object],
    env: Mapping[str, str] | None = None,
    user: str | None = None,
    seconds: float = 60.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """The server process, once ``ready`` is true; ended afterwards, with its whole group."""
    owner = pwd.getpwuid(os.geteuid()) if user is None else pwd.getpwnam(user)
    launch = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        LAUNCH,
        str(os.getpid()),
        str(owner.pw_uid),
        str(owner.pw_gid),
    ]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*launch, program(argv[0]) or argv[0], *argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(env or {})},
            start_new_session=True,
            cwd="/",
        )
    try:
        _wait(process, ready, log, seconds)
        yield process
    finally:
        _end(process)


def _wait(process: subprocess.Popen[bytes], ready: Callable[[], object], log: Path, seconds: float) -> None:
    try:
        wait_until(lambda: process.poll() is not None or ready(), seconds, "the server")
    except TimeoutError:
        raise NotReady(f"not ready after {seconds:g} s: {_tail(log)}") from None
    if process.poll() is not None:
        raise NotReady(f"it ended with {process.returncode}: {_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-1500:]


def _end(process: subprocess.Popen[bytes]) -> None:
    for sign, seconds in ((signal.SIGTERM, 3), (signal.SIGKILL, 10)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return


def listening(port: int) -> Callable[[], bool]:
    """A ``ready`` for servers that serve once they listen."""
    return lambda: listens(port)
