"""The URL of a broker, taken apart; nothing is imported and nothing dialled here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

RABBITMQ = frozenset({"amqp", "amqps"})
REDIS = frozenset({"redis", "rediss"})
SENTINEL = frozenset({"redis+sentinel", "rediss+sentinel"})

FORMS = (
    "expected ledger, amqp://user:password@host/vhost, redis://:password@host/0 or "
    "redis+sentinel://:password@host:26379,host:26379/service/0 (amqps, rediss, rediss+sentinel: TLS)"
)


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Where to ask for the master of a Redis service."""

    hosts: tuple[tuple[str, int], ...]
    service: str
    database: int
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    """``sentinel_username``, ``sentinel_password``: the Sentinels' own login."""


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """One broker. ``name`` is for people: without user and password."""

    kind: str
    """``rabbitmq`` or ``redis``."""
    url: str = field(repr=False)
    name: str
    sentinels: Sentinels | None = None
    ca_bundle: Path | None = None
    """PEM file of the authorities to trust over TLS; None for the system's."""

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken; the server's certificate and name are always checked then."""
        return self.name.startswith(("amqps:", "rediss"))


def parse(url: str, ca_bundle: Path | None = None) -> BrokerUrl:
    """Take a URL apart.

    Args:
        url: As the config has it.
        ca_bundle: PEM file of the authorities to trust, for one that speaks TLS.

    Raises:
        ValueError: It is of no known form. The message holds nothing of the URL.
    """
    try:
        parts = urlsplit(url)
        name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        if parts.scheme in RABBITMQ | REDIS and parts.hostname and (parts.port is None or parts.port > 0):
            kind = "rabbitmq" if parts.scheme in RABBITMQ else "redis"
            return BrokerUrl(kind, url, name, ca_bundle=ca_bundle)
        if parts.scheme in SENTINEL:
            login, _, hosts = parts.netloc.rpartition("@")
            found = _sentinels(login, hosts, parts.path, parts.query)
            return BrokerUrl("redis", url, name, found, ca_bundle)
    except ValueError:
        pass
    raise ValueError(FORMS)


def _sentinels(login: str, hosts: str, path: str, query: str) -> Sentinels:
    user, _, password = login.partition(":")
    service, _, database = path.strip("/").partition("/")
    places = [host.rpartition(":") for host in hosts.split(",")]
    if not service or not all(host and port for host, _, port in places):
        raise ValueError
    return Sentinels(
        hosts=tuple((host, int(port)) for host, _, port in places),
        service=service,
        database=int(database or 0),
        username=unquote(user) or None,
        password=unquote(password) or None,
        options=dict(parse_qsl(query)),
    )
