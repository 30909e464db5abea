"""Redis (Debian: redis-server), in memory only, with a password; plain and TLS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from conveyor.testing.ports import LOOPBACK, free_port
from servers.process import ATTEMPTS, NotReady, folder, program, running
from servers.tls import Certificates, make_certificates

PACKAGE = "redis-server"
PASSWORD = "redis-test-secret"


@dataclass(frozen=True)
class RedisServer:
    """A running server."""

    port: int
    tls_port: int
    certificates: Certificates
    host: str = LOOPBACK

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@{self.host}:{self.port}/0"

    @property
    def tls_url(self) -> str:
        return f"rediss://:{PASSWORD}@{self.host}:{self.tls_port}/0"

    @property
    def tls(self) -> dict[str, str]:
        """Settings of a server that speaks TLS, whose clients need no certificate."""
        made = self.certificates
        return {
            "tls-port": str(self.tls_port),
            "tls-cert-file": str(made.certificate),
            "tls-key-file": str(made.key),
            "tls-ca-cert-file": str(made.ca),
            "tls-auth-clients": "no",
        }

    def client(self) -> Any:
        """A client of the test's own."""
        import redis

        return redis.Redis(host=self.host, port=self.port, password=PASSWORD, socket_timeout=5)


def available() -> bool:
    return program("redis-server") is not None


@contextmanager
def start(port: int | None = None) -> Iterator[RedisServer]:
    """Run a server; ``port`` to come back where an earlier one was."""
    with folder("redis") as home:
        certificates = make_certificates(home)
        for attempt in range(ATTEMPTS):
            server = RedisServer(port or free_port(), free_port(), certificates)
            arguments = {
                "--bind": server.host,
                "--port": str(server.port),
                "--dir": str(home),
                "--requirepass": PASSWORD,
                "--save": "",
                **{f"--{name}": value for name, value in server.tls.items()},
            }
            argv = ["redis-server", *(word for pair in arguments.items() for word in pair)]
            try:
                with running(argv, log=home / "log", ready=lambda: _answers(server)):  # noqa: B023
                    yield server
                    return
            except NotReady:
                if attempt == ATTEMPTS - 1:
                    raise


@contextmanager
def start_sentinel(master: RedisServer, service: str, *, tls: bool = False) -> Iterator[int]:
    """Run a Sentinel over ``master``; gives its port, where it speaks TLS (and to its master) if told so."""
    with folder("sentinel") as home:
        sentinel = RedisServer(free_port(), free_port(), master.certificates)
        lines = [f"bind {LOOPBACK}", f"port {sentinel.port}", f"dir {home}"]
        if tls:
            lines += [f"{name} {value}" for name, value in sentinel.tls.items()] + ["tls-replication yes"]
        lines.append(f"sentinel monitor {service} {master.host} {master.tls_port if tls else master.port} 1")
        lines.append(f"sentinel auth-pass {service} {PASSWORD}")
        config = home / "sentinel.conf"
        config.write_text("\n".join(lines) + "\n")
        argv = ["redis-server", str(config), "--sentinel"]
        with running(argv, log=home / "log", ready=lambda: _answers(sentinel, password=None)):
            yield sentinel.tls_port if tls else sentinel.port


def _answers(server: RedisServer, password: str | None = PASSWORD) -> bool:
    import redis

    client = redis.Redis(host=server.host, port=server.port, password=password, socket_timeout=2)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()
