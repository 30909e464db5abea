"""pyftpdlib (wheels: pyftpdlib, pyopenssl): plain, with explicit and with implicit TLS."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conveyor.testing.ports import LOOPBACK, free_port
from servers.ftp import FtpServer
from servers.process import ATTEMPTS, NotReady, folder, listening, running
from servers.tls import make_certificates

PACKAGE = "pyftpdlib"
PASSWORD = "conveyor-test-password"
SCRIPT = Path(__file__).with_name("pyftpdlib_script.py")
READER = "reader"
"""A second login, which may not write."""


def available() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("pyftpdlib", "OpenSSL"))


@contextmanager
def start(*, tls: bool = False, implicit: bool = False) -> Iterator[FtpServer]:
    with folder("pyftpdlib") as home:
        root = home / "data"
        root.mkdir()
        certificates = make_certificates(home) if tls or implicit else None
        both = home / "both.pem"
        if certificates is not None:
            both.write_bytes(certificates.certificate.read_bytes() + certificates.key.read_bytes())
        for attempt in range(ATTEMPTS):
            server = FtpServer(
                "pyftpdlib",
                LOOPBACK,
                free_port(),
                "conveyor",
                PASSWORD,
                root,
                certificates,
                implicit=implicit,
            )
            argv = [sys.executable, str(SCRIPT), str(home), str(server.port), PASSWORD]
            argv += [str(both) if certificates else "-", str(int(implicit))]
            try:
                with running(argv, log=home / "log", ready=listening(server.port)):
                    yield server
                    return
            except NotReady:
                if attempt == ATTEMPTS - 1:
                    raise
