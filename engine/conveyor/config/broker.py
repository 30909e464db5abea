"""The URL of a broker, taken apart; nothing is imported and nothing dialled here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    secure: bool
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


def parse(url: str) -> BrokerUrl:
    """Take a URL apart.

    Raises:
        ValueError: It is of no known form. The message holds nothing of the URL.
    """
    try:
        parts = urlsplit(url)
        name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        if parts.scheme in RABBITMQ | REDIS and parts.hostname and (parts.port is None or parts.port > 0):
            return BrokerUrl("rabbitmq" if parts.scheme in RABBITMQ else "redis", url, name)
        if parts.scheme in SENTINEL:
            login, _, hosts = parts.netloc.rpartition("@")
            return BrokerUrl(
                "redis", url, name, _sentinels(parts.scheme, login, hosts, parts.path, parts.query)
            )
    except ValueError:
        pass
    raise ValueError(FORMS)


def _sentinels(scheme: str, login: str, hosts: str, path: str, query: str) -> Sentinels:
    user, _, password = login.partition(":")
    service, _, database = path.strip("/").partition("/")
    places = [host.rpartition(":") for host in hosts.split(",")]
    if not service or not all(host and port for host, _, port in places):
        raise ValueError
    return Sentinels(
        hosts=tuple((host, int(port)) for host, _, port in places),
        service=service,
        database=int(database or 0),
        secure=scheme.startswith("rediss"),
        username=unquote(user) or None,
        password=unquote(password) or None,
        options=dict(parse_qsl(query)),
    )
