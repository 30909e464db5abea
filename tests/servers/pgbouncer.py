"""PgBouncer (Debian: pgbouncer) in transaction mode before a PostgreSQL of the tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from conveyor.testing.ports import LOOPBACK, free_port, listens
from servers.postgres import PASSWORD, USER, Postgres
from servers.process import ATTEMPTS, NotReady, folder, program, running

PACKAGE = "pgbouncer"


@dataclass(frozen=True)
class Bouncer:
    """A running pooler."""

    port: int
    host: str = LOOPBACK

    def url(self, database: str) -> str:
        """SQLAlchemy's URL of a database, through the pooler."""
        return f"postgresql+psycopg://{USER}:{PASSWORD}@{self.host}:{self.port}/{database}"


def available() -> bool:
    return program("pgbouncer") is not None


@contextmanager
def start(server: Postgres) -> Iterator[Bouncer]:
    """Pool connections to ``server``, few of them, each given away anew for every transaction."""
    with folder("pgbouncer") as home:
        for attempt in range(ATTEMPTS):
            bouncer = Bouncer(free_port())
            users = home / "users.txt"
            users.write_text(f'"{USER}" "{PASSWORD}"\n')
            config = home / "pgbouncer.ini"
            config.write_text(
                f"[databases]\n* = host={server.host} port={server.port}\n"
                f"[pgbouncer]\nlisten_addr = {bouncer.host}\nlisten_port = {bouncer.port}\n"
                f"unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {users}\n"
                "pool_mode = transaction\ndefault_pool_size = 8\nmax_client_conn = 200\n"
                "server_login_retry = 1\nquery_wait_timeout = 5\n"
            )
            user = None
            if os.geteuid() == 0:
                user = "postgres"
                for path in (home, users, config):
                    shutil.chown(path, user, user)
            try:
                with running(
                    ["pgbouncer", str(config)],
                    log=home / "log",
                    ready=lambda: listens(bouncer.port),  # noqa: B023
                    user=user,
                ):
                    yield bouncer
                    return
            except NotReady:
                if attempt == ATTEMPTS - 1:
                    raise
