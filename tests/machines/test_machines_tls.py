"""Brokers over TLS: whom they trust, and whom not."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dramatiq.errors import ConnectionClosed
from dramatiq.message import Message
from redis.exceptions import RedisError
from servers import redis_server
from servers.rabbitmq import RabbitServer
from servers.redis_server import RedisServer
from servers.tls import Certificates

from conveyor.config.broker import parse
from conveyor.config.settings import Settings
from conveyor.delivery.doorbells import QUEUE, depth, open_doorbell
from conveyor.status.doctor import Level
from conveyor.status.doctor_broker import broker
from conveyor.testing.ports import wait_until

pytestmark = pytest.mark.server


@pytest.fixture(params=["amqps", "rediss", "rediss+sentinel"])
def secured(request: pytest.FixtureRequest) -> Iterator[tuple[str, Certificates]]:
    """The URL of a broker that speaks TLS, and its certificates."""
    if request.param == "amqps":
        rabbit: RabbitServer = request.getfixturevalue("rabbitmq_server")
        yield rabbit.tls_url, rabbit.certificates
        return
    redis: RedisServer = request.getfixturevalue("the_redis_server")
    redis.client().flushall()
    if request.param == "rediss":
        yield redis.tls_url, redis.certificates
        return
    with redis_server.start_sentinel(redis, "wakeups", tls=True) as port:
        url = f"rediss+sentinel://:{redis_server.PASSWORD}@127.0.0.1:{port}/wakeups/0"
        yield url, redis.certificates


@contextmanager
def rung(url: str, ca: Path | None) -> Iterator[Callable[[], int]]:
    """Ring once; yields what asks how many wake-ups wait."""
    broker = open_doorbell(parse(url, ca))
    try:
        broker.declare_queue(QUEUE)
        broker.flush(QUEUE)
        broker.enqueue(Message(queue_name=QUEUE, actor_name="wake", args=("dlv_1",), kwargs={}, options={}))
        yield lambda: depth(broker)
        broker.flush(QUEUE)
    finally:
        broker.close()


def test_the_authority_in_the_config_is_trusted(secured: tuple[str, Certificates]) -> None:
    url, certificates = secured
    with rung(url, certificates.ca) as waiting:
        wait_until(lambda: waiting() == 1, what="the wake-up to be in the queue")


@pytest.mark.parametrize("trusted", ["system", "stranger"])
def test_nobody_else_is_trusted(secured: tuple[str, Certificates], trusted: str) -> None:
    url, certificates = secured
    ca = certificates.stranger if trusted == "stranger" else None
    with pytest.raises((ConnectionClosed, RedisError, ssl.SSLError)), rung(url, ca):
        pytest.fail("a server that nobody vouches for was trusted")


def test_the_name_is_checked(secured: tuple[str, Certificates]) -> None:
    """Read from the clients' settings: no second name leads to a server on every test machine."""
    url, certificates = secured
    where = parse(url, certificates.ca)
    broker = open_doorbell(where)
    if where.kind == "rabbitmq":
        context = getattr(broker, "parameters").ssl_options.context  # noqa: B009 -- of RabbitmqBroker alone
        assert context.check_hostname
    else:
        known = getattr(broker, "client").connection_pool.connection_kwargs  # noqa: B009
        assert known.get("ssl_check_hostname", True)
    broker.close()


def test_the_config_says_whom_to_trust_to_the_engine_and_to_the_doctor(
    secured: tuple[str, Certificates],
) -> None:
    url, certificates = secured
    settings = Settings.model_validate({"broker": url, "network": {"ca_bundle": certificates.ca}})
    where = settings.broker_url
    assert where is not None
    assert where.ca_bundle == certificates.ca
    assert {finding.level for finding in broker(where)} == {Level.OK}
    (refused,) = broker(parse(url, certificates.stranger))
    assert refused.level is Level.ERROR
