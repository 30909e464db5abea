"""Redis (Debian: redis-server), in memory only, with a password."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from conveyor.testing.ports import LOOPBACK, free_port
from servers.process import ATTEMPTS, NotReady, folder, program, running

PACKAGE = "redis-server"
PASSWORD = "redis-test-secret"


@dataclass(frozen=True)
class RedisServer:
    """A running server."""

    port: int
    host: str = LOOPBACK

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@{self.host}:{self.port}/0"

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
        for attempt in range(ATTEMPTS):
            server = RedisServer(port or free_port())
            arguments = {
                "--bind": server.host,
                "--port": str(server.port),
                "--dir": str(home),
                "--requirepass": PASSWORD,
                "--save": "",
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
def start_sentinel(master: RedisServer, service: str) -> Iterator[int]:
    """Run a Sentinel over ``master``; gives its port."""
    with folder("sentinel") as home:
        port = free_port()
        config = home / "sentinel.conf"
        config.write_text(
            f"bind {LOOPBACK}\nport {port}\ndir {home}\n"
            f"sentinel monitor {service} {master.host} {master.port} 1\n"
            f"sentinel auth-pass {service} {PASSWORD}\n"
        )
        sentinel = RedisServer(port)
        argv = ["redis-server", str(config), "--sentinel"]
        with running(argv, log=home / "log", ready=lambda: _answers(sentinel, password=None)):
            yield port


def _answers(server: RedisServer, password: str | None = PASSWORD) -> bool:
    import redis

    client = redis.Redis(host=server.host, port=server.port, password=password, socket_timeout=2)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()
