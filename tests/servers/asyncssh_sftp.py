"""An SFTP server on asyncssh (wheel: asyncssh), which can be made to lack what OpenSSH has.

It lets in by password and by key, shows only its folder, and without ``posix_rename`` it answers that
extension with "unsupported", as many partners' servers do.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conveyor.testing.ports import LOOPBACK, free_port
from servers.process import ATTEMPTS, NotReady, folder, listening, running
from servers.ssh import PASSWORD, SshServer, make_keys

PACKAGE = "asyncssh"
USERNAME = "conveyor"
SCRIPT = Path(__file__).with_name("asyncssh_script.py")


def available() -> bool:
    return importlib.util.find_spec("asyncssh") is not None


@contextmanager
def start(*, posix_rename: bool = True) -> Iterator[SshServer]:
    with folder("asyncssh") as home:
        root = home / "data"
        root.mkdir()
        keys = make_keys(home)
        for attempt in range(ATTEMPTS):
            server = SshServer(
                "asyncssh", LOOPBACK, free_port(), USERNAME, root, keys, base="", password=PASSWORD
            )
            argv = [
                sys.executable,
                str(SCRIPT),
                str(home),
                str(server.port),
                PASSWORD,
                str(int(posix_rename)),
            ]
            try:
                with running(argv, log=home / "log", ready=listening(server.port)):
                    yield server
                    return
            except NotReady:
                if attempt == ATTEMPTS - 1:
                    raise
