"""A throw-away PostgreSQL on a free loopback port, for as long as a ``with`` block lasts.

Started as the user ``postgres`` when the tests run as root, which the server refuses to be, otherwise as
whoever runs them. It ends with the test process, even a killed one.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGE = "postgresql"
USER = "conveyor"
PASSWORD = "pg-test-secret"
_PR_SET_PDEATHSIG = 1


TEMPLATE = "ledger_template"
"""A database with the ledger's tables, to copy."""

_numbers = itertools.count(1)


@dataclass
class Postgres:
    """A server that can be stopped and started again with its data."""

    host: str
    port: int
    launch: Callable[[], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, with the data of last time."""
        self.process = self.launch()

    def stop(self, sign: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT cuts all sessions in order (fast shutdown), SIGQUIT is a crash."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(sign)
            process.wait(30)

    def url(self, database: str = "postgres") -> str:
        """SQLAlchemy's URL of one of its databases."""
        return f"postgresql+psycopg://{USER}:{PASSWORD}@{self.host}:{self.port}/{database}"

    def execute(self, statement: str) -> None:
        """Run one statement outside a transaction, as ``CREATE DATABASE`` wants it."""
        with _connect(self.port) as connection:
            connection.autocommit = True
            connection.execute(statement)

    @contextmanager
    def ledger(self) -> Iterator[str]:
        """A fresh database with the ledger's tables; its URL."""
        name = f"ledger_{os.getpid()}_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        yield self.url(name)
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")


def make_template(server: Postgres) -> None:
    """The database of the ledger's tables that :meth:`Postgres.ledger` copies."""
    from conveyor.ledger import migrate

    server.execute(f"CREATE DATABASE {TEMPLATE}")
    migrate(server.url(TEMPLATE))


def binaries() -> Path | None:
    """The folder with ``initdb`` and ``postgres``, of the newest version installed, or None."""
    found = shutil.which("initdb")
    if found and shutil.which("postgres"):
        return Path(found).parent
    versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    return max(versions, key=lambda path: int(path.parent.name), default=None)


@contextmanager
def start(*, durable: bool = False) -> Iterator[Postgres]:
    """Run a server; its data is gone afterwards. Raises FileNotFoundError without PostgreSQL.

    ``durable``: it waits for the disk, as a server of real life does.
    """
    folder = binaries()
    if folder is None:
        raise FileNotFoundError(f"PostgreSQL is not installed: apt-get install {PACKAGE}")
    home = Path(tempfile.mkdtemp(prefix="conveyor-pg-"))
    try:
        user = _owner(home)
        _initialise(folder, home, user)
        port = _free_port()

        def launch() -> subprocess.Popen[bytes]:
            process = _launch(folder, home, port, user, durable)
            _wait(process, port, home)
            return process

        server = Postgres("127.0.0.1", port, launch)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _owner(home: Path) -> dict[str, object]:
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam("postgres")
    os.chown(home, account.pw_uid, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _initialise(folder: Path, home: Path, user: dict[str, object]) -> None:
    secret = home / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)  # the folder above it is private
    command = [folder / "initdb", "-D", home / "data", "-U", USER, "-A", "scram-sha-256"]
    command += ["--pwfile", secret, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False, **user)  # type: ignore[call-overload]
    if done.returncode:
        raise RuntimeError(f"initdb failed: {done.stdout}{done.stderr}")


def _launch(
    folder: Path, home: Path, port: int, user: dict[str, object], durable: bool
) -> subprocess.Popen[bytes]:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": home,
        "fsync": "on" if durable else "off",
        "max_connections": 200,
        "logging_collector": "off",
    }
    command: list[object] = [folder / "postgres", "-D", home / "data"]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    with (home / "log").open("wb") as log:
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            command,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=_die_with_us(),
            **user,
        )


def _die_with_us() -> Callable[[], None]:
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _connect(port: int) -> Any:
    import psycopg

    return psycopg.connect(
        host="127.0.0.1", port=port, user=USER, password=PASSWORD, dbname="postgres", connect_timeout=2
    )


def _wait(process: subprocess.Popen[bytes], port: int, home: Path, seconds: float = 30) -> None:
    import psycopg

    end = time.monotonic() + seconds
    while True:
        try:
            psycopg.connect(
                host="127.0.0.1",
                port=port,
                user=USER,
                password=PASSWORD,
                dbname="postgres",
                connect_timeout=2,
            ).close()
            return
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"PostgreSQL did not start: {(home / 'log').read_text()}") from None
            time.sleep(0.05)
