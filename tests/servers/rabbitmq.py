"""RabbitMQ (Debian: rabbitmq-server), plain and TLS.

It has an epmd of its own so that nothing listens beyond loopback.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from conveyor.testing.ports import LOOPBACK, free_port, listens
from servers.process import ATTEMPTS, NotReady, folder, running
from servers.tls import make_certificates

PACKAGE = "rabbitmq-server"
SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
USER, PASSWORD = "conveyor", "rabbit-test-secret"
SECONDS = 180.0
"""A slow machine takes its time to start Erlang."""


class RabbitServer:
    """A server that can be stopped and started again with what its durable queues hold."""

    def __init__(self, home: Path) -> None:
        self.host = LOOPBACK
        self._home = home
        self.port, self._between, self._epmd = free_port(), free_port(), free_port()
        self.tls_port, self.certificates = free_port(), make_certificates(home)
        self._running = ExitStack()

    @property
    def url(self) -> str:
        return f"amqp://{USER}:{PASSWORD}@{self.host}:{self.port}/%2F"

    @property
    def tls_url(self) -> str:
        return f"amqps://{USER}:{PASSWORD}@{self.host}:{self.tls_port}/%2F"

    def start(self) -> None:
        """Start it, with the data of last time."""
        config, made = self._home / "rabbitmq.conf", self.certificates
        config.write_text(
            f"listeners.tcp.local = {self.host}:{self.port}\n"
            f"listeners.ssl.local = {self.host}:{self.tls_port}\n"
            f"ssl_options.cacertfile = {made.ca}\nssl_options.certfile = {made.certificate}\n"
            f"ssl_options.keyfile = {made.key}\nssl_options.verify = verify_none\n"
            f"default_user = {USER}\ndefault_pass = {PASSWORD}\nloopback_users = none\n"
            "log.console = true\nlog.file = false\nvm_memory_high_watermark.relative = 0.8\n"
            "disk_free_limit.absolute = 50MB\n"
        )
        (self._home / "plugins").write_text("[].")
        user = _own(self._home)
        self._running.callback(self._end_epmd)
        self._running.enter_context(
            running(
                [str(SERVER)],
                log=self._home / "log",
                ready=lambda: listens(self.port),
                env=self._environment(),
                user=user,
                seconds=SECONDS,
            )
        )

    def stop(self) -> None:
        """End it; what is durable stays."""
        self._running.close()

    def restart(self) -> None:
        """Away, and back."""
        self.stop()
        self.start()

    def _environment(self) -> dict[str, str]:
        home = self._home
        return {
            "HOME": str(home),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(home / "logs"),
            "RABBITMQ_NODENAME": f"t{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": self.host,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._between),
            "ERL_EPMD_PORT": str(self._epmd),
            "ERL_EPMD_ADDRESS": self.host,
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def _end_epmd(self) -> None:
        """The port mapper leaves the server's process group; it is known by its environment."""
        marker = f"ERL_EPMD_PORT={self._epmd}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (process / "comm").read_text().strip() == "epmd" and marker in (
                    process / "environ"
                ).read_bytes().split(b"\0"):
                    os.kill(int(process.name), signal.SIGKILL)


def available() -> bool:
    return SERVER.exists()


def _own(home: Path) -> str | None:
    """Give the folder to the server's user, which it insists on being when root starts it."""
    if os.geteuid() != 0:
        return None
    account = pwd.getpwnam("rabbitmq")
    for path in (home, *home.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid)
    return account.pw_name


@contextmanager
def start() -> Iterator[RabbitServer]:
    """Run a server; its data is gone afterwards."""
    with folder("rabbitmq") as home:
        for attempt in range(ATTEMPTS):
            server = RabbitServer(home)
            try:
                server.start()
            except NotReady:
                server.stop()
                if attempt == ATTEMPTS - 1:
                    raise
                continue
            try:
                yield server
            finally:
                server.stop()
            return
