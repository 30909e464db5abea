"""Which process this is, and whether another one of this machine still lives."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


@cache
def machine() -> tuple[str, str, str]:
    """Host, boot id and pid namespace of this process."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return socket.gethostname(), _read("/proc/sys/kernel/random/boot_id"), namespace


def process_start(pid: int) -> str | None:
    """When a process began, in the kernel's ticks (proc(5), field 22); None when it is gone or a zombie."""
    text = _read(f"/proc/{pid}/stat")
    if not text:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else fields[19]


def is_gone(where: tuple[str, str, str], pid: int, start: str) -> bool:
    """Whether a process is certainly dead: it ran under this very kernel and is no more.

    A process of another boot, host or pid namespace cannot be judged from here.

    Args:
        where: Its :func:`machine`.
        pid: Its number.
        start: Its :func:`process_start`.
    """
    if not where[1] or where != machine():
        return False
    if not _exists(pid):
        return True
    if not _read(f"/proc/{pid}/stat"):
        # There is a process, but of another user whose processes are hidden here (hidepid, ProtectProc).
        return not _exists(pid)
    return process_start(pid) != start


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


_SEPARATOR = "|"


def signature(part: str = "") -> str:
    """This process in one word, for a lease in the ledger; ``part`` tells apart who in it holds the lease."""
    pid = os.getpid()
    return _SEPARATOR.join((*machine(), str(pid), process_start(pid) or "", part))


def has_left(signature: str) -> bool:
    """Whether the process of a :func:`signature` is certainly dead."""
    host, boot, namespace, pid, start, _ = signature.split(_SEPARATOR, 5)
    return is_gone((host, boot, namespace), int(pid), start)
