"""dramatiq's own brokers for RabbitMQ and Redis, set up as doorbells: what they carry may be lost.

RabbitMQ publishes without confirms (a fifth of the speed with them): the dispatcher rings again for what
nobody came for. Wake-ups are acknowledged when the delivery is claimed, not when the transfer has ended, so
that ``consumer_timeout`` (https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout) never meets a long
one. Redis may evict or lose whatever it likes.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from conveyor.config.broker import BrokerUrl, Sentinels
from conveyor.errors import ConveyorError
from conveyor.version import requirement

if TYPE_CHECKING:
    from dramatiq.broker import Broker

QUEUE = "conveyor"
"""The queue's name on RabbitMQ, and the namespace of its keys on Redis."""

_PATIENCE = 5
"""Seconds for a connection, and for an answer."""

_AMQP = {
    "heartbeat": "60",
    "blocked_connection_timeout": "15",
    "connection_attempts": "1",
    "socket_timeout": str(_PATIENCE),
    "stack_timeout": str(2 * _PATIENCE),
}
"""pika's URL parameters; those that the URL gives itself stand."""

_REDIS: dict[str, Any] = {
    "socket_connect_timeout": _PATIENCE,
    "socket_timeout": _PATIENCE,
    "socket_keepalive": True,
    "health_check_interval": 30,
}


def open_doorbell(where: BrokerUrl) -> Broker:
    """A broker without middleware. Nothing is dialled before it is used.

    Raises:
        ConveyorError: Its client library is not installed, or refuses what stands in the URL.
    """
    try:
        return _rabbitmq(where) if where.kind == "rabbitmq" else _redis(where)
    except ModuleNotFoundError as error:
        raise ConveyorError(
            f"the broker {where.name} needs the package {error.name}",
            cure=f"pip install '{requirement(where.kind)}'",
        ) from error
    except Exception as error:  # whatever the client raises; its text may hold the URL
        options = ", ".join(sorted(dict(parse_qsl(urlsplit(where.url).query)))) or "none"
        found = f"{type(error).__name__} (options: {options})"
        raise ConveyorError(
            f"the broker {where.name}: its client refuses the URL: {found}",
            cure="put the options after `?` right under `broker:`, or leave them out",
        ) from None


def depth(broker: Broker) -> int:
    """How many wake-ups wait in the queue and are fetched by nobody. Raises what the client raises."""
    rabbit: Any = broker
    if hasattr(broker, "get_queue_message_counts"):
        try:
            return int(rabbit.get_queue_message_counts(QUEUE)[0])
        except Exception:
            # Else it would be asked over the same dead connection for ever: dramatiq connects anew only
            # where it publishes.
            del rabbit.connection
            raise
    client: Any = getattr(broker, "client")  # noqa: B009 -- of RedisBroker alone
    return int(client.llen(f"{QUEUE}:{QUEUE}"))


def _rabbitmq(where: BrokerUrl) -> Broker:
    import pika  # type: ignore[import-untyped]
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    parts = urlsplit(where.url)
    query = urlencode({**_AMQP, **dict(parse_qsl(parts.query))})
    broker: Any = RabbitmqBroker(url=parts._replace(query=query).geturl(), middleware=[])
    if where.secure and where.ca_bundle is not None:
        # pika's own URL parameter for a CA would leave the server's name unchecked.
        context = ssl.create_default_context(cafile=where.ca_bundle)
        broker.parameters.ssl_options = pika.SSLOptions(context, parts.hostname)
    ready: Broker = broker
    return ready


def _redis(where: BrokerUrl) -> Broker:
    import redis
    from dramatiq.brokers.redis import RedisBroker

    untyped: Any = RedisBroker
    tls = {"ssl_ca_certs": str(where.ca_bundle)} if where.secure and where.ca_bundle is not None else {}
    if where.sentinels is not None:
        client = _master(where.sentinels, {**tls, "ssl": where.secure})
    else:
        client = redis.Redis.from_url(where.url, **_REDIS, **tls)
    # An option that it does not know would show with the first connection only, as a broker that is away.
    pool = client.connection_pool
    pool.connection_class(**pool.connection_kwargs)
    broker: Broker = untyped(client=client, namespace=QUEUE, middleware=[])
    return broker


def _master(sentinels: Sentinels, tls: dict[str, Any]) -> Any:
    """A client that asks the Sentinels for the master with each new connection."""
    from redis import sentinel

    untyped: Any = sentinel.Sentinel
    own = {name.removeprefix("sentinel_"): value for name, value in sentinels.options.items()}
    finder = untyped(
        list(sentinels.hosts),
        sentinel_kwargs={**_REDIS, **own, **tls},
        **_REDIS,
        **tls,
        username=sentinels.username,
        password=sentinels.password,
        db=sentinels.database,
    )
    return finder.master_for(sentinels.service)
