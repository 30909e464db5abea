"""What ``conveyor doctor`` asks the broker: whether it is there, and which of its settings matter.

A message is acknowledged when its delivery is claimed, never after the transfer, so RabbitMQ's
``consumer_timeout`` (30 minutes unless set; AMQP does not tell it:
https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout) limits no transfer. What Redis evicts or
forgets is rung for again; a Redis that is full and refuses to evict takes no bell
(https://redis.io/docs/latest/develop/reference/eviction/).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, cast

from conveyor.config.broker import BrokerUrl
from conveyor.delivery.doorbells import open_doorbell
from conveyor.status.doctor import Finding, error, ok, warning

NEARLY = 0.9
"""Share of ``maxmemory`` at which a Redis that evicts nothing is nearly full."""


def broker(where: BrokerUrl) -> Iterator[Finding]:
    """Dial the broker and look at it.

    Raises:
        ConveyorError: Its client library is not installed.
    """
    with closing(open_doorbell(where)) as opened:
        try:
            found = _rabbitmq(opened) if where.kind == "rabbitmq" else _redis(cast(Any, opened).client)
        except Exception as refused:  # whatever the client raises; its text may hold the URL
            found = [_away(where, refused)]
    yield from found


def _away(where: BrokerUrl, refused: Exception) -> Finding:
    message = f"the broker {where.name} cannot be used: {type(refused).__name__}"
    cure = "start it, and check address and login under `broker:`; meanwhile workers look into the ledger"
    return error("broker", message, cure)


def _rabbitmq(opened: Any) -> list[Finding]:
    # pika keeps what the server said of itself in its connection's implementation.
    properties = getattr(opened.connection._impl, "server_properties", None) or {}
    version = properties.get("version", "of unknown version")
    return [
        ok("broker", f"RabbitMQ {version} answers"),
        ok("broker", "consumer_timeout limits no transfer: wake-ups are acknowledged at the claim"),
    ]


def _redis(client: Any) -> list[Finding]:
    told: Mapping[str, Any] = client.info()
    return [ok("broker", f"Redis {told.get('redis_version', 'of unknown version')} answers"), *settings(told)]


def settings(told: Mapping[str, Any]) -> Iterator[Finding]:
    """Judge what Redis tells of its memory and persistence.

    Args:
        told: ``INFO``.
    """
    policy, limit = str(told.get("maxmemory_policy", "noeviction")), int(told.get("maxmemory", 0))
    used = int(told.get("used_memory", 0))
    if policy == "noeviction" and limit and used >= NEARLY * limit:
        yield warning(
            "broker",
            f"Redis uses {used} of {limit} bytes, and maxmemory-policy is noeviction: soon it takes no bell",
            "raise maxmemory, or give Conveyor a Redis of its own",
        )
    elif policy == "noeviction":
        yield ok("broker", "maxmemory-policy noeviction, with room")
    else:
        yield ok("broker", f"maxmemory-policy {policy}: what is evicted is rung for again")
    if told.get("rdb_last_bgsave_status", "ok") != "ok" or told.get("aof_last_write_status", "ok") != "ok":
        yield warning(
            "broker",
            "Redis cannot write its data to disk; with stop-writes-on-bgsave-error it takes no bell",
            "free disk space for Redis, or turn its persistence off: Conveyor needs none",
        )
    else:
        kept = bool(told.get("aof_enabled")) or "appendonly and snapshots off"
        yield ok("broker", f"persistence: {'appendonly' if kept is True else kept}; Conveyor needs none")
