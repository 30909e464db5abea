"""An FTP server in a thread of the tests, on pyftpdlib, made as odd as a test wants."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conveyor.testing.ports import LOOPBACK
from servers.ftp import FtpServer
from servers.pyftpdlib_server import PASSWORD


@contextmanager
def start(root: Path, *, without: tuple[str, ...] = (), **changes: Any) -> Iterator[FtpServer]:
    """A plain server of ``root``.

    Args:
        root: Its folder.
        without: Commands that it does not know.
        changes: Attributes and methods of its handler; ``most`` limits its connections.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of asyncore, on which pyftpdlib stands
        from pyftpdlib.authorizers import DummyAuthorizer
        from pyftpdlib.handlers import FTPHandler
        from pyftpdlib.ioloop import IOLoop
        from pyftpdlib.servers import FTPServer

    authorizer = DummyAuthorizer()
    authorizer.add_user("conveyor", PASSWORD, str(root), perm="elradfmwMT")
    most = changes.pop("most", 512)
    commands = {
        name: how
        for name, how in {**FTPHandler.proto_cmds, **changes.pop("commands", {})}.items()
        if name not in without
    }
    fields = {"authorizer": authorizer, "proto_cmds": commands, "auth_failed_timeout": 0.05, **changes}
    handler = type("Scripted", (FTPHandler,), fields)
    loop = IOLoop()
    server = FTPServer((LOOPBACK, 0), handler, ioloop=loop)
    server.max_cons = most
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            loop.loop(timeout=0.02, blocking=False)
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield FtpServer("scripted", LOOPBACK, server.address[1], "conveyor", PASSWORD, root)
    finally:
        stop.set()
        thread.join(10)


def takes_a_path(permission: str | None = "l") -> dict[str, Any]:
    """The entry in pyftpdlib's table of a command with a path."""
    return {"perm": permission, "auth": True, "arg": True, "help": "Syntax: X <SP> path"}
